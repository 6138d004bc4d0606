"""Time series in the store, kept bounded: the newest points of each, and the series that were made last."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator

from headway_emulator.engine.clock import parse_timestamp
from headway_emulator.engine.store import Document, Store

KIND = "timeSeries"
POINTS_KEPT = 1000
"""Of one series; at a point a minute, sixteen hours."""
SERIES_KEPT = 5000


class TimeSeriesTable:
    """Safe for many threads."""

    def __init__(self, store: Store, *, points: int = POINTS_KEPT, series: int = SERIES_KEPT) -> None:
        self._store = store
        self._points = points
        self._series = series
        self._lock = threading.Lock()
        self._names: dict[str, None] | None = None

    def add(self, name: str, head: Document, point: Document) -> None:
        """A point of the series that `head` describes; points are kept newest first."""
        with self._lock, self._store.transaction():
            kept = self._store.get(KIND, name) or {**head, "points": []}
            kept["points"] = [point, *kept["points"]][: self._points]
            self._store.put(KIND, name, kept)
            names = self._known()
            names[name] = None
            while len(names) > self._series:
                oldest = next(iter(names))
                del names[oldest]
                self._store.delete(KIND, oldest)

    def get(self, name: str) -> Document | None:
        return self._store.get(KIND, name)

    def of_metric(self, metric_type: str) -> Iterator[Document]:
        """Every series of a metric, in the order of their names, so that pages are stable."""
        prefix = f"{metric_type}/"
        with self._lock:
            names = sorted(name for name in self._known() if name.startswith(prefix))
        for name in names:
            # the digest has no slash: a longer metric type is another metric's
            if "/" not in name.removeprefix(prefix) and (found := self._store.get(KIND, name)) is not None:
                yield found

    def delete_metric(self, metric_type: str) -> None:
        prefix = f"{metric_type}/"
        with self._lock, self._store.transaction():
            names = self._known()
            for name in [n for n in names if n.startswith(prefix) and "/" not in n.removeprefix(prefix)]:
                del names[name]
                self._store.delete(KIND, name)

    def _known(self) -> dict[str, None]:
        """Names in the order in which the series were made."""
        if self._names is None:
            found = [_name(document) for _, document in self._store.scan(KIND)]
            self._names = dict.fromkeys(reversed(found))
        return self._names


def series_name(metric: Document, resource: Document) -> str:
    """What makes a series the same: the metric with its labels on a resource with its labels."""
    identity = json.dumps([metric.get("labels", {}), resource], sort_keys=True)
    return f"{metric['type']}/{hashlib.sha256(identity.encode()).hexdigest()[:32]}"


def end_of(point: Document) -> int:
    """In nanoseconds."""
    return parse_timestamp(point["interval"]["endTime"])


def _name(document: Document) -> str:
    return series_name(document["metric"], document["resource"])
