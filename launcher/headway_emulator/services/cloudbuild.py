"""Cloud Build: builds, and the operations by which clients wait for them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from headway_emulator import filters, schema
from headway_emulator.engine.build_life import FINAL
from headway_emulator.engine.store import Document
from headway_emulator.errors import RPC_CODE, invalid, not_found, unimplemented
from headway_emulator.rest import Call, Rule, Service
from headway_emulator.world import World

PAGE_SIZE = 50
ERRORS: Mapping[str, tuple[int, str]] = {
    "CANCELLED": (RPC_CODE["CANCELLED"], "Build cancelled"),
    "TIMEOUT": (RPC_CODE["DEADLINE_EXCEEDED"], "Build timed out"),
    "INTERNAL_ERROR": (RPC_CODE["INTERNAL"], "Build failed; internal error"),
}
FAILED = (2, "Build failed; check build logs for details")
NOT_EMULATED = ("availableSecrets", "secrets", "dependencies", "gitConfig")


def service(world: World) -> Service:
    """Three forms of URL lead to the same builds: global, regional, and global with ?parent=."""
    cloudbuild = CloudBuild(world)
    rules = []
    for builds in ("/v1/projects/{project}/builds", "/v1/projects/{project}/locations/{location}/builds"):
        rules += [
            Rule("builds.create", "POST", builds, cloudbuild.create),
            Rule("builds.list", "GET", builds, cloudbuild.list),
            Rule("builds.cancel", "POST", f"{builds}/{{build}}:cancel", cloudbuild.cancel),
            Rule("builds.get", "GET", f"{builds}/{{build}}", cloudbuild.get),
        ]
    operation = "/v1/operations/build/{project}/{token}"
    rules.append(Rule("operations.get", "GET", operation, cloudbuild.operation))
    fidelity = (
        "steps run in order on the local Docker engine, images stay there; "
        "no triggers, secrets, volumes, private pools, artifact uploads or Git sources"
    )
    return Service("cloudbuild", fidelity, rules)


class CloudBuild:
    """The methods of the CloudBuild service."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, call: Call) -> Any:
        location = self._location(call)
        body = schema.parse("cloudbuild", "v1", "Build", call.body, "build")
        _check(body)
        return self._operation(self._world.builds.create(location, body))

    def get(self, call: Call) -> Any:
        self._location(call)
        return self._world.builds.get(call.path["build"])

    def cancel(self, call: Call) -> Any:
        self._location(call)
        return self._world.builds.cancel(call.path["build"])

    def list(self, call: Call) -> Any:
        """Newest first; a page token is the number of builds already given."""
        wanted = filters.parse(call.query.get("filter", ""))
        builds = [
            build
            for build in self._world.builds.list(self._location(call))
            if all(comparison.holds(build) for comparison in wanted)
        ]
        token = call.query.get("pageToken", "") or "0"
        if not token.isdecimal():
            raise invalid("Invalid page token.")
        start, size = int(token), call.page_size(PAGE_SIZE, most=1000)
        page: Document = {}
        if chosen := builds[start : start + size]:
            page["builds"] = chosen
        if len(builds) > start + size:
            page["nextPageToken"] = str(start + size)
        return page

    def operation(self, call: Call) -> Any:
        self._world.check_project(call.path["project"])
        try:
            build_id = base64.b64decode(call.path["token"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise not_found(call.url.lstrip("/")) from error
        return self._operation(self._world.builds.get(build_id))

    def _operation(self, build: Document) -> Document:
        token = base64.b64encode(build["id"].encode()).decode()
        kind = "type.googleapis.com/google.devtools.cloudbuild.v1"
        operation: Document = {
            "name": f"operations/build/{self._world.settings.project}/{token}",
            "metadata": {"@type": f"{kind}.BuildOperationMetadata", "build": build},
        }
        if build["status"] not in FINAL:
            return operation
        if build["status"] == "SUCCESS":
            return {**operation, "done": True, "response": {"@type": f"{kind}.Build", **build}}
        code, message = ERRORS.get(build["status"], FAILED)
        return {**operation, "done": True, "error": {"code": code, "message": message}}

    def _location(self, call: Call) -> str:
        self._world.check_project(call.path["project"])
        parent = call.query.get("parent", "")
        if "/locations/" in parent:
            return parent.rsplit("/", 1)[1]
        return call.path.get("location", "global")


def _check(build: Mapping[str, Any]) -> None:
    """What Cloud Build refuses in a build that its schema allows; the texts are ours."""
    for field in NOT_EMULATED:
        if build.get(field):
            raise unimplemented(f"build.{schema.snake(field)}")
    steps: Sequence[Mapping[str, Any]] = build.get("steps", [])
    if not steps:
        raise invalid("invalid build: no build steps: at least one is required")
    source = build.get("source", {})
    if others := set(source) - {"storageSource"}:
        raise unimplemented(f"build.source.{schema.snake(sorted(others)[0])}: use storage_source")
    if source and not (source["storageSource"].get("bucket") and source["storageSource"].get("object")):
        raise invalid("invalid build: source.storage_source needs a bucket and an object")
    if set(build.get("artifacts", {})) - {"images"}:
        raise unimplemented("build.artifacts other than images")
    _check_steps(steps)


def _check_steps(steps: Sequence[Mapping[str, Any]]) -> None:
    known: set[str] = set()
    for index, step in enumerate(steps):
        if not step.get("name"):
            raise invalid(f"invalid build: invalid build step name at index {index}: it is empty")
        for field in ("volumes", "secretEnv"):
            if step.get(field):
                raise unimplemented(f"build.steps[{index}].{schema.snake(field)}")
        if step.get("script") and (step.get("args") or step.get("entrypoint")):
            raise invalid(
                f"invalid build: step {index} has a script, so it cannot have args or an entrypoint"
            )
        for wanted in step.get("waitFor", []):
            if wanted != "-" and wanted not in known:
                raise invalid(
                    f'invalid build: step {index} depends on "{wanted}", which is no earlier step\'s id'
                )
        if (name := step.get("id")) in known:
            raise invalid(f'invalid build: duplicate build step id "{name}"')
        if name:
            known.add(str(name))
