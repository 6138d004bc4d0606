"""Cloud Functions, second generation: functions from a zip in Cloud Storage, called by HTTP."""

from __future__ import annotations

from typing import Any

from headway_emulator import schema
from headway_emulator.api.listing import Listing
from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.functions.functions import KIND, OPERATION
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, unimplemented
from headway_emulator.services.cloudfunctions import rules
from headway_emulator.services.projects import policies
from headway_emulator.world import World

FUNCTIONS = Listing(KIND, "functions", page_size=1000, orders=("name", "createTime", "updateTime", "state"))
OPERATIONS = Listing(OPERATION, "operations")
ANYWHERE = "-"


def service(world: World) -> Service:
    """Rules with the permissions of https://cloud.google.com/functions/docs/reference/iam/permissions."""
    functions = CloudFunctions(world)
    location = "/v2/projects/{project}/locations/{location}"
    every, one = f"{location}/functions", f"{location}/functions/{{function}}"
    operation = "projects/{project}/locations/{location}/operations/{operation}"
    of = "cloudfunctions.functions"
    seen = "cloudfunctions.operations"
    found = [
        Rule("functions.create", "POST", every, functions.create, f"{of}.create"),
        Rule("functions.list", "GET", every, functions.list, f"{of}.list"),
        Rule("functions.getIamPolicy", "GET", f"{one}:getIamPolicy", functions.policy, f"{of}.getIamPolicy"),
        Rule(
            "functions.setIamPolicy",
            "POST",
            f"{one}:setIamPolicy",
            functions.set_policy,
            f"{of}.setIamPolicy",
        ),
        Rule("functions.testIamPermissions", "POST", f"{one}:testIamPermissions", functions.permissions),
        Rule("functions.get", "GET", one, functions.get, f"{of}.get"),
        Rule("functions.patch", "PATCH", one, functions.patch, f"{of}.update"),
        Rule("functions.delete", "DELETE", one, functions.delete, f"{of}.delete"),
        Rule(
            "runtimes.list", "GET", f"{location}/runtimes", functions.runtimes, "cloudfunctions.runtimes.list"
        ),
        Rule("operations.list", "GET", f"{location}/operations", functions.operations, f"{seen}.list"),
        Rule("operations.get", "GET", f"/v2/{operation}", functions.operation, f"{seen}.get"),
        # by gRPC operations are asked for below /v1, whatever version a service has
        Rule("operations.get", "GET", f"/v1/{operation}", functions.operation, f"{seen}.get"),
    ]
    fidelity = (
        "Python functions of the 2nd generation with HTTP, run by the functions framework as processes with "
        "the emulator's own Python; no packages are installed; no event triggers, networks, keys or "
        "1st generation"
    )
    return Service("cloudfunctions", fidelity, found)


class CloudFunctions:
    """The methods of google.cloud.functions.v2.FunctionService."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, call: Call) -> Any:
        parent = self._parent(call)
        body = schema.parse("cloudfunctions", "v2", "Function", call.body, "function")
        name = rules.new_name(self._world, parent, call.query.get("functionId", ""), body.get("name", ""))
        return self._world.functions.create(rules.checked(self._world.settings, {**body, "name": name}))

    def list(self, call: Call) -> Any:
        return FUNCTIONS.page(self._world.store, f"{self._place(call)}", call)

    def get(self, call: Call) -> Any:
        if call.query.get("revision"):
            raise unimplemented("cloudfunctions functions of an older revision")
        return self._function(call)

    def patch(self, call: Call) -> Any:
        body = schema.parse("cloudfunctions", "v2", "Function", call.body, "function")
        with self._world.store.transaction():
            function = self._function(call)
            wanted = rules.changed(function, body, call.query.get("updateMask", ""))
            checked = rules.checked(self._world.settings, wanted)
            kept: Document = {name: function[name] for name in ("createTime", "url") if name in function}
            return self._world.functions.update({**checked, **kept})

    def delete(self, call: Call) -> Any:
        return self._world.functions.delete(self._function(call)["name"])

    def policy(self, call: Call) -> Any:
        return policies.read(self._world.store, self._function(call)["name"])

    def set_policy(self, call: Call) -> Any:
        name = self._function(call)["name"]
        return policies.write(self._world.store, "cloudfunctions/v2", name, call)

    def permissions(self, call: Call) -> Any:
        self._function(call)
        return policies.granted("cloudfunctions/v2", call)

    def runtimes(self, call: Call) -> Any:
        self._parent(call)
        return {
            "runtimes": [
                {
                    "name": name,
                    "displayName": f"Python 3.{name.removeprefix('python3')}",
                    "environment": "GEN_2",
                    "stage": "GA",
                }
                for name in rules.RUNTIMES
            ]
        }

    def operations(self, call: Call) -> Any:
        return OPERATIONS.page(self._world.store, self._place(call), call)

    def operation(self, call: Call) -> Any:
        name = f"{self._parent(call)}/operations/{call.path['operation']}"
        found = self._world.store.get(OPERATION, name)
        if found is None:
            raise ApiError("NOT_FOUND", f"Operation {name} was not found.")
        return found

    def _function(self, call: Call) -> Document:
        name = f"{self._parent(call)}/functions/{call.path['function']}"
        found = self._world.store.get(KIND, name)
        if found is None:
            raise ApiError("NOT_FOUND", f"Resource '{name}' was not found")
        return found

    def _place(self, call: Call) -> str:
        """What the names of the listed begin with; the location - is every one."""
        parent = self._parent(call)
        return parent.removesuffix(ANYWHERE) if call.path["location"] == ANYWHERE else f"{parent}/"

    def _parent(self, call: Call) -> str:
        """Names have the project's id, also where a request gave its number."""
        self._world.check_project(call.path["project"])
        return f"projects/{self._world.settings.project}/locations/{call.path['location']}"
