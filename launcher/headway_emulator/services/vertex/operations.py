"""Long-running operations of Vertex AI: what a slow method returns, and where its end is asked for.

The emulator has done the work when it answers. A create, an upload or an export is nevertheless first shown
as unfinished, as at Google, so that a client that does not poll is found out; a deletion is shown as done.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from headway_emulator.api.listing import Listing
from headway_emulator.api.rest import Call, Rule
from headway_emulator.engine.clock import timestamp
from headway_emulator.engine.store import Document
from headway_emulator.errors import RPC_CODE, ApiError, not_found
from headway_emulator.world import World

OPERATION = "vertexOperation"
VERSIONS = ("v1", "v1beta1")
EMPTY: Document = {"@type": "type.googleapis.com/google.protobuf.Empty"}
LISTING = Listing(OPERATION, "operations")


def rules(world: World) -> list[Rule]:
    """The Python client polls below /ui, gcloud below the version, whatever version it created with."""
    operations = Operations(world)
    found = []
    for root in (*VERSIONS, "ui"):
        location = f"/{root}/projects/{{project}}/locations/{{location}}"
        for parent in (location, f"{location}/{{owner:path}}"):
            one = f"{parent}/operations/{{operation}}"
            found += [
                Rule("operations.wait", "POST", f"{one}:wait", operations.get),
                Rule("operations.cancel", "POST", f"{one}:cancel", operations.cancel),
                Rule("operations.get", "GET", one, operations.get),
                Rule("operations.delete", "DELETE", one, operations.delete),
                Rule("operations.list", "GET", f"{parent}/operations", operations.list),
            ]
    return found


class Operations:
    """The operations of one project: written by the services, read by the methods of google.longrunning."""

    def __init__(self, world: World) -> None:
        self._world = world

    def deleted(self, name: str, version: str) -> Document:
        """The operation of a deletion that was made."""
        return self._keep(name, version, "DeleteOperationMetadata", {}, {"response": EMPTY})

    def made(
        self,
        name: str,
        version: str,
        metadata: tuple[str, Mapping[str, Any]],
        response: tuple[str, Mapping[str, Any]],
    ) -> Document:
        """The operation as its begin is answered; metadata and response are messages by short type."""
        kind, content = response
        outcome = {"response": {"@type": _type(version, kind), **content}}
        return _begun(self._keep(name, version, *metadata, outcome))

    def failed(self, name: str, version: str, kind: str, error: ApiError) -> Document:
        """The same of work that failed after its request was accepted."""
        status = {"code": RPC_CODE[error.status], "message": error.message}
        return _begun(self._keep(name, version, kind, {}, {"error": status}))

    def get(self, call: Call) -> Any:
        name = f"{self._owner(call)}/operations/{call.path['operation']}"
        operation = self._world.store.get(OPERATION, name)
        if operation is None:
            raise not_found(name)
        return operation

    def list(self, call: Call) -> Any:
        """Those of the resource in the path, or of the location itself and all that it holds."""
        owner = self._owner(call)
        prefix = f"{owner}/operations/" if "owner" in call.path else f"{owner}/"
        return LISTING.page(self._world.store, prefix, call)

    def cancel(self, call: Call) -> Any:
        """Best effort, as documented: all that is kept here has ended."""
        self.get(call)
        return {}

    def delete(self, call: Call) -> Any:
        self._world.store.delete(OPERATION, self.get(call)["name"])
        return {}

    def _owner(self, call: Call) -> str:
        parent = self._world.location(call.path["project"], call.path["location"])
        return f"{parent}/{call.path['owner']}" if "owner" in call.path else parent

    def _keep(
        self, name: str, version: str, kind: str, content: Mapping[str, Any], outcome: Mapping[str, Any]
    ) -> Document:
        now = timestamp(self._world.clock.now_ns())
        operation: Document = {
            "name": f"{name}/operations/{random.randint(10**18, 9 * 10**18)}",
            "metadata": {
                "@type": _type(version, kind),
                "genericMetadata": {"createTime": now, "updateTime": now},
                **content,
            },
            "done": True,
            **outcome,
        }
        self._world.store.put(OPERATION, operation["name"], operation)
        return operation


def version_of(call: Call) -> str:
    """The API version of a request, by which the types in its operation are named."""
    return "v1beta1" if "/v1beta1/" in call.url else "v1"


def _begun(operation: Document) -> Document:
    return {key: value for key, value in operation.items() if key in ("name", "metadata")}


def _type(version: str, kind: str) -> str:
    return f"type.googleapis.com/google.cloud.aiplatform.{version}.{kind}"
