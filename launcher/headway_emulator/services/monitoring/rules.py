"""What Cloud Monitoring accepts: metric descriptors, and the points of a CreateTimeSeriesRequest.

Limits are those of monitoring.v3's discovery document, words those that clients reported of Google's answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from headway_emulator.engine.clock import SECOND, parse_timestamp
from headway_emulator.engine.store import Document
from headway_emulator.engine.time_series import end_of
from headway_emulator.errors import invalid

PREFIXES = ("custom.googleapis.com/", "external.googleapis.com/", "workload.googleapis.com/")
TYPE = re.compile(r"[A-Za-z0-9_.]+(?:/[A-Za-z0-9_.-]+)+")
TYPE_CHARACTERS = 200
LABEL = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,99}")
LABELS = 30
LABEL_CHARACTERS = 1024
PAST_SECONDS = 25 * 3600
FUTURE_SECONDS = 300
BETWEEN_SECONDS = 5
"""Of a custom metric, between two points of a series."""
VALUE_TYPES: Mapping[str, str] = {
    "boolValue": "BOOL",
    "int64Value": "INT64",
    "doubleValue": "DOUBLE",
    "stringValue": "STRING",
    "distributionValue": "DISTRIBUTION",
}
RESOURCES: Mapping[str, tuple[str, ...]] = {
    "global": ("project_id",),
    "generic_node": ("project_id", "location", "namespace", "node_id"),
    "generic_task": ("project_id", "location", "namespace", "job", "task_id"),
    "gce_instance": ("project_id", "instance_id", "zone"),
    "gke_container": (
        "project_id",
        "cluster_name",
        "namespace_id",
        "instance_id",
        "pod_id",
        "container_name",
        "zone",
    ),
    "k8s_cluster": ("project_id", "location", "cluster_name"),
    "k8s_node": ("project_id", "location", "cluster_name", "node_name"),
    "k8s_pod": ("project_id", "location", "cluster_name", "namespace_name", "pod_name"),
    "k8s_container": (
        "project_id",
        "location",
        "cluster_name",
        "namespace_name",
        "pod_name",
        "container_name",
    ),
    "dataflow_job": ("project_id", "job_name", "region"),
    "aws_ec2_instance": ("project_id", "instance_id", "region", "aws_account"),
}
"""Resources that custom metrics may use, with their labels (monitoring/custom-metrics/creating-metrics)."""


class Unwritable(Exception):
    """Why one series of a request was not written."""


def descriptor(given: Document, project: str) -> Document:
    """A user's metric descriptor with its name and defaults; ApiError INVALID_ARGUMENT otherwise."""
    kind, value = given.get("metricKind", ""), given.get("valueType", "")
    metric_type = given.get("type", "")
    if not metric_type.startswith(PREFIXES) or not _is_type(metric_type):
        raise invalid(f'Field metricDescriptor.type had an invalid value of "{metric_type}".')
    if kind in ("", "METRIC_KIND_UNSPECIFIED"):
        raise invalid('Field metricDescriptor.metricKind had an invalid value of "METRIC_KIND_UNSPECIFIED".')
    if value in ("", "VALUE_TYPE_UNSPECIFIED", "MONEY"):
        raise invalid(f'Field metricDescriptor.valueType had an invalid value of "{value}".')
    if kind != "GAUGE" and value in ("BOOL", "STRING"):
        raise invalid(f"The metric kind {kind} does not go with the value type {value}.")
    labels = given.get("labels", [])
    if len(labels) > LABELS:
        raise invalid(f"A metric can have at most {LABELS} labels.")
    for number, label in enumerate(labels):
        if not LABEL.fullmatch(key := label.get("key", "")):
            raise invalid(f'Field metricDescriptor.labels[{number}].key had an invalid value of "{key}".')
    return {**given, "name": f"projects/{project}/metricDescriptors/{metric_type}"}


