"""gcloud's commands for schedules, secrets, projects and services, wired by environment variables alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.command_line import NEEDS_GCLOUD, Gcloud
from tests.contract.servers import LOCATION, NUMBER, PROJECT, until
from tests.contract.targets import Target, listening

pytestmark = NEEDS_GCLOUD

PLACE = f"--location={LOCATION}"


@pytest.fixture
def target() -> Iterator[Target]:
    with listening() as made:
        yield made


def test_a_schedule_is_created_changed_paused_resumed_run_and_deleted(gcloud: Gcloud, target: Target) -> None:
    jobs = ("scheduler", "jobs")
    fields = (f"--uri={target.url}", "--schedule=0 3 * * *", "--time-zone=Europe/Berlin")
    more = ("--message-body=hello", "--max-retry-attempts=2", "--attempt-deadline=20s")
    gcloud(*jobs, "create", "http", "nightly", PLACE, *fields, *more, "--headers=X-Mine=yes")
    described = gcloud.json(*jobs, "describe", "nightly", PLACE)
    assert described["name"] == f"projects/{PROJECT}/locations/{LOCATION}/jobs/nightly"
    assert described["retryConfig"]["retryCount"] == 2
    assert (described["attemptDeadline"], described["timeZone"]) == ("20s", "Europe/Berlin")
    assert described["name"] in [job["name"] for job in gcloud.json(*jobs, "list", PLACE)]
    gcloud(*jobs, "update", "http", "nightly", PLACE, "--schedule=30 4 * * 1", "--update-headers=X-More=1")
    changed = gcloud.json(*jobs, "describe", "nightly", PLACE)
    assert changed["schedule"] == "30 4 * * 1"
    assert changed["httpTarget"]["headers"]["X-Mine"] == "yes"
    assert changed["httpTarget"]["headers"]["X-More"] == "1"
    gcloud(*jobs, "pause", "nightly", PLACE)
    assert gcloud.json(*jobs, "describe", "nightly", PLACE)["state"] == "PAUSED"
    gcloud(*jobs, "resume", "nightly", PLACE)
    gcloud(*jobs, "run", "nightly", PLACE)
    until(lambda: target.received)
    assert target.received[0].body == b"hello"
    after = until(lambda: _attempted(gcloud.json(*jobs, "describe", "nightly", PLACE)))
    assert after["state"] == "ENABLED"
    gcloud(*jobs, "delete", "nightly", PLACE, "--quiet")
    assert described["name"] not in [job["name"] for job in gcloud.json(*jobs, "list", PLACE)]


def _attempted(job: dict[str, Any]) -> dict[str, Any]:
    return job if job.get("status") == {} else {}


def test_a_schedule_that_is_none_is_told_in_googles_words(gcloud: Gcloud) -> None:
    words = ("scheduler", "jobs", "create", "http", "wrong", PLACE, "--uri=http://127.0.0.1:9/x")
    done = gcloud.run(*words, "--schedule=99 * * * *")
    assert done.returncode == 1
    assert "Schedule or time zone is invalid." in done.stderr


def test_a_secret_is_created_read_disabled_destroyed_and_deleted(gcloud: Gcloud, tmp_path: Path) -> None:
    value = tmp_path / "value"
    value.write_text("first")
    gcloud("secrets", "create", "api-key", f"--data-file={value}", "--labels=team=vision", "--ttl=7200s")
    gcloud("secrets", "versions", "add", "api-key", "--data-file=-", given="second")
    assert gcloud("secrets", "versions", "access", "latest", "--secret=api-key") == "second"
    assert gcloud("secrets", "versions", "access", "1", "--secret=api-key") == "first"
    gcloud("secrets", "update", "api-key", "--update-labels=tier=gold", "--update-version-aliases=old=1")
    described = gcloud.json("secrets", "describe", "api-key")
    assert described["labels"] == {"team": "vision", "tier": "gold"}
    assert gcloud("secrets", "versions", "access", "old", "--secret=api-key") == "first"
    assert [s["name"] for s in gcloud.json("secrets", "list", "--filter=labels.tier=gold")] == [
        f"projects/{NUMBER}/secrets/api-key"
    ]
    gcloud("secrets", "versions", "disable", "2", "--secret=api-key")
    refused = gcloud.run("secrets", "versions", "access", "latest", "--secret=api-key")
    assert refused.returncode == 1
    assert "is in DISABLED state." in refused.stderr
    gcloud("secrets", "versions", "enable", "2", "--secret=api-key")
    gcloud("secrets", "versions", "destroy", "1", "--secret=api-key", "--quiet")
    states = [v["state"] for v in gcloud.json("secrets", "versions", "list", "api-key")]
    assert states == ["ENABLED", "DESTROYED"]
    gcloud("secrets", "delete", "api-key", "--quiet")
    assert not [s for s in gcloud.json("secrets", "list") if s["name"].endswith("/api-key")]


def test_access_to_a_secret_is_granted(gcloud: Gcloud) -> None:
    gcloud("secrets", "create", "shared", "--replication-policy=automatic")
    member, role = "serviceAccount:a@b.iam.gserviceaccount.com", "roles/secretmanager.secretAccessor"
    gcloud("secrets", "add-iam-policy-binding", "shared", f"--member={member}", f"--role={role}")
    policy = gcloud.json("secrets", "get-iam-policy", "shared")
    assert policy["bindings"] == [{"role": role, "members": [member]}]
    gcloud("secrets", "delete", "shared", "--quiet")


def test_the_project_is_described_by_id_and_by_number(gcloud: Gcloud) -> None:
    described = gcloud.json("projects", "describe", PROJECT)
    assert (described["projectId"], described["projectNumber"]) == (PROJECT, NUMBER)
    assert gcloud.json("projects", "describe", NUMBER) == described
    assert [project["projectId"] for project in gcloud.json("projects", "list")] == [PROJECT]


def test_a_role_in_the_project_is_granted(gcloud: Gcloud) -> None:
    member, role = f"user:someone@{PROJECT}.example", "roles/aiplatform.user"
    gcloud("projects", "add-iam-policy-binding", PROJECT, f"--member={member}", f"--role={role}")
    policy = gcloud.json("projects", "get-iam-policy", PROJECT)
    assert {"role": role, "members": [member]} in policy["bindings"]


def test_services_are_listed_and_enabled(gcloud: Gcloud) -> None:
    gcloud("services", "enable", "redis.googleapis.com")
    names = [service["config"]["name"] for service in gcloud.json("services", "list", "--enabled")]
    assert {"aiplatform.googleapis.com", "redis.googleapis.com"} <= set(names)


def test_a_service_account_is_made_and_described(gcloud: Gcloud) -> None:
    gcloud("iam", "service-accounts", "create", "nightly", "--display-name=Nightly runs")
    email = f"nightly@{PROJECT}.iam.gserviceaccount.com"
    assert gcloud.json("iam", "service-accounts", "describe", email)["displayName"] == "Nightly runs"
    assert email in [account["email"] for account in gcloud.json("iam", "service-accounts", "list")]
    gcloud("iam", "service-accounts", "delete", email, "--quiet")
