"""The operations by which Cloud Build's clients wait for builds, and where a build's request says it is."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from headway_emulator.api.rest import Call
from headway_emulator.engine.builds.site import FINAL
from headway_emulator.engine.store import Document
from headway_emulator.errors import RPC_CODE, not_found
from headway_emulator.world import World

ERRORS: Mapping[str, tuple[int, str]] = {
    "CANCELLED": (RPC_CODE["CANCELLED"], "Build cancelled"),
    "TIMEOUT": (RPC_CODE["DEADLINE_EXCEEDED"], "Build timed out"),
    "EXPIRED": (RPC_CODE["DEADLINE_EXCEEDED"], "Build expired in the queue"),
    "INTERNAL_ERROR": (RPC_CODE["INTERNAL"], "Build failed; internal error"),
}
FAILED = (2, "Build failed; check build logs for details")
PACKAGE = "type.googleapis.com/google.devtools.cloudbuild.v1"


def operation(project: str, build: Document) -> Document:
    """A google.longrunning.Operation over the build."""
    token = base64.b64encode(build["id"].encode()).decode()
    shown: Document = {
        "name": f"operations/build/{project}/{token}",
        "metadata": {"@type": f"{PACKAGE}.BuildOperationMetadata", "build": build},
    }
    if build["status"] not in FINAL:
        return shown
    if build["status"] == "SUCCESS":
        return {**shown, "done": True, "response": {"@type": f"{PACKAGE}.Build", **build}}
    code, message = ERRORS.get(build["status"], FAILED)
    return {**shown, "done": True, "error": {"code": code, "message": message}}


def build_of(call: Call) -> str:
    """The id of the build that an operation's name carries."""
    try:
        return base64.b64decode(call.path["token"], validate=True).decode()
    except ValueError as error:  # no base64, or not of text, or not even ASCII
        raise not_found(call.url.lstrip("/")) from error


def located(world: World, call: Call) -> str:
    """The location that the request names: in its path, or in ?parent= or ?name= of a path without one."""
    world.check_project(call.path["project"])
    named = call.query.get("parent", "") or call.query.get("name", "")
    if "location" not in call.path and "/locations/" in named:
        return named.split("/locations/", 1)[1].split("/")[0]
    return call.path.get("location", "global")