def head(series: Document, project: str, at: str) -> Document:
    """A time series without its points, as it is kept; Unwritable where the metric or resource is wrong."""
    metric = series.get("metric", {})
    metric_type = metric.get("type", "")
    if not metric_type.startswith(PREFIXES) or not _is_type(metric_type):
        raise _wrong(f"{at}.metric.type", metric_type, "Metric type must begin with custom.googleapis.com/.")
    for number, (key, value) in enumerate(sorted(metric.get("labels", {}).items())):
        if not LABEL.fullmatch(key):
            raise _wrong(
                f"{at}.metric.labels[{number}]", key, "Label keys are letters, digits and underscores."
            )
        if len(value) > LABEL_CHARACTERS:
            raise _wrong(f"{at}.metric.labels[{number}]", value[:20], f"Over {LABEL_CHARACTERS} characters.")
    resource = series.get("resource") or {"type": "global"}
    known = RESOURCES.get(resource.get("type", ""))
    if known is None:
        raise _wrong(f"{at}.resource.type", resource.get("type", ""), "Unsupported monitored resource type.")
    labels = {"project_id": project, **resource.get("labels", {})}
    for number, key in enumerate(sorted(labels)):
        if key not in known:
            raise _wrong(f"{at}.resource.labels[{number}]", key, "Unrecognized resource label.")
    kept = {"type": metric_type, **({"labels": metric["labels"]} if metric.get("labels") else {})}
    return {"metric": kept, "resource": {"type": resource["type"], "labels": labels}}


def point(series: Document, at: str, now: int) -> tuple[Document, str]:
    """The one point with its value type; Unwritable where there is not one, or its time is wrong."""
    points = series.get("points", [])
    if len(points) != 1:
        reason = "Only one point can be written per TimeSeries per request."
        raise Unwritable(f"Field {at}.points had an invalid value: {reason}")
    (found,) = points
    given = [name for name in VALUE_TYPES if name in found.get("value", {})]
    if len(given) != 1:
        raise Unwritable(f"Field {at}.points[0].value had an invalid value: exactly one value is due.")
    end = found.get("interval", {}).get("endTime", "")
    if not end:
        raise Unwritable(f"Field {at}.points[0].interval.endTime had an invalid value: it is required.")
    moment = parse_timestamp(end)
    if moment > now + FUTURE_SECONDS * SECOND:
        raise _wrong(f"{at}.points[0].interval.endTime", end, "Points cannot be written in the future.")
    if moment < now - PAST_SECONDS * SECOND:
        raise _wrong(
            f"{at}.points[0].interval.endTime", end, "Points cannot be written more than 25h0s in the past."
        )
    return found, VALUE_TYPES[given[0]]


def fits(of: Document, series: Document, value_type: str, at: str) -> None:
    """Unwritable where the metric's descriptor says otherwise."""
    kind = series.get("metricKind", "METRIC_KIND_UNSPECIFIED")
    if kind not in ("METRIC_KIND_UNSPECIFIED", of["metricKind"]):
        reason = f"Metric kind for metric {of['type']} must be {of['metricKind']}, but is {kind}."
        raise Unwritable(f"Field {at}.metricKind had an invalid value: {reason}")
    if value_type != of["valueType"]:
        reason = f"Value type for metric {of['type']} must be {of['valueType']}, but is {value_type}."
        raise Unwritable(f"Field {at}.points[0].value had an invalid value: {reason}")
    known = {label["key"] for label in of.get("labels", [])}
    for number, key in enumerate(sorted(series["metric"].get("labels", {}))):
        if key not in known:
            raise _wrong(f"{at}.metric.labels[{number}]", key, "Unrecognized metric label.")


def spans(found: Document, kind: str, at: str) -> Document:
    """The point with both ends of its interval as its kind wants them."""
    end = found["interval"]["endTime"]
    start = found["interval"].get("startTime", end)
    if kind == "GAUGE" and parse_timestamp(start) != parse_timestamp(end):
        reason = "The start time must be equal to the end time for the gauge metric."
        raise _wrong(f"{at}.points[0].interval.startTime", start, reason)
    if kind != "GAUGE" and parse_timestamp(start) >= parse_timestamp(end):
        reason = f"The start time must be before the end time for the {kind.lower()} metric."
        raise _wrong(f"{at}.points[0].interval.startTime", start, reason)
    return {"interval": {"startTime": start, "endTime": end}, "value": found["value"]}


def follows(found: Document, before: Document | None) -> None:
    """Unwritable where the series has a newer point already, or one too shortly before."""
    if before is None:
        return
    apart = end_of(found) - end_of(before)
    if apart <= 0:
        raise Unwritable(
            "Points must be written in order. "
            "One or more of the points specified had an older end time than the most recent point."
        )
    if apart < BETWEEN_SECONDS * SECOND:
        raise Unwritable(
            "One or more points were written more frequently than the maximum sampling period "
            "configured for the metric."
        )


def _is_type(metric_type: str) -> bool:
    return len(metric_type) <= TYPE_CHARACTERS and TYPE.fullmatch(metric_type) is not None


def _wrong(field: str, value: str, reason: str) -> Unwritable:
    return Unwritable(f'Field {field} had an invalid value of "{value}": {reason}')
