"""The contract suite's tables of malformed requests: how many there are, and where each is written."""

from __future__ import annotations

import pytest

from tests.contract import (
    test_artifacts,
    test_builds_malformed,
    test_functions,
    test_logging,
    test_malformed_vertex,
    test_models,
    test_monitoring,
    test_projects,
    test_scheduler,
    test_secrets,
    test_tuning,
)
from tests.contract.test_malformed_vertex import Asked, Job

LEAST = 60
REFUSALS = (400, 403, 404)
"""What is answered 501 is no malformed request."""
VERTEX: list[Job | Asked] = [*test_malformed_vertex.JOBS, *test_malformed_vertex.REQUESTS]


def in_brackets(what: str) -> str:
    """The source, in tables whose first column ends with it: `a name with a dot (documentation)`."""
    _, bracket, source = what.rpartition(" (")
    return source.removesuffix(")") if bracket and what.endswith(")") else ""


SOURCES: dict[str, list[str]] = {
    "aiplatform": [case.source for case in VERTEX],
    "aiplatform, models": [source for source, rows in test_models.BAD.items() for _ in rows],
    "aiplatform, tuning": [source for source, rows in test_tuning.BAD.items() for _ in rows],
    "artifactregistry": [row[5] for row in test_artifacts.MALFORMED if row[3] in REFUSALS],
    "cloudbuild": [bad.source for bad in test_builds_malformed.ALL.values()],
    "cloudfunctions": [in_brackets(row[0]) for row in test_functions.REFUSED],
    "cloudscheduler": [in_brackets(row[0]) for row in test_scheduler.REFUSED],
    "logging": [row[3] for row in test_logging.MALFORMED],
    "monitoring": [in_brackets(row[0]) for row in test_monitoring.UNWRITABLE],
    "projects": [in_brackets(row[0]) for row in test_projects.REFUSED if row[4] in REFUSALS],
    "secretmanager": [in_brackets(row[0]) for row in test_secrets.REFUSED],
}


@pytest.mark.parametrize("service", SOURCES)
def test_every_malformed_request_says_where_its_answer_is_written(service: str) -> None:
    assert SOURCES[service]
    assert all(source.strip() for source in SOURCES[service])


def test_there_are_enough_of_them() -> None:
    assert sum(len(sources) for sources in SOURCES.values()) >= LEAST
