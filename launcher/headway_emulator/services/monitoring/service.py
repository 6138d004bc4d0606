"""Cloud Monitoring: metric descriptors of the user's, and their time series, written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headway_emulator import schema
from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.clock import parse_timestamp
from headway_emulator.engine.store import Document
from headway_emulator.engine.time_series import TimeSeriesTable, series_name
from headway_emulator.errors import ApiError, invalid, unimplemented
from headway_emulator.services.monitoring import aggregation, filters, rules
from headway_emulator.services.monitoring.rules import Unwritable
from headway_emulator.world import World

DESCRIPTOR = "metricDescriptor"
DESCRIPTORS = 10_000
AT_ONCE = 200
MOST_POINTS = 100_000
MOST_DESCRIPTORS = 10_000
SUMMARY = "type.googleapis.com/google.monitoring.v3.CreateTimeSeriesSummary"


def service(world: World) -> Service:
    """Rules with the permissions of https://cloud.google.com/monitoring/access-control."""
    monitoring = Monitoring(world)
    series = "/v3/projects/{project}/timeSeries"
    descriptors = "/v3/projects/{project}/metricDescriptors"
    one = f"{descriptors}/{{type:path}}"
    of = "monitoring.metricDescriptors"
    return Service(
        "monitoring",
        "custom metrics and their time series, aligned and reduced in the common ways, the newest kept; no "
        "metrics of Google's own, alerts, dashboards or query languages",
        [
            Rule("timeSeries.create", "POST", series, monitoring.write, "monitoring.timeSeries.create"),
            Rule("timeSeries.list", "GET", series, monitoring.list, "monitoring.timeSeries.list"),
            Rule("metricDescriptors.create", "POST", descriptors, monitoring.describe, f"{of}.create"),
            Rule("metricDescriptors.list", "GET", descriptors, monitoring.descriptors, f"{of}.list"),
            Rule("metricDescriptors.get", "GET", one, monitoring.descriptor, f"{of}.get"),
            Rule("metricDescriptors.delete", "DELETE", one, monitoring.forget, f"{of}.delete"),
        ],
    )


class Monitoring:
    """The methods of google.monitoring.v3.MetricService that custom metrics need."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = world.store
        self._table = TimeSeriesTable(world.store)

    def describe(self, call: Call) -> Any:
        """Also changes what is there, except for its kind and value type."""
        project = self._project(call)
        given = schema.parse("monitoring", "v3", "MetricDescriptor", call.body, "metric_descriptor")
        made = rules.descriptor(given, project)
        with self._store.transaction():
            known = self._store.get(DESCRIPTOR, made["type"])
            for field in ("metricKind", "valueType"):
                if known is not None and known[field] != made[field]:
                    raise invalid(f"Field metricDescriptor.{field} cannot be changed: it is {known[field]}.")
            if known is None:
                self._make_room()
            self._store.put(DESCRIPTOR, made["type"], made)
        return made

    def descriptors(self, call: Call) -> Any:
        self._project(call)
        wanted = filters.parse(call.query.get("filter", ""))
        found = sorted(self._store.list(DESCRIPTOR), key=lambda one: str(one["type"]))
        shown = [one for one in found if all(c.holds({"metric": one, "resource": {}}) for c in wanted)]
        size, start = call.page_size(MOST_DESCRIPTORS, MOST_DESCRIPTORS), _token(call, 1)[0]
        page: Document = {"metricDescriptors": shown[start : start + size]} if shown[start:] else {}
        return page | ({"nextPageToken": str(start + size)} if len(shown) > start + size else {})

    def descriptor(self, call: Call) -> Any:
        self._project(call)
        found = self._store.get(DESCRIPTOR, call.path["type"])
        if found is None:
            raise _no_metric(call.path["type"])
        return found

    def forget(self, call: Call) -> Any:
        """The descriptor, and with it the metric's data, which could not be read any more."""
        metric_type = self.descriptor(call)["type"]
        with self._store.transaction():
            self._store.delete(DESCRIPTOR, metric_type)
            self._table.delete_metric(metric_type)
        return {}

    def write(self, call: Call) -> Any:
        """Each series by itself: what can be written is, also where others of the request cannot."""
        project = self._project(call)
        body = schema.parse("monitoring", "v3", "CreateTimeSeriesRequest", call.body, "")
        given = body.get("timeSeries", [])
        if not 0 < len(given) <= AT_ONCE:
            raise invalid(
                f"Field timeSeries had an invalid value: 1 to {AT_ONCE} TimeSeries are allowed per request, "
                f"but there are {len(given)}."
            )
        seen: set[str] = set()
        failed: list[str] = []
        for number, series in enumerate(given):
            try:
                self._write(series, project, f"timeSeries[{number}]", seen)
            except Unwritable as error:
                failed.append(f"{error}: timeSeries[{number}]")
        if failed:
            raise _not_written(failed, len(given))
        return {}

    def _write(self, series: Document, project: str, at: str, seen: set[str]) -> None:
        head = rules.head(series, project, at)
        found, value_type = rules.point(series, at, self._world.clock.now_ns())
        name = series_name(head["metric"], head["resource"])
        if name in seen:
            reason = (
                "Duplicate TimeSeries encountered. Only one point can be written per TimeSeries per request."
            )
            raise Unwritable(f"Field {at} had an invalid value: {reason}")
        seen.add(name)
        with self._store.transaction():
            descriptor = self._store.get(DESCRIPTOR, head["metric"]["type"])
            descriptor = descriptor or self._described(series, head, value_type, project, at)
            rules.fits(descriptor, series, value_type, at)
            found = rules.spans(found, descriptor["metricKind"], at)
            before = self._table.get(name)
            rules.follows(found, before["points"][0] if before else None)
            if self._store.get(DESCRIPTOR, descriptor["type"]) is None:
                self._make_room()
                self._store.put(DESCRIPTOR, descriptor["type"], descriptor)
            kinds = {"metricKind": descriptor["metricKind"], "valueType": value_type}
            self._table.add(name, {**head, **kinds}, found)

    def _described(
        self, series: Document, head: Document, value_type: str, project: str, at: str
    ) -> Document:
        """What the first point of a metric says of it (TimeSeries.metric_kind, .value_type, .unit)."""
        kind = series.get("metricKind", "METRIC_KIND_UNSPECIFIED")
        if kind not in ("METRIC_KIND_UNSPECIFIED", "GAUGE", "CUMULATIVE"):
            raise Unwritable(f"Field {at}.metricKind had an invalid value: it must be GAUGE or CUMULATIVE.")
        if value_type == "STRING":
            raise Unwritable(
                f"Field {at}.valueType had an invalid value: a STRING metric is not made by itself."
            )
        metric = head["metric"]
        return {
            "name": f"projects/{project}/metricDescriptors/{metric['type']}",
            "type": metric["type"],
            "labels": [{"key": key} for key in sorted(metric.get("labels", {}))],
            "metricKind": "CUMULATIVE" if kind == "CUMULATIVE" else "GAUGE",
            "valueType": value_type,
            **{field: series[field] for field in ("unit", "description") if series.get(field)},
        }

    def list(self, call: Call) -> Any:
        project, query = self._project(call), call.query
        if query.get("orderBy"):
            raise invalid("Field orderBy had an invalid value: it is unsupported and must be left blank.")
        start, end = _interval(query)
        wanted = aggregation.asked(query, call.every.get("aggregation.groupByFields", ()))
        text = query.get("filter", "")
        conditions = filters.parse(text)
        metric_type = filters.metric_type(conditions, text)
        if not metric_type.startswith(rules.PREFIXES):
            raise unimplemented(f"the metric {metric_type}: only custom metrics have time series here")
        if self._store.get(DESCRIPTOR, metric_type) is None:
            raise _no_metric(metric_type)
        found = [
            aggregation.align(series, wanted, start, end)
            for series in self._table.of_metric(metric_type)
            if all(condition.holds({**series, "project": project}) for condition in conditions)
        ]
        shown = aggregation.reduce([series for series in found if series["points"]], wanted)
        return _page(call, shown)

    def _make_room(self) -> None:
        if len(self._store.list(DESCRIPTOR)) >= DESCRIPTORS:
            raise ApiError("RESOURCE_EXHAUSTED", "Your metric descriptor quota has been exhausted.")

    def _project(self, call: Call) -> str:
        """Names have the project's id."""
        self._world.check_project(call.path["project"])
        return self._world.settings.project


