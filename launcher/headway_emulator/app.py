"""One Starlette application: every service below its own prefix, and the same paths without it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import Receive, Scope, Send

from headway_emulator.api import catalogue, methods, passage
from headway_emulator.api.override import MethodOverride
from headway_emulator.api.recording import Recording
from headway_emulator.api.rest import Service, error_response
from headway_emulator.errors import ApiError, unimplemented
from headway_emulator.hosts import SERVICES
from headway_emulator.services import cloudscheduler, metadata, run
from headway_emulator.services.artifactregistry import service as artifactregistry
from headway_emulator.services.cloudbuild import service as cloudbuild
from headway_emulator.services.cloudfunctions import service as cloudfunctions
from headway_emulator.services.control import page as control_page
from headway_emulator.services.control import service as control
from headway_emulator.services.logging import service as logging
from headway_emulator.services.monitoring import service as monitoring
from headway_emulator.services.projects import cloudresourcemanager, iam, serviceusage
from headway_emulator.services.secretmanager import service as secretmanager
from headway_emulator.services.storage import front as storage
from headway_emulator.services.storage import methods as storage_methods
from headway_emulator.services.vertex import service as aiplatform
from headway_emulator.world import World

DOCUMENTS = {
    "aiplatform": ("v1", "v1beta1"),
    "cloudbuild": ("v1", "v2"),
    "cloudfunctions": ("v1", "v2"),
    "cloudresourcemanager": ("v1", "v3"),
    "cloudscheduler": ("v1",),
    "iam": ("v1",),
    "logging": ("v2",),
    "monitoring": ("v3",),
    "artifactregistry": ("v1",),
    "run": ("v1", "v2"),
    "secretmanager": ("v1",),
    "serviceusage": ("v1", "v1beta1"),
}
"""Google's discovery documents, in which the names of methods that are not emulated are looked up."""
VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
API_ROOTS = ("v1", "v1beta1", "v2", "v3", "ui", "computeMetadata", "emulator")
"""First parts of paths that never name a bucket."""


def services(world: World) -> list[Service]:
    """Every service that is a list of rules, in the order in which paths are tried."""
    return [
        aiplatform.service(world),
        cloudbuild.service(world),
        cloudscheduler.service(world),
        cloudfunctions.service(world),
        run.service(world),
        cloudresourcemanager.service(world),
        iam.service(world),
        serviceusage.service(world),
        monitoring.service(world),
        logging.service(world),
        artifactregistry.service(world),
        secretmanager.service(world),
        metadata.service(world),
        control.service(world),
    ]


def listing(found: Sequence[Service]) -> catalogue.Listing:
    """What `GET /` says of each service."""
    front = {"fidelity": storage.FIDELITY, "methods": storage_methods.listed()}
    return {**catalogue.listing(found, {}), "storage": front}


def build(world: World) -> Starlette:
    """The application; closing it closes the storage front's connections.

    ApiError INVALID_ARGUMENT where a fault of the settings names a method that is not here.
    """
    front = storage.StorageFront(world.settings, world.store, world.clock)
    recording = Middleware(
        Recording,
        recorder=world.recorder,
        faults=world.faults,
        clock=world.clock,
        checks_replies=world.settings.check_replies,
    )
    found = services(world)
    listed = listing(found)
    world.faults.know(f"{service}.{m['name']}" for service, one in listed.items() for m in one["methods"])
    for fault in world.settings.faults:
        world.faults.check_method(fault)
    routes: list[BaseRoute] = [Route("/", _front_page(world, listed), methods=["GET"])]
    for service in found:
        if service.name != control.NAME:  # its paths have the prefix already
            routes.append(Mount(f"/{service.name}", app=_Later(partial(_prefixed, service))))
    for name in sorted(set(SERVICES.values()) - {service.name for service in found}):
        routes.append(Mount(f"/{name}", routes=[Route("/{path:path}", _no_service(name), methods=VERBS)]))
    routes.append(Mount("/", app=_Later(partial(_without_prefix, found, front))))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await front.close()
        for app in (app for service in found for app in service.apps):
            await app.close()

    handlers = {Exception: _broken}
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(MethodOverride), recording],
        exception_handlers=handlers,
    )


class _Later:
    """Routes that are made when they are first asked: their hundreds of patterns take long to compile."""

    def __init__(self, make: Callable[[], list[BaseRoute]]) -> None:
        self._make = make
        self._router: Router | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._router is None:
            self._router = Router(self._make())
        await self._router(scope, receive, send)


def _prefixed(service: Service) -> list[BaseRoute]:
    """Below a service's prefix: its applications, its methods, and 501 or 404 for whatever else."""
    unknown = Route("/{path:path}", _not_emulated((service.name,)), methods=VERBS)
    return [*(Route(app.path, app) for app in service.apps), *service.routes(), unknown]


def _without_prefix(services: Sequence[Service], front: storage.StorageFront) -> list[BaseRoute]:
    """Every service's methods; what is no API's path is a bucket's."""
    unknown = [
        Route(f"/{root}/{{path:path}}", _not_emulated(tuple(DOCUMENTS)), methods=VERBS) for root in API_ROOTS
    ]
    return [*(route for service in services for route in service.routes()), *unknown, Mount("/", app=front)]


def _front_page(world: World, services: catalogue.Listing) -> Callable[[Request], Awaitable[Response]]:
    """What this server is: a start-up checks the nonce, a client of the metadata server the header.

    A browser, which asks for HTML, gets a page for people.
    """

    async def page(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return await run_in_threadpool(control_page.response, world, services)
        document = {
            "name": "headway-emulator",
            "nonce": world.settings.nonce,
            "pid": os.getpid(),
            "project": world.settings.project,
            "state": str(world.settings.state),
            "executor": world.settings.executor,
            "services": services,
        }
        return JSONResponse(document, headers={"Metadata-Flavor": "Google"})

    return page


async def _broken(_: Request, error: Exception) -> Response:
    """A mistake of the emulator's own: the client gets Google's 500, the traceback goes to the log."""
    text = f"Internal error encountered. (The emulator failed: {type(error).__name__}: {error})"
    return error_response(ApiError("INTERNAL", text))


def _no_service(name: str) -> Callable[[Request], Awaitable[Response]]:
    """501: its host is known, for a proxy for instance, but nothing of it is emulated."""

    async def refuse(request: Request) -> Response:
        what = f"{name}.googleapis.com ({request.method} /{request.path_params['path']})"
        return error_response(unimplemented(what))

    return refuse


def _not_emulated(services: tuple[str, ...]) -> Callable[[Request], Awaitable[Response]]:
    """501 with the method's name where Google has such a method, and Google's 404 where it has none."""

    async def refuse(request: Request) -> Response:
        path = "/" + request.path_params["path"]
        if len(services) > 1:
            path = request.url.path
        method = next((m for s in services if (m := methods.find(s, request.method, path))), None)
        if method is not None:
            service, *place = method.name.split(".")
            passage.name(request.scope, ".".join([service, *place[-2:]]), "")
            return error_response(unimplemented(method.name))
        text = f"The requested URL {request.url.path} was not found on this server."
        return error_response(ApiError("NOT_FOUND", text))

    return refuse
