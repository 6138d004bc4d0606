"""The points of TensorBoard's time series: written by step, read whole or thinned out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headway_emulator import schema
from headway_emulator.api.rest import Call, Rule
from headway_emulator.engine.clock import timestamp
from headway_emulator.engine.store import Document
from headway_emulator.errors import bad_request, invalid, not_found, unimplemented
from headway_emulator.services.vertex.fields import required
from headway_emulator.services.vertex.operations import version_of
from headway_emulator.services.vertex.rules import refused
from headway_emulator.world import World

SERIES = "tensorboardTimeSeries"
RUN = "tensorboardRun"
POINTS_IN_A_REQUEST = 5000
POINTS_SHOWN = 1000
"""Where max_data_points is not given."""
SERIES_IN_A_READ = 1000
VALUE_FIELDS = {"SCALAR": "scalar", "TENSOR": "tensor", "BLOB_SEQUENCE": "blobs"}


def data_rules(points: Points, version: str) -> list[Rule]:
    """Below one version of the API; their places in the tree are those of vertex_tensorboards."""
    top = f"/{version}/projects/{{project}}/locations/{{location}}/tensorboards/{{tensorboard}}"
    experiment = f"{top}/experiments/{{experiment}}"
    run = f"{experiment}/runs/{{run}}"
    name, right = "tensorboards.experiments", "aiplatform.tensorboard"
    series = f"{run}/timeSeries/{{series}}"
    return [
        Rule(
            "tensorboards.batchRead",
            "GET",
            f"{top}:batchRead",
            points.batch_read,
            f"{right}TimeSeries.batchRead",
        ),
        Rule(
            f"{name}.write",
            "POST",
            f"{experiment}:write",
            points.write_experiment,
            f"{right}Experiments.write",
        ),
        Rule(f"{name}.runs.write", "POST", f"{run}:write", points.write_run, f"{right}Runs.write"),
        Rule(f"{name}.runs.timeSeries.read", "GET", f"{series}:read", points.read, f"{right}TimeSeries.read"),
    ]


class Points:
    """Each series has a kind of its own in the store, so that one is read without the others."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = world.store

    def write_run(self, call: Call) -> Any:
        run = f"{self._experiment(call)}/runs/{call.path['run']}"
        body = schema.parse("aiplatform", version_of(call), "WriteTensorboardRunDataRequest", call.body, "")
        with self._store.transaction():
            self._write(run, body, "")
        return {}

    def write_experiment(self, call: Call) -> Any:
        """All of it or nothing."""
        experiment = self._experiment(call)
        message = "WriteTensorboardExperimentDataRequest"
        body = schema.parse("aiplatform", version_of(call), message, call.body, "")
        requests = body.get("writeRunDataRequests", [])
        if not requests:
            raise refused([required("write_run_data_requests")])
        with self._store.transaction():
            for i, request in enumerate(requests):
                at = f"write_run_data_requests[{i}]."
                words = request.get("tensorboardRun", "").split("/", 4)
                run = f"{self._world.location(words[1], words[3])}/{words[4]}" if len(words) == 5 else ""
                if not run.startswith(f"{experiment}/runs/"):
                    place = f"{at}tensorboard_run"
                    raise bad_request([(place, f"The {place} is not of {experiment}.")])
                self._write(run, request, at)
        return {}

    def read(self, call: Call) -> Any:
        name = f"{self._experiment(call)}/runs/{call.path['run']}/timeSeries/{call.path['series']}"
        if call.query.get("filter"):
            raise unimplemented("filters on the points of a time series")
        most = int(call.query.get("maxDataPoints", POINTS_SHOWN))
        if most < -1:
            raise invalid("max_data_points must be positive, or -1 for all.")
        return {"timeSeriesData": self._data(name, most or POINTS_SHOWN)}

    def batch_read(self, call: Call) -> Any:
        names = list(call.every.get("timeSeries", ()))
        if not 1 <= len(names) <= SERIES_IN_A_READ:
            text = f"There are {len(names)} time series; 1 to {SERIES_IN_A_READ} are allowed."
            raise bad_request([("time_series", text)])
        spelled = []
        for name in names:
            words = name.split("/", 4)
            if len(words) < 5:
                raise not_found(name)
            spelled.append(f"{self._world.location(words[1], words[3])}/{words[4]}")
        return {"timeSeriesData": [self._data(name, POINTS_SHOWN) for name in spelled]}

    def forget(self, name: str) -> None:
        """Of a deleted series."""
        for point in self._store.list(_kind(name)):
            self._store.delete(_kind(name), _key(point))

    def _write(self, run: str, request: Mapping[str, Any], at: str) -> None:
        if self._store.get(RUN, run) is None:
            raise not_found(run)
        given = request.get("timeSeriesData", [])
        count = sum(len(data.get("values", [])) for data in given)
        if not given:
            raise refused([required(f"{at}time_series_data")])
        if count > POINTS_IN_A_REQUEST:
            text = f"There are {count} data points; at most {POINTS_IN_A_REQUEST} are allowed in a request."
            raise bad_request([(f"{at}time_series_data", text)])
        for i, data in enumerate(given):
            self._write_series(run, data, f"{at}time_series_data[{i}]")

    def _write_series(self, run: str, data: Mapping[str, Any], at: str) -> None:
        """A second value at a step replaces the first."""
        if not (given := data.get("tensorboardTimeSeriesId", "")):
            raise refused([required(f"{at}.tensorboard_time_series_id")])
        name = f"{run}/timeSeries/{given}"
        series = self._store.get(SERIES, name)
        if series is None:
            raise not_found(name)
        kind = data.get("valueType") or series["valueType"]
        field = VALUE_FIELDS[series["valueType"]]
        if kind != series["valueType"] or any(field not in value for value in data.get("values", [])):
            text = f"The values of {name} must be of its value_type, {series['valueType']}."
            raise bad_request([(f"{at}.values", text)])
        now = timestamp(self._world.clock.now_ns())
        known = series.get("metadata", {})
        steps = [int(known.get("maxStep", 0))]
        times = [known.get("maxWallTime", "")]
        for value in data.get("values", []):
            point = {"step": "0", "wallTime": now, **value}
            self._store.put(_kind(name), _key(point), point)
            steps.append(int(point["step"]))
            times.append(point["wallTime"])
        metadata = {"maxStep": str(max(steps)), "maxWallTime": max(times)}
        self._store.put(SERIES, name, {**series, "metadata": metadata, "updateTime": now})

    def _data(self, name: str, most: int) -> Document:
        """In the order of steps; where there are too many, evenly thinned out, the last one kept."""
        series = self._store.get(SERIES, name)
        if series is None:
            raise not_found(name)
        points = sorted(self._store.list(_kind(name)), key=lambda point: int(point["step"]))
        if 0 < most < len(points):
            points = [points[(i + 1) * len(points) // most - 1] for i in range(most)]
        series_id = name.rsplit("/", 1)[1]
        return {
            "tensorboardTimeSeriesId": series_id,
            "valueType": series["valueType"],
            **({"values": points} if points else {}),
        }

    def _experiment(self, call: Call) -> str:
        location = self._world.location(call.path["project"], call.path["location"])
        return f"{location}/tensorboards/{call.path['tensorboard']}/experiments/{call.path['experiment']}"


def _kind(name: str) -> str:
    return f"tensorboardPoint:{name}"


def _key(point: Mapping[str, Any]) -> str:
    return str(point["step"])
