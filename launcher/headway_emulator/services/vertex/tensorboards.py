"""Vertex AI TensorBoard: instances, and in each of them experiments, runs and time series."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway_emulator import schema
from headway_emulator.api.listing import Listing
from headway_emulator.api.rest import Call, Rule
from headway_emulator.engine.clock import timestamp
from headway_emulator.engine.etags import check_etag, new_etag
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, bad_request, not_found
from headway_emulator.services.vertex.fields import display_name, mask, patched, refuse_verb, required
from headway_emulator.services.vertex.operations import VERSIONS, Operations, version_of
from headway_emulator.services.vertex.rules import labels, refused
from headway_emulator.services.vertex.tensorboard_data import Points, data_rules
from headway_emulator.world import World

GIVEN_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
BATCH = 1000
ORDERS = ("displayName", "createTime", "updateTime")


@dataclass(frozen=True)
class Level:
    """One kind of resource of the tree. `field` is the request's field that holds it."""

    kind: str
    plural: str
    part: str
    """Its variable in the path."""
    field: str
    message: str
    listing: Listing
    changeable: tuple[str, ...]
    id_query: str = ""
    names_itself: bool = True
    """Whether a display name is required, and unique below its parent where it has one."""


TENSORBOARD = Level(
    "tensorboard",
    "tensorboards",
    "tensorboard",
    "tensorboard",
    "Tensorboard",
    Listing("tensorboard", "tensorboards", 100, 100, ORDERS),
    ("displayName", "description", "labels", "isDefault"),
)
EXPERIMENT = Level(
    "tensorboardExperiment",
    "experiments",
    "experiment",
    "tensorboard_experiment",
    "TensorboardExperiment",
    Listing("tensorboardExperiment", "tensorboardExperiments", 50, 1000, ORDERS),
    ("displayName", "description", "labels"),
    "tensorboardExperimentId",
    names_itself=False,
)
RUN = Level(
    "tensorboardRun",
    "runs",
    "run",
    "tensorboard_run",
    "TensorboardRun",
    Listing("tensorboardRun", "tensorboardRuns", 50, 1000, ORDERS),
    ("displayName", "description", "labels"),
    "tensorboardRunId",
)
SERIES = Level(
    "tensorboardTimeSeries",
    "timeSeries",
    "series",
    "tensorboard_time_series",
    "TensorboardTimeSeries",
    Listing("tensorboardTimeSeries", "tensorboardTimeSeries", 50, 1000, ORDERS),
    ("displayName", "description", "pluginData"),
    "tensorboardTimeSeriesId",
)
LEVELS = (TENSORBOARD, EXPERIMENT, RUN, SERIES)


def rules(world: World) -> list[Rule]:
    """Those of the points first: their verbs would be read as ids."""
    tree, points = Tree(world), Points(world)
    found = []
    for version in VERSIONS:
        found += data_rules(points, version)
        path = f"/{version}/projects/{{project}}/locations/{{location}}"
        name = ""
        for level in LEVELS:
            path, name = f"{path}/{level.plural}", f"{name}.{level.plural}".lstrip(".")
            collection, path = path, f"{path}/{{{level.part}}}"
            found += _rules(tree, level, name, collection, path)
    return found


def _rules(tree: Tree, level: Level, name: str, collection: str, one: str) -> list[Rule]:
    methods = Methods(tree, level)
    right = f"aiplatform.{level.kind}{'' if level is SERIES else 's'}"
    found = []
    if level is RUN:
        found.append(
            Rule(
                f"{name}.batchCreate",
                "POST",
                f"{collection}:batchCreate",
                methods.batch_runs,
                f"{right}.batchCreate",
            )
        )
    if level is EXPERIMENT:
        right_of_series = "aiplatform.tensorboardTimeSeries.batchCreate"
        found.append(
            Rule(f"{name}.batchCreate", "POST", f"{one}:batchCreate", methods.batch_series, right_of_series)
        )
    return [
        *found,
        Rule(f"{name}.create", "POST", collection, methods.create, f"{right}.create"),
        Rule(f"{name}.list", "GET", collection, methods.list, f"{right}.list"),
        Rule(f"{name}.get", "GET", one, methods.get, f"{right}.get"),
        Rule(f"{name}.patch", "PATCH", one, methods.patch, f"{right}.update"),
        Rule(f"{name}.delete", "DELETE", one, methods.delete, f"{right}.delete"),
    ]


