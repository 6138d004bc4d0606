"""Cloud Build's triggers: kept, changed, and run by hand where they carry their build."""

from __future__ import annotations

import uuid
from typing import Any

from headway_emulator import schema
from headway_emulator.api.listing import Listing
from headway_emulator.api.rest import Call, Rule
from headway_emulator.engine.builds import triggers as build_triggers
from headway_emulator.engine.builds.triggers import KIND
from headway_emulator.engine.clock import timestamp
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, invalid, not_found
from headway_emulator.services.cloudbuild.operations import located, operation
from headway_emulator.world import World

TRIGGERS = Listing(KIND, "triggers", page_size=50)
FIXED = ("id", "createTime", "resourceName")


def rules(world: World, parent: str) -> list[Rule]:
    """Below a project, or below its location."""
    triggers = Triggers(world)
    path = f"{parent}/triggers"
    one = f"{path}/{{trigger}}"
    return [
        Rule("triggers.create", "POST", path, triggers.create, "cloudbuild.builds.create"),
        Rule("triggers.list", "GET", path, triggers.list, "cloudbuild.builds.list"),
        Rule("triggers.run", "POST", f"{one}:run", triggers.run, "cloudbuild.builds.create"),
        Rule("triggers.get", "GET", one, triggers.get, "cloudbuild.builds.get"),
        Rule("triggers.patch", "PATCH", one, triggers.patch, "cloudbuild.builds.update"),
        Rule("triggers.delete", "DELETE", one, triggers.delete, "cloudbuild.builds.update"),
    ]


class Triggers:
    """The methods of the CloudBuild service on triggers; each is found by its id or its name."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, call: Call) -> Any:
        location = located(self._world, call)
        body = schema.parse("cloudbuild", "v1", "BuildTrigger", call.body or {}, "trigger")
        build_triggers.check(body)
        identity = str(uuid.uuid4())
        trigger: Document = {"name": f"trigger-{identity[:8]}", **body, "id": identity}
        trigger["createTime"] = timestamp(self._world.clock.now_ns())
        parent = f"projects/{self._world.settings.project}/locations/{location}"
        trigger["resourceName"] = f"{parent}/triggers/{identity}"
        with self._world.store.transaction():
            self._check_name(location, trigger)
            self._world.store.put(KIND, f"{location}/{identity}", trigger)
        return trigger

    def list(self, call: Call) -> Any:
        """Newest first."""
        return TRIGGERS.page(self._world.store, f"{located(self._world, call)}/", call)

    def get(self, call: Call) -> Any:
        return self._trigger(located(self._world, call), call.path["trigger"])

    def patch(self, call: Call) -> Any:
        """Only the fields that updateMask names, or all of them without one."""
        location = located(self._world, call)
        body = schema.parse("cloudbuild", "v1", "BuildTrigger", call.body or {}, "trigger")
        with self._world.store.transaction():
            old = self._trigger(location, call.path["trigger"])
            fixed = {field: old[field] for field in FIXED}
            if mask := call.query.get("updateMask", ""):
                names = {schema.camel(part.strip().split(".")[0]) for part in mask.split(",")}
                _check_mask(names)
                kept = {name: value for name, value in old.items() if name not in names}
                new = {**kept, **{name: value for name, value in body.items() if name in names}, **fixed}
            else:
                new = {"name": old["name"], **body, **fixed}
            build_triggers.check(new)
            self._check_name(location, new)
            self._world.store.put(KIND, f"{location}/{old['id']}", new)
        return new

    def delete(self, call: Call) -> Any:
        location = located(self._world, call)
        with self._world.store.transaction():
            trigger = self._trigger(location, call.path["trigger"])
            self._world.store.delete(KIND, f"{location}/{trigger['id']}")
        return {}

    def run(self, call: Call) -> Any:
        """Below a project the body is the source itself, below a location a RunBuildTriggerRequest."""
        location = located(self._world, call)
        trigger = self._trigger(location, call.path["trigger"])
        given = call.body or {}
        if "location" in call.path:
            request = schema.parse("cloudbuild", "v1", "RunBuildTriggerRequest", given, "")
            source = request.get("source", {})
        else:
            source = schema.parse("cloudbuild", "v1", "RepoSource", given, "source")
        body, triggered = build_triggers.to_build(trigger, source)
        return operation(self._world.settings.project, self._world.builds.create(location, body, triggered))

    def _trigger(self, location: str, name: str) -> Document:
        found = self._world.store.get(KIND, f"{location}/{name}") or self._named(location, name)
        if found is None:
            raise not_found(f"projects/{self._world.settings.project}/locations/{location}/triggers/{name}")
        return found

    def _named(self, location: str, name: str) -> Document | None:
        triggers = self._world.store.list(KIND, f"{location}/")
        return next((trigger for trigger in triggers if trigger["name"] == name), None)

    def _check_name(self, location: str, trigger: Document) -> None:
        other = self._named(location, trigger["name"])
        if other is not None and other["id"] != trigger["id"]:
            raise ApiError("ALREADY_EXISTS", f"trigger with name {trigger['name']} already exists")


def _check_mask(names: set[str]) -> None:
    known = schema.discovery("cloudbuild", "v1")["schemas"]["BuildTrigger"]["properties"]
    if unknown := sorted(names - set(known)):
        raise invalid(f"Invalid update_mask: BuildTrigger has no field {schema.snake(unknown[0])}.")
