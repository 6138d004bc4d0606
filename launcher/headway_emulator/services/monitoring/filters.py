"""Cloud Monitoring's filters over metrics and resources: https://cloud.google.com/monitoring/api/v3/filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway_emulator import filters
from headway_emulator.errors import ApiError, invalid
from headway_emulator.filters import Comparison, Condition

ROOTS = ("metric", "resource", "project")
TESTS: Mapping[str, Callable[[str, Sequence[str]], bool]] = {
    "starts_with": lambda have, want: have.startswith(want[0]),
    "ends_with": lambda have, want: have.endswith(want[0]),
    "has_substring": lambda have, want: want[0] in have,
    "one_of": lambda have, want: have in want,
}


@dataclass(frozen=True)
class Test:
    """Such as metric.type = starts_with("custom.googleapis.com/")."""

    field: str
    name: str
    words: Sequence[str]

    def holds(self, document: Mapping[str, Any]) -> bool:
        have = filters.lookup(document, self.field)
        return have is not None and TESTS[self.name](str(have), self.words)


def parse(text: str) -> list[Condition]:
    """All of these must hold; ApiError where the text is no filter or asks for more than is emulated."""
    return _Reader(text).conditions()


def metric_type(conditions: Sequence[Condition], text: str) -> str:
    """The one metric type that a list of time series must name."""
    named = [
        condition.value
        for condition in conditions
        if isinstance(condition, Comparison)
        and condition.field == "metric.type"
        and condition.operator == "="
    ]
    if len(named) != 1:
        raise invalid(
            f'Field filter had an invalid value of "{text}": The filter must specify a single metric type.'
        )
    return named[0]


class _Reader(filters.Reader):
    def comparison(self, name: str, operator: str) -> Condition:
        if name.split(".")[0] not in ROOTS:
            known = ", ".join(ROOTS)
            raise ApiError("UNIMPLEMENTED", f"The emulator filters time series by {known}, not by {name}.")
        field = name.replace("metric.label.", "metric.labels.").replace("resource.label.", "resource.labels.")
        if [kind for kind, _ in self.tokens[:2]] == ["word", "open"]:
            return self._test(field, operator)
        return super().comparison(field, operator)

    def _test(self, field: str, operator: str) -> Condition:
        name = self.tokens[0][1]
        if name not in TESTS:
            raise ApiError("UNIMPLEMENTED", f"The emulator does not implement {name}() in filters.")
        del self.tokens[:2]
        words = [self.value()]
        while self.take("word", ","):
            words.append(self.value())
        self.require("close", ")")
        test = Test(field, name, words)
        if operator not in ("=", "!="):
            raise self.wrong()
        return test if operator == "=" else filters.Not(test)
