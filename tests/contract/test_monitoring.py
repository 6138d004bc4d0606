"""Cloud Monitoring on an emulator whose clock is stepped.

Google's Python client speaks gRPC alone: it has a test of its own. The others send REST, and
read the replies by the client's message classes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.contract.servers import NUMBER, PROJECT, Emulator

if TYPE_CHECKING:
    from google.cloud.monitoring_v3 import TimeSeries

METRICS = count()


@pytest.fixture
def metric() -> str:
    """A metric type that no other test uses."""
    return f"custom.googleapis.com/contract/m{next(METRICS)}"


class Monitoring:
    """The API at a project of an emulator, with its clock."""

    def __init__(self, emulator: Emulator, project: str = PROJECT) -> None:
        self._clock = f"{emulator.url}/emulator/clock"
        self.url = f"{emulator.url}/monitoring/v3/projects/{project}"

    @property
    def now(self) -> datetime:
        text = requests.get(self._clock, timeout=10).json()["now"]
        return datetime.fromisoformat(text).replace(microsecond=0)

    def step(self, seconds: int) -> None:
        answer = requests.post(self._clock, json={"advance": f"{seconds}s"}, timeout=30)
        assert answer.status_code == 200, answer.text

    def send(self, *series: dict[str, Any]) -> requests.Response:
        return requests.post(f"{self.url}/timeSeries", json={"timeSeries": list(series)}, timeout=10)

    def write(self, metric: str, *values: float, every: int = 60, **labels: str) -> None:
        """One double after the other, with so many seconds between them."""
        for value in values:
            self.step(every)
            done = self.send(gauge(metric, self.now, {"doubleValue": value}, **labels))
            assert done.status_code == 200, done.text

    def ask(self, metric: str, minutes: float = 60, **more: Any) -> requests.Response:
        query = {
            "filter": f'metric.type = "{metric}"',
            "interval.endTime": rfc(self.now),
            "interval.startTime": rfc(self.now - timedelta(minutes=minutes)),
            **{name.replace("__", "."): value for name, value in more.items()},
        }
        return requests.get(f"{self.url}/timeSeries", params=query, timeout=10)

    def series(self, metric: str, minutes: float = 60, **more: Any) -> list[TimeSeries]:
        """As Google's own messages, which refuse what they do not know."""
        from google.cloud.monitoring_v3 import ListTimeSeriesResponse

        answer = self.ask(metric, minutes, **more)
        assert answer.status_code == 200, answer.text
        reply = ListTimeSeriesResponse.from_json(answer.text, ignore_unknown_fields=False)
        return list(reply.time_series)


@pytest.fixture
def api(timed: Emulator) -> Monitoring:
    return Monitoring(timed)