class Methods:
    """The methods of TensorboardService for one level."""

    def __init__(self, tree: Tree, level: Level) -> None:
        self._tree = tree
        self._level = level

    def create(self, call: Call) -> Any:
        level, tree = self._level, self._tree
        body = schema.parse("aiplatform", version_of(call), level.message, call.body, level.field)
        made = tree.create(
            level, tree.parent(call, level), call.query.get(level.id_query, ""), body, level.field
        )
        return tree.operation(call, made, "Create") if level is TENSORBOARD else made

    def list(self, call: Call) -> Any:
        level, tree = self._level, self._tree
        parent = tree.parent(call, level)
        tree.require_parent(level, parent)
        return level.listing.page(tree.store, f"{parent}/{level.plural}/", call)

    def get(self, call: Call) -> Any:
        refuse_verb(call)
        return self._tree.get(self._level, self._tree.name(call, self._level))

    def patch(self, call: Call) -> Any:
        level, tree = self._level, self._tree
        body = schema.parse("aiplatform", version_of(call), level.message, call.body, level.field)
        names = mask(call, level.changeable, needed=False)
        names = names if call.query.get("updateMask") else [name for name in names if name in body]
        made = tree.patch(level, tree.name(call, level), body, names)
        return tree.operation(call, made, "Update") if level is TENSORBOARD else made

    def delete(self, call: Call) -> Any:
        name = self._tree.name(call, self._level)
        self._tree.delete(self._level, name)
        return self._tree.operations.deleted(name, version_of(call))

    def batch_runs(self, call: Call) -> Any:
        """All or none of them."""
        return {"tensorboardRuns": self._batch(call, RUN, "BatchCreateTensorboardRunsRequest")}

    def batch_series(self, call: Call) -> Any:
        """Of any runs of the experiment in the path."""
        request = "BatchCreateTensorboardTimeSeriesRequest"
        return {"tensorboardTimeSeries": self._batch(call, SERIES, request)}

    def _batch(self, call: Call, level: Level, message: str) -> Sequence[Document]:
        tree = self._tree
        requests = schema.parse("aiplatform", version_of(call), message, call.body, "").get("requests", [])
        experiment = tree.name(call, EXPERIMENT)
        if not 1 <= len(requests) <= BATCH:
            raise bad_request(
                [("requests", f"There are {len(requests)} requests; 1 to {BATCH} are allowed.")]
            )
        made = []
        with tree.store.transaction():
            for i, request in enumerate(requests):
                parent = tree.spelled(request.get("parent", ""))
                fits = parent == experiment if level is RUN else parent.startswith(f"{experiment}/runs/")
                if not fits:
                    place = f"requests[{i}].parent"
                    raise bad_request([(place, f'The {place} "{parent}" is not of {experiment}.')])
                at = f"requests[{i}].{level.field}"
                given, body = request.get(level.id_query, ""), request.get(schema.camel(level.field), {})
                made.append(tree.create(level, parent, given, body, at))
        return made


