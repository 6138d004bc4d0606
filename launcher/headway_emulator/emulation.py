"""An emulated project that is served: opened, reset to nothing while it runs, and closed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from headway_emulator import app, assembly
from headway_emulator.api.catalogue import Listing
from headway_emulator.api.rest import error_response
from headway_emulator.errors import precondition
from headway_emulator.settings import Settings
from headway_emulator.storage_server import StorageServer
from headway_emulator.world import World

RESET = "/emulator/reset"
FORGOTTEN = ("state.sqlite3", "requests.sqlite3", "jobs", "builds", "functions")
"""What a reset deletes of the state folder, besides the storage server's objects."""
LEAVE_SECONDS = 2.0
"""How long a reset waits for requests that are being answered."""


class Emulation:
    """The ASGI application of one state folder, whose world can be replaced by a new one."""

    def __init__(self, settings: Settings, storage: StorageServer | None) -> None:
        self.settings = settings
        self._storage = storage
        self._world: World | None = None
        self._app = Starlette()
        self._lifespan: AbstractAsyncContextManager[Any] = contextlib.AsyncExitStack()
        self._answering = 0
        self._resetting = asyncio.Lock()

    def open(self) -> None:
        """Raises assembly.Unusable, OSError and sqlite3.Error."""
        self._world = assembly.open_world(self.settings)
        self._app = app.build(self._world)

    def close(self, *, ends_jobs: bool = False) -> None:
        """Containers go on running unless `ends_jobs`."""
        if (world := self._world) is None:
            return
        self._world = None
        identity = world.store.get("identity", "self")
        assembly.close(world)
        if ends_jobs and self.settings.executor == "docker" and identity:
            from headway_emulator.engine.executors.containers import DockerExecutor

            executor = DockerExecutor(self.settings.network, identity["id"])
            executor.sweep(())
            executor.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", RESET):
            await (await self._reset())(scope, receive, send)
            return
        if self._resetting.locked():
            async with self._resetting:
                pass
        self._answering += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._answering -= 1

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._enter()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._lifespan.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})

    async def _enter(self) -> None:
        self._lifespan = self._app.router.lifespan_context(self._app)
        await self._lifespan.__aenter__()

    async def _reset(self) -> JSONResponse:
        """Everything is forgotten: the world is closed, and a new one is opened on an empty state."""
        if self._storage is None:
            text = (
                "The storage server is not this emulator's own: start it without --storage-url to reset it."
            )
            return error_response(precondition(text))
        async with self._resetting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    while self._answering:
                        await asyncio.sleep(0.005)
            await self._lifespan.__aexit__(None, None, None)
            await run_in_threadpool(self._anew, self._storage)
            await self._enter()
        return JSONResponse({})

    def _anew(self, storage: StorageServer) -> None:
        self.close(ends_jobs=True)
        storage.clear()
        for name in FORGOTTEN:
            for found in self.settings.state.glob(f"{name}*"):
                if found.is_dir():
                    shutil.rmtree(found, ignore_errors=True)
                else:
                    found.unlink(missing_ok=True)
        try:
            self.open()
        except Exception:
            sys.stderr.write("headway-emulator: the state could not be opened again after a reset\n")
            raise


def listing_of_this_version() -> Listing:
    """The listing of an emulator that is made for the question alone, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="headway-emulator-") as folder:
        settings = Settings(
            project="headway-local",
            project_number="123456789012",
            state=Path(folder),
            executor="process",
            storage_url="http://127.0.0.1:9",
            public_url="http://127.0.0.1:9",
            network="",
            nonce="",
            grace_seconds=0.0,
            clock="virtual",
        )
        world = assembly.open_world(settings)
        try:
            return app.listing(app.services(world))
        finally:
            assembly.close(world)