def rfc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def gauge(metric: str, end: datetime, value: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {
        "metric": {"type": metric, "labels": labels},
        "resource": {"type": "global"},
        "points": [{"interval": {"endTime": rfc(end)}, "value": value}],
    }


def kind(series: TimeSeries) -> str:
    from google.api.metric_pb2 import MetricDescriptor

    return str(MetricDescriptor.MetricKind.Name(series.metric_kind))


def value_type(series: TimeSeries) -> str:
    from google.api.metric_pb2 import MetricDescriptor

    return str(MetricDescriptor.ValueType.Name(series.value_type))


def doubles(series: TimeSeries) -> list[float]:
    return [point.value.double_value for point in series.points]


class TestSeries:
    def test_points_are_read_newest_first_with_their_resource(self, api: Monitoring, metric: str) -> None:
        api.write(metric, 1.5, 2.5, 3.5, run="a")
        (found,) = api.series(metric)
        assert doubles(found) == [3.5, 2.5, 1.5]
        assert dict(found.metric.labels) == {"run": "a"}
        assert (found.resource.type, dict(found.resource.labels)) == ("global", {"project_id": PROJECT})
        assert (kind(found), value_type(found)) == ("GAUGE", "DOUBLE")
        assert found.points[0].interval.end_time.replace(tzinfo=UTC) == api.now

    def test_the_interval_is_open_at_its_start_and_closed_at_its_end(
        self, api: Monitoring, metric: str
    ) -> None:
        """TimeInterval: (startTime, endTime]."""
        api.write(metric, 1, 2, 3)
        assert [doubles(found) for found in api.series(metric, minutes=1)] == [[3]]
        assert [doubles(found) for found in api.series(metric, minutes=2)] == [[3, 2]]
        assert [doubles(found) for found in api.series(metric, minutes=0)] == [[3]]

    def test_labels_tell_series_apart_and_are_filtered(self, api: Monitoring, metric: str) -> None:
        api.write(metric, 1, run="a", split="train")
        api.write(metric, 2, run="b", split="train")
        assert len(api.series(metric)) == 2
        for condition in (
            'metric.labels.run = "b"',
            'metric.label."run" = starts_with("b")',
            'metric.labels.run = one_of("b", "c")',
            'NOT metric.labels.run = "a"',
            'metric.labels.run != "a" AND resource.type = "global"',
        ):
            (found,) = api.series(metric, filter=f'metric.type = "{metric}" AND {condition}')
            assert found.metric.labels["run"] == "b", condition

    def test_the_project_is_named_by_its_number_as_well(
        self, api: Monitoring, timed: Emulator, metric: str
    ) -> None:
        api.write(metric, 1)
        assert Monitoring(timed, NUMBER).series(metric) == api.series(metric)

    def test_pages_are_disjoint_and_complete(self, api: Monitoring, metric: str) -> None:
        api.write(metric, 1, 2, 3, run="a")
        api.write(metric, 4, 5, run="b")
        seen: list[float] = []
        token = ""
        for _ in range(10):
            reply = api.ask(metric, pageSize=2, pageToken=token).json()
            points = [point for series in reply["timeSeries"] for point in series["points"]]
            assert 0 < len(points) <= 2
            seen += [point["value"]["doubleValue"] for point in points]
            if not (token := reply.get("nextPageToken", "")):
                break
        assert sorted(seen) == [1, 2, 3, 4, 5]

    def test_headers_alone_have_no_points(self, api: Monitoring, metric: str) -> None:
        api.write(metric, 1)
        (found,) = api.series(metric, view="HEADERS")
        assert found.metric.type == metric
        assert list(found.points) == []

    def test_integers_booleans_and_distributions_keep_their_type(self, api: Monitoring, metric: str) -> None:
        spread = {
            "count": "2",
            "mean": 1.5,
            "sumOfSquaredDeviation": 0.5,
            "bucketOptions": {"explicitBuckets": {"bounds": [1.0]}},
            "bucketCounts": ["0", "2"],
        }
        values: list[tuple[str, dict[str, Any]]] = [
            ("INT64", {"int64Value": "9007199254740993"}),
            ("BOOL", {"boolValue": True}),
            ("DISTRIBUTION", {"distributionValue": spread}),
        ]
        for of, value in values:
            name = f"{metric}/{of.lower()}"
            assert api.send(gauge(name, api.now, value)).status_code == 200
            (found,) = api.ask(name).json()["timeSeries"]
            assert (found["valueType"], found["points"][0]["value"]) == (of, value)

    def test_all_is_there_after_a_kill(self, api: Monitoring, timed: Emulator, metric: str) -> None:
        api.write(metric, 1, 2)
        timed.kill()
        timed.start()
        assert [doubles(found) for found in Monitoring(timed).series(metric)] == [[2, 1]]


class TestClient:
    def test_googles_client_writes_and_reads_over_grpc(
        self, api: Monitoring, timed: Emulator, metric: str
    ) -> None:
        import grpc
        from google.cloud import monitoring_v3
        from google.cloud.monitoring_v3.services.metric_service.transports import MetricServiceGrpcTransport

        with grpc.insecure_channel(timed.url.removeprefix("http://")) as channel:
            client = monitoring_v3.MetricServiceClient(transport=MetricServiceGrpcTransport(channel=channel))
            project = f"projects/{PROJECT}"
            for value in (1.0, 3.0):
                api.step(60)
                point = {"interval": {"end_time": api.now}, "value": {"double_value": value}}
                series = {"metric": {"type": metric}, "resource": {"type": "global"}, "points": [point]}
                client.create_time_series(name=project, time_series=[series])
            asked: dict[str, Any] = {
                "name": project,
                "filter": f'metric.type = "{metric}"',
                "interval": {"start_time": api.now - timedelta(minutes=5), "end_time": api.now},
                "view": monitoring_v3.ListTimeSeriesRequest.TimeSeriesView.FULL,
            }
            (found,) = client.list_time_series(request=asked)
            assert doubles(found) == [3.0, 1.0]
            asked["aggregation"] = {
                "alignment_period": timedelta(minutes=2),
                "per_series_aligner": monitoring_v3.Aggregation.Aligner.ALIGN_MEAN,
            }
            (aligned,) = client.list_time_series(request=asked)
            assert doubles(aligned) == [2.0]
            descriptor = client.get_metric_descriptor(name=f"{project}/metricDescriptors/{metric}")
            assert descriptor.type == metric
            client.delete_metric_descriptor(name=descriptor.name)
            assert metric not in [one.type for one in client.list_metric_descriptors(name=project)]


class TestAggregation:
    @pytest.mark.parametrize(
        ("aligner", "expected"),
        [
            ("ALIGN_MEAN", [3.5, 1.5]),
            ("ALIGN_MIN", [3.0, 1.0]),
            ("ALIGN_MAX", [4.0, 2.0]),
            ("ALIGN_SUM", [7.0, 3.0]),
            ("ALIGN_STDDEV", [0.5, 0.5]),
            ("ALIGN_NEXT_OLDER", [4.0, 2.0]),
        ],
    )
    def test_each_period_becomes_one_point(
        self, api: Monitoring, metric: str, aligner: str, expected: list[float]
    ) -> None:
        api.write(metric, 1, 2, 3, 4)
        (found,) = api.series(
            metric, 4, aggregation__perSeriesAligner=aligner, aggregation__alignmentPeriod="120s"
        )
        assert doubles(found) == expected
        ends = [point.interval.end_time.replace(tzinfo=UTC) for point in found.points]
        assert ends == [api.now, api.now - timedelta(minutes=2)]

    def test_values_are_counted_as_integers(self, api: Monitoring, metric: str) -> None:
        api.write(metric, 1, 2, 3)
        aligned = {"aggregation__perSeriesAligner": "ALIGN_COUNT", "aggregation__alignmentPeriod": "180s"}
        (found,) = api.series(metric, 3, **aligned)
        assert (value_type(found), [point.value.int64_value for point in found.points]) == ("INT64", [3])

    def test_series_are_reduced_by_a_label(self, api: Monitoring, metric: str) -> None:
        for run, split, value in (("a", "x", 1.0), ("b", "x", 3.0), ("a", "y", 10.0)):
            api.write(metric, value, every=5, run=run, split=split)
        wanted = {
            "aggregation__perSeriesAligner": "ALIGN_MEAN",
            "aggregation__alignmentPeriod": "60s",
            "aggregation__crossSeriesReducer": "REDUCE_SUM",
        }
        (whole,) = api.series(metric, 1, **wanted)
        assert doubles(whole) == [14.0]
        grouped = api.series(metric, 1, **wanted, aggregation__groupByFields=["metric.labels.split"])
        assert {found.metric.labels["split"]: doubles(found) for found in grouped} == {
            "x": [4.0],
            "y": [10.0],
        }

    def test_a_counter_is_read_as_growth_and_as_a_rate(self, api: Monitoring, metric: str) -> None:
        began = api.now
        for value in (10, 40, 100):
            api.step(60)
            point = {
                "interval": {"startTime": rfc(began), "endTime": rfc(api.now)},
                "value": {"int64Value": str(value)},
            }
            series = {"metric": {"type": metric}, "metricKind": "CUMULATIVE", "points": [point]}
            assert api.send(series).status_code == 200
        by_minute = {"aggregation__alignmentPeriod": "60s"}
        (grown,) = api.series(metric, 3, aggregation__perSeriesAligner="ALIGN_DELTA", **by_minute)
        assert [point.value.int64_value for point in grown.points] == [60, 30, 10]
        assert kind(grown) == "DELTA"
        (rate,) = api.series(metric, 3, aggregation__perSeriesAligner="ALIGN_RATE", **by_minute)
        assert doubles(rate) == [1.0, 0.5, pytest.approx(1 / 6)]

    @pytest.mark.parametrize(
        ("query", "named"),
        [
            ({"aggregation__perSeriesAligner": "ALIGN_INTERPOLATE"}, "ALIGN_INTERPOLATE"),
            ({"aggregation__perSeriesAligner": "ALIGN_PERCENTILE_99"}, "ALIGN_PERCENTILE_99"),
            ({"secondaryAggregation__perSeriesAligner": "ALIGN_MEAN"}, "secondaryAggregation"),
        ],
    )
    def test_what_is_not_emulated_is_refused_by_name(
        self, api: Monitoring, metric: str, query: dict[str, Any], named: str
    ) -> None:
        api.write(metric, 1)
        answer = api.ask(metric, **query)
        assert answer.status_code == 501
        assert named in answer.json()["error"]["message"]


class TestDescriptors:
    def test_the_first_point_describes_its_metric(self, api: Monitoring, metric: str) -> None:
        api.write(metric, 1, run="a")
        found = requests.get(f"{api.url}/metricDescriptors/{metric}", timeout=10).json()
        assert found == {
            "name": f"projects/{PROJECT}/metricDescriptors/{metric}",
            "type": metric,
            "labels": [{"key": "run"}],
            "metricKind": "GAUGE",
            "valueType": "DOUBLE",
        }

    def test_one_is_made_listed_and_deleted_with_its_data(self, api: Monitoring, metric: str) -> None:
        from google.cloud.monitoring_v3 import ListMetricDescriptorsResponse

        body = {
            "type": metric,
            "metricKind": "GAUGE",
            "valueType": "DOUBLE",
            "unit": "s",
            "labels": [{"key": "run", "valueType": "STRING", "description": "Which"}],
            "displayName": "Step time",
        }
        url = f"{api.url}/metricDescriptors"
        assert requests.post(url, json=body, timeout=10).json()["name"].endswith(metric)
        listed = requests.get(url, params={"filter": f'metric.type = starts_with("{metric}")'}, timeout=10)
        reply = ListMetricDescriptorsResponse.from_json(listed.text, ignore_unknown_fields=False)
        assert [(one.type, one.unit) for one in reply.metric_descriptors] == [(metric, "s")]
        api.write(metric, 1, run="a")
        assert requests.delete(f"{url}/{metric}", timeout=10).json() == {}
        assert requests.get(f"{url}/{metric}", timeout=10).status_code == 404
        assert api.ask(metric).status_code == 404


HOUR = timedelta(hours=1)
UNWRITABLE: list[tuple[str, dict[str, Any], str]] = [
    # what is wrong, the change to a good series, a part of the answer; the source is in the name
    ("two points (CreateTimeSeriesRequest)", {"points": "twice"}, "Only one point can be written"),
    ("no point (TimeSeries.points)", {"points": []}, "Only one point can be written"),
    ("a point without a value (Point.value)", {"value": {}}, "points[0].value"),
    ("a point of the future (TimeInterval)", {"end": HOUR}, "in the future"),
    ("a point of two days ago (creating-metrics)", {"end": -48 * HOUR}, "more than 25h0s in the past"),
    ("a gauge over an interval (Point.interval)", {"start": -HOUR}, "must be equal to the end time"),
    (
        "a counter without an interval (Point.interval)",
        {"metricKind": "CUMULATIVE"},
        "must be before the end time for the cumulative metric",
    ),
    ("a metric of Google's (MetricDescriptor.type)", {"type": "compute.googleapis.com/a/b"}, "metric.type"),
    ("a label key with a dash (LabelDescriptor.key)", {"labels": {"a-b": "c"}}, "metric.labels[0]"),
    (
        "a resource that custom metrics may not use (creating-metrics)",
        {"resource": {"type": "gcs_bucket"}},
        "Unsupported monitored resource type",
    ),
    (
        "a label that the resource has not (MonitoredResource.labels)",
        {"resource": {"type": "global", "labels": {"zone": "a"}}},
        "Unrecognized resource label",
    ),
]  # fmt: skip


class TestRefusals:
    @pytest.mark.parametrize(("what", "change", "told"), UNWRITABLE, ids=[what for what, *_ in UNWRITABLE])
    def test_a_point_that_cannot_be_written_is_told_with_its_place(
        self, api: Monitoring, metric: str, what: str, change: dict[str, Any], told: str
    ) -> None:
        series = gauge(metric, api.now + change.get("end", timedelta()), {"doubleValue": 1.0})
        series["metric"] |= {name: change[name] for name in ("type", "labels") if name in change}
        series |= {name: change[name] for name in ("metricKind", "resource") if name in change}
        if "start" in change:
            series["points"][0]["interval"]["startTime"] = rfc(api.now + change["start"])
        if "value" in change:
            series["points"][0]["value"] = change["value"]
        if "points" in change:
            series["points"] = series["points"] * 2 if change["points"] == "twice" else []
        answer = api.send(series)
        error = answer.json()["error"]
        assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT"), what
        assert error["message"].startswith("One or more TimeSeries could not be written: ")
        assert error["message"].endswith("timeSeries[0]")
        assert told in error["message"]

    def test_the_others_of_a_request_are_written_all_the_same(self, api: Monitoring, metric: str) -> None:
        """CreateTimeSeriesSummary counts them (googleapis/python-monitoring#57)."""
        now = api.now
        good, bad = gauge(metric, now, {"doubleValue": 1.0}), gauge(metric, now, {"doubleValue": 2.0}, a="b")
        twice = gauge(metric, now, {"doubleValue": 3.0})
        error = api.send(good, bad, twice).json()["error"]
        assert "Duplicate TimeSeries encountered." in error["message"]
        assert "Unrecognized metric label." in error["message"]
        (summary,) = error["details"]
        assert (summary["totalPointCount"], summary["successPointCount"]) == (3, 1)
        assert [doubles(found) for found in api.series(metric)] == [[1.0]]

    def test_points_come_in_order_and_not_too_often(self, api: Monitoring, metric: str) -> None:
        """The words of googleapis/python-monitoring#57 and googleapis/google-cloud-node#5348."""
        api.write(metric, 1)
        older = gauge(metric, api.now - timedelta(seconds=30), {"doubleValue": 2.0})
        assert "Points must be written in order." in api.send(older).text
        soon = gauge(metric, api.now + timedelta(seconds=1), {"doubleValue": 2.0})
        assert "written more frequently" in api.send(soon).text

    def test_a_value_of_another_type_is_refused(self, api: Monitoring, metric: str) -> None:
        api.write(metric, 1)
        answer = api.send(gauge(metric, api.now + timedelta(minutes=1), {"int64Value": "1"}))
        assert f"Value type for metric {metric} must be DOUBLE, but is INT64." in answer.text

    @pytest.mark.parametrize("number", [0, 201])
    def test_a_request_has_one_to_two_hundred_series(self, api: Monitoring, metric: str, number: int) -> None:
        """CreateTimeSeriesRequest.time_series: at most 200."""
        now = api.now
        many = [gauge(metric, now, {"doubleValue": 1.0}, n=str(n)) for n in range(number)]
        answer = api.send(*many)
        assert answer.status_code == 400
        assert "per request" in answer.json()["error"]["message"]

    @pytest.mark.parametrize(
        ("query", "told"),
        [
            ({"filter": 'resource.type = "global"'}, "must specify a single metric type"),
            ({"filter": "metric.type ="}, "Invalid filter"),
            ({"interval__endTime": ""}, "interval.endTime"),
            ({"interval__startTime": "2999-01-01T00:00:00Z"}, "later than the end time"),
            ({"orderBy": "timestamp"}, "must be left blank"),
            ({"view": "SOME"}, "view"),
            ({"aggregation__perSeriesAligner": "ALIGN_MEAN"}, "at least 60 seconds"),
            (
                {"aggregation__perSeriesAligner": "ALIGN_MEAN", "aggregation__alignmentPeriod": "30s"},
                "at least 60 seconds",
            ),
            ({"aggregation__crossSeriesReducer": "REDUCE_SUM"}, "ALIGN_NONE"),
            (
                {"aggregation__perSeriesAligner": "ALIGN_DELTA", "aggregation__alignmentPeriod": "60s"},
                "cannot be applied to metrics with kind GAUGE",
            ),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_a_malformed_question_is_answered_with_googles_400(
        self, api: Monitoring, metric: str, query: dict[str, Any], told: str
    ) -> None:
        """ListTimeSeriesRequest and Aggregation in monitoring.v3's discovery document."""
        api.write(metric, 1)
        answer = api.ask(metric, **query)
        assert answer.status_code == 400, answer.text
        assert told in answer.json()["error"]["message"]

    def test_a_metric_that_nobody_wrote_is_not_found(self, api: Monitoring, metric: str) -> None:
        answer = api.ask(metric)
        assert answer.status_code == 404
        assert f'Cannot find metric(s) that match type = "{metric}"' in answer.json()["error"]["message"]

    def test_metrics_of_googles_own_are_refused_by_name(self, api: Monitoring) -> None:
        answer = api.ask("aiplatform.googleapis.com/prediction/online/cpu/utilization")
        assert answer.status_code == 501
        assert "aiplatform.googleapis.com/prediction" in answer.json()["error"]["message"]

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ({"type": "compute.googleapis.com/a"}, "metricDescriptor.type"),
            ({"metricKind": "METRIC_KIND_UNSPECIFIED"}, "metricDescriptor.metricKind"),
            ({"valueType": "MONEY"}, "metricDescriptor.valueType"),
            ({"metricKind": "CUMULATIVE", "valueType": "BOOL"}, "does not go with"),
            ({"labels": [{"key": "9"}]}, "labels[0].key"),
            ({"kind": "GAUGE"}, 'Unknown name "kind"'),
        ],
        ids=str,
    )
    def test_a_malformed_descriptor_is_answered_with_googles_400(
        self, api: Monitoring, metric: str, body: dict[str, Any], told: str
    ) -> None:
        """MetricDescriptor in monitoring.v3's discovery document."""
        good = {"type": metric, "metricKind": "GAUGE", "valueType": "DOUBLE"}
        answer = requests.post(f"{api.url}/metricDescriptors", json={**good, **body}, timeout=10)
        assert answer.status_code == 400
        assert told in answer.json()["error"]["message"]