class Tree:
    """The documents of all levels; a deletion takes all that is below."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.store = world.store
        self.operations = Operations(world)
        self._points = Points(world)

    def create(self, level: Level, parent: str, given: str, body: Mapping[str, Any], at: str) -> Document:
        check(level, body, given, at)
        with self.store.transaction():
            self.require_parent(level, parent)
            name = f"{parent}/{level.plural}/{given or random.randint(10**18, 9 * 10**18)}"
            if self.store.get(level.kind, name) is not None:
                raise ApiError("ALREADY_EXISTS", f"{level.message} {name} already exists.")
            self._require_unique(level, parent, name, body)
            now = timestamp(self._world.clock.now_ns())
            made = {"name": name, **body, "createTime": now, "updateTime": now, "etag": new_etag()}
            self.store.put(level.kind, name, made)
            self._one_default(level, made)
        return made

    def get(self, level: Level, name: str) -> Document:
        found = self.store.get(level.kind, name)
        if found is None:
            raise not_found(name)
        if level is TENSORBOARD:
            runs = len(self.store.list(RUN.kind, f"{name}/"))
            return {**found, **({"runCount": runs} if runs else {})}
        return found

    def patch(self, level: Level, name: str, body: Mapping[str, Any], names: list[str]) -> Document:
        with self.store.transaction():
            current = self.get(level, name)
            check_etag(body, current)
            made = patched(current, body, names)
            check(level, made, "kept", level.field)
            self._require_unique(level, name.rsplit("/", 2)[0], name, made)
            made |= {"updateTime": timestamp(self._world.clock.now_ns()), "etag": new_etag()}
            self.store.put(level.kind, name, made)
            self._one_default(level, made)
        return made

    def delete(self, level: Level, name: str) -> None:
        with self.store.transaction():
            self.get(level, name)
            for below in LEVELS[LEVELS.index(level) :]:
                found = self.store.list(below.kind, f"{name}/") + ([{"name": name}] if below is level else [])
                for document in found:
                    if below is SERIES:
                        self._points.forget(document["name"])
                    self.store.delete(below.kind, document["name"])

    def operation(self, call: Call, made: Document, verb: str) -> Document:
        """Of an instance, whose changes are long-running."""
        metadata: tuple[str, Document] = (f"{verb}TensorboardOperationMetadata", {})
        return self.operations.made(made["name"], version_of(call), metadata, ("Tensorboard", made))

    def parent(self, call: Call, level: Level) -> str:
        location = self._world.location(call.path["project"], call.path["location"])
        above = LEVELS[: LEVELS.index(level)]
        return "/".join([location, *(f"{up.plural}/{call.path[up.part]}" for up in above)])

    def name(self, call: Call, level: Level) -> str:
        return f"{self.parent(call, level)}/{level.plural}/{call.path[level.part]}"

    def spelled(self, name: str) -> str:
        """A name out of a body, with the project's number."""
        words = name.split("/", 4)
        if len(words) < 5 or words[0] != "projects" or words[2] != "locations":
            return name
        return f"{self._world.location(words[1], words[3])}/{words[4]}"

    def require_parent(self, level: Level, parent: str) -> None:
        if level is not TENSORBOARD:
            self.get(LEVELS[LEVELS.index(level) - 1], parent)

    def _require_unique(self, level: Level, parent: str, name: str, body: Mapping[str, Any]) -> None:
        if level not in (RUN, SERIES):
            return
        for other in self.store.list(level.kind, f"{parent}/{level.plural}/"):
            if other["name"] != name and other["displayName"] == body["displayName"]:
                text = f'{level.message} with the display name "{body["displayName"]}" already exists.'
                raise ApiError("ALREADY_EXISTS", f"{text} It is {other['name']}.")

    def _one_default(self, level: Level, made: Document) -> None:
        """At most one instance of a region is its default (the description of Tensorboard.is_default)."""
        if level is TENSORBOARD and made.get("isDefault"):
            for other in self.store.list(level.kind, made["name"].rsplit("/", 1)[0] + "/"):
                if other["name"] != made["name"] and other.pop("isDefault", False):
                    self.store.put(level.kind, other["name"], other)


def require(world: World, spec: Mapping[str, Any]) -> None:
    """NOT_FOUND where the TensorBoard that a job spec names is not there."""
    if name := spec.get("tensorboard", ""):
        tree = Tree(world)
        tree.get(TENSORBOARD, tree.spelled(name))


def check(level: Level, body: Mapping[str, Any], given: str, at: str) -> None:
    """ApiError naming every field that breaks a rule (the descriptions of the messages' fields)."""
    violations = [
        *display_name(body, at, needed=level.names_itself),
        *labels(body.get("labels", {}), f"{at}.labels"),
    ]
    place = schema.snake(level.id_query)
    if level in (EXPERIMENT, RUN) and not given:
        violations.append(required(place))
    elif given and not GIVEN_ID.fullmatch(given):
        violations.append((place, f'Invalid {place} "{given}": 1-128 characters of [a-z0-9-].'))
    if level is SERIES and body.get("valueType", "VALUE_TYPE_UNSPECIFIED") == "VALUE_TYPE_UNSPECIFIED":
        violations.append(required(f"{at}.value_type"))
    if violations:
        raise refused(violations)