def _interval(query: Mapping[str, str]) -> tuple[int, int]:
    """Nanoseconds of (start, end]; only the end has to be given."""
    ends = {}
    given = query.get("interval.endTime", "")
    for field, text in (("endTime", given), ("startTime", query.get("interval.startTime", "") or given)):
        try:
            ends[field] = parse_timestamp(text)
        except ValueError as error:
            raise invalid(f'Field interval.{field} had an invalid value of "{text}".') from error
    if ends["startTime"] > ends["endTime"]:
        raise invalid("Field interval.startTime had an invalid value: it is later than the end time.")
    return ends["startTime"], ends["endTime"]


def _page(call: Call, shown: Sequence[Document]) -> Document:
    """At most page_size points, or with HEADERS series; a series may go on on the next page."""
    view = call.query.get("view", "") or "FULL"
    if view not in ("FULL", "HEADERS"):
        raise invalid(f'Field view had an invalid value of "{view}".')
    left = call.page_size(MOST_POINTS, MOST_POINTS)
    first, skip = _token(call, 2)
    chosen: list[Document] = []
    for number, series in enumerate(shown[first:], first):
        points = series["points"][skip:] if number == first else series["points"]
        if left == 0:
            return {"timeSeries": chosen, "nextPageToken": f"{number}.0"}
        if view == "HEADERS":
            chosen.append({name: value for name, value in series.items() if name != "points"})
            left -= 1
            continue
        chosen.append({**series, "points": points[:left]})
        if len(points) > left:
            done = left + (skip if number == first else 0)
            return {"timeSeries": chosen, "nextPageToken": f"{number}.{done}"}
        left -= len(points)
    return {"timeSeries": chosen} if chosen else {}


def _token(call: Call, count: int) -> list[int]:
    """The numbers in a page token, zeros where there is none."""
    text = call.query.get("pageToken", "")
    if not text:
        return [0] * count
    numbers = text.split(".")
    if len(numbers) != count or not all(number.isdecimal() for number in numbers):
        raise invalid(f'Field pageToken had an invalid value of "{text}".')
    return [int(number) for number in numbers]


def _no_metric(metric_type: str) -> ApiError:
    return ApiError(
        "NOT_FOUND",
        f'Cannot find metric(s) that match type = "{metric_type}". If a metric was created recently, it '
        "could take up to 10 minutes to become available. Please try again soon.",
    )


def _not_written(failed: Sequence[str], total: int) -> ApiError:
    """As googleapis/python-monitoring#57 and influxdata/telegraf#5963 show it."""
    summary: Document = {
        "@type": SUMMARY,
        "totalPointCount": total,
        "errors": [{"status": {"code": 3}, "pointCount": len(failed)}],
    }
    if total > len(failed):
        summary["successPointCount"] = total - len(failed)
    text = f"One or more TimeSeries could not be written: {'; '.join(failed)}"
    return ApiError("INVALID_ARGUMENT", text, [summary])
