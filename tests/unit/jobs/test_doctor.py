"""The doctor's rows one by one, over a fake session; the contract tests have them over an emulator."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headway.cloud.services import Services
from headway.cloud.session import Session
from headway.config import load
from headway.errors import NotFound, Refused, RemoteError
from headway.jobs.doctor import CHECKS, Row, Subject, examine, examined
from headway.jobs.doctor.job import METRICS
from headway.jobs.doctor.report import failure, ok, unchecked, warning, worst
from headway.spec.machines import catalogue
from headway.spec.place import LOCAL, Place
from tests.unit.jobs.fakes import PLACE, MemoryStore

ACCOUNT = "trainer@acme.iam.gserviceaccount.com"
Answer = Mapping[str, Any] | Exception


class FakeSession(Session):
    """Answers by the end of a URL; anything else is not there."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        super().__init__("acme", "us-central1", anonymous=True)
        self._answers = answers

    def call(self, method: str, url: str, what: str, **arguments: Any) -> dict[str, Any]:
        answer = next((a for end, a in self._answers.items() if url.endswith(end)), NotFound(what))
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


@dataclass(frozen=True)
class FakeEngine:
    version: str = "20.10"
    architecture: str = "amd64"
    images: Mapping[str, str] = field(default_factory=dict)

    def architecture_of(self, image: str) -> str | None:
        return self.images.get(image)


Look = Callable[..., Row]


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., Sequence[Row]]:
    """The rows of one check of a healthy project, with what a test says otherwise: one, or none."""
    (tmp_path / "train.py").write_text("")
    (tmp_path / "requirements.txt").write_text("torch\n")
    (tmp_path / "config.yaml").write_text("name: digits\nentrypoint: train.py\n")

    def found(
        check: str,
        *words: str,
        answers: Mapping[str, Answer] | None = None,
        place: Place = PLACE,
        engine: FakeEngine | str = "no Docker engine answers",
        executor: str | None = None,
        online: bool = True,
        store: MemoryStore | None = None,
    ) -> Sequence[Row]:
        services = Services(place)
        services.__dict__["store"] = store or MemoryStore()
        services.__dict__["session"] = FakeSession(answers or {})
        subject = Subject(
            config=load(tmp_path / "config.yaml", words),
            place=place,
            services=services if online else None,
            executor=executor,
            find_engine=lambda: engine,
        )
        return examined(subject, [each for each in CHECKS if each.name == check]).rows

    return found


@pytest.fixture
def look(rows: Callable[..., Sequence[Row]]) -> Look:
    """The one row of a check."""

    def row(*words: str, **given: Any) -> Row:
        (found,) = rows(*words, **given)
        return found

    return row


def of(**values: Any) -> Place:
    return PLACE.model_copy(update=values)


# the Google project


@pytest.mark.parametrize(("granted", "state"), [([], "failure"), (["iam.serviceAccounts.actAs"], "ok")])
def test_acting_as_the_account_is_what_google_says_is_granted(
    look: Look, granted: list[str], state: str
) -> None:
    answers = {"trainer@acme.iam.gserviceaccount.com:testIamPermissions": {"permissions": granted}}
    row = look("service account", answers=answers, place=of(service_account=ACCOUNT))
    assert row.state == state
    assert state == "ok" or "roles/iam.serviceAccountUser" in (row.fix or "")


def test_the_building_account_is_looked_at_too(look: Look) -> None:
    row = look("service account", place=of(build_service_account="b@other.iam.gserviceaccount.com"))
    assert (row.state, "service-accounts create b" in (row.fix or "")) == ("failure", True)


SCHEDULED = 'schedule={cron: "0 3 * * 1"}'
TICKS = "ticks@acme.iam.gserviceaccount.com"
ACTING = f"{TICKS}:testIamPermissions"
MAY_ACT: dict[str, Answer] = {ACTING: {"permissions": ["iam.serviceAccounts.actAs"]}}


def policy(role: str, member: str = f"serviceAccount:{TICKS}") -> dict[str, Answer]:
    bindings = [{"role": "roles/viewer", "members": ["user:me"]}, {"role": role, "members": [member]}]
    return {**MAY_ACT, "/v3/projects/acme:getIamPolicy": {"bindings": bindings}}


@pytest.mark.parametrize(
    ("answers", "state", "fix"),
    [
        (policy("roles/run.invoker"), "ok", None),
        (policy("roles/owner"), "ok", None),
        (policy("projects/acme/roles/ticks"), "ok", None),
        (policy("roles/aiplatform.user"), "warning", "--role=roles/run.invoker"),
        (policy("roles/run.invoker", "user:me"), "warning", f"--member=serviceAccount:{TICKS}"),
        ({**MAY_ACT, "/v3/projects/acme:getIamPolicy": Refused("403")}, "not checked", "get-iam-policy acme"),
        (
            {**policy("roles/run.invoker"), ACTING: NotFound("no")},
            "failure",
            "create ticks",
        ),
        ({**policy("roles/run.invoker"), ACTING: {}}, "failure", "serviceAccountUser"),
    ],
)
def test_the_account_of_schedules_must_be_there_and_may_call_their_function(
    look: Look, answers: Mapping[str, Answer], state: str, fix: str | None
) -> None:
    row = look("schedules", SCHEDULED, answers=answers, place=of(scheduler_service_account=TICKS))
    assert row.state == state
    assert fix in row.fix if fix and row.fix else fix is None


def test_a_config_with_a_schedule_needs_the_account_in_the_profile(look: Look) -> None:
    row = look("schedules", SCHEDULED, place=of(scheduler_service_account=None), online=False)
    assert (row.state, "Terraform in infra/" in (row.fix or "")) == ("failure", True)


@pytest.mark.parametrize("scheduled", [True, False])
def test_schedules_are_a_row_only_where_there_is_one(
    rows: Callable[..., Sequence[Row]], scheduled: bool
) -> None:
    """Of any job in the place; only a server tells."""
    store = MemoryStore()
    if scheduled:
        store.write("headway/schedules/rain/schedule.json", b"{}")
    place = of(scheduler_service_account=TICKS)
    assert len(rows("schedules", place=place, store=store, answers=policy("roles/run.invoker"))) == scheduled
    assert rows("schedules", place=place, store=store, online=False) == ()
    assert rows("schedules", SCHEDULED, place=of(profile=LOCAL), store=store) == ()


def test_a_project_that_is_being_deleted_is_a_failure(look: Look) -> None:
    reply = {"projectId": "acme", "name": "projects/1", "state": "DELETE_REQUESTED"}
    row = look("project", answers={"/v3/projects/acme": reply})
    assert (row.state, row.fix) == ("failure", "gcloud projects undelete acme")


def test_a_project_that_cannot_be_read_for_want_of_an_api_is_not_called_missing(look: Look) -> None:
    off = Refused("cannot read: 403 Cloud Resource Manager API has not been used in project 1 before")
    row = look("project", answers={"/v3/projects/acme": off})
    assert row.state == "not checked"
    assert row.fix == "gcloud services enable cloudresourcemanager.googleapis.com --project acme"


def test_permissions_that_lack_in_the_bucket_are_named(look: Look) -> None:
    answers = {
        "/b/acme": {"location": "US-CENTRAL1", "locationType": "region"},
        "/testPermissions": {"permissions": ["storage.objects.get", "storage.objects.list"]},
    }
    row = look("bucket", answers=answers)
    assert (row.state, row.found) == ("failure", "you lack storage.objects.create in acme")
    assert "roles/storage.objectUser" in (row.fix or "")


def test_a_bucket_in_one_of_several_regions_is_a_warning(look: Look) -> None:
    answers = {
        "/b/acme": {"location": "US-CENTRAL1", "locationType": "region"},
        "/testPermissions": {
            "permissions": ["storage.objects.create", "storage.objects.get", "storage.objects.list"]
        },
    }
    row = look("bucket", "resources.regions=[us-central1,us-east1]", answers=answers)
    assert (row.state, "us-east1" in row.found) == ("warning", True)


def test_a_repository_of_another_format_is_a_failure(look: Look) -> None:
    assert look("registry", answers={"/repositories/headway": {"format": "PYTHON"}}).state == "failure"


def test_a_server_that_is_down_is_a_failure_that_says_what_to_look_at(look: Look) -> None:
    row = look("project", answers={"/v3/projects/acme": RemoteError("iam does not answer")})
    assert (row.state, "proxy" in (row.fix or "")) == ("failure", True)


def test_a_secret_that_only_the_job_may_read_is_a_warning_with_the_jobs_account(look: Look) -> None:
    answers = {"/secrets/key/versions/latest:access": Refused("cannot read: 403 denied")}
    words = "environment.secrets={A: key}"
    row = look("secrets", words, answers=answers, place=of(service_account=ACCOUNT))
    assert (row.state, f"serviceAccount:{ACCOUNT}" in (row.fix or "")) == ("warning", True)


# quota


@pytest.mark.parametrize(
    ("words", "metric"),
    [
        (["resources.gpu=a100:4"], "4 of custom_model_training_nvidia_a100_gpus"),
        (["resources.gpu=a100:4", "resources.nodes=2"], "8 of custom_model_training_nvidia_a100_gpus"),
        (
            ["resources.gpu=h100:8", "resources.spot=true"],
            "8 of custom_model_training_preemptible_nvidia_h100",
        ),
        (
            ["resources.gpu=h100:8", "resources.flex_start={max_wait: 6h}"],
            "8 of custom_model_training_preemptible_nvidia_h100",
        ),
    ],
)
def test_the_metric_is_that_of_the_gpu_and_the_strategy(look: Look, words: list[str], metric: str) -> None:
    row = look("quota", *words, online=False)
    assert (row.state, metric in row.found) == ("not checked", True), row.found
    assert "https://console.cloud.google.com/iam-admin/quotas?project=acme" in (row.fix or "")


def limits(*buckets: Mapping[str, Any]) -> Mapping[str, Answer]:
    limit = {"unit": "1/{project}/{region}", "quotaBuckets": list(buckets)}
    name = "aiplatform.googleapis.com%2Fcustom_model_training_nvidia_l4_gpus"
    return {f"consumerQuotaMetrics/{name}": {"consumerQuotaLimits": [limit]}}


@pytest.mark.parametrize(
    ("buckets", "state"),
    [
        ([{"effectiveLimit": "0"}, {"effectiveLimit": "8", "dimensions": {"region": "us-central1"}}], "ok"),
        ([{"effectiveLimit": "8"}, {"effectiveLimit": "0", "dimensions": {"region": "us-east1"}}], "ok"),
        (
            [{"effectiveLimit": "8"}, {"effectiveLimit": "0", "dimensions": {"region": "us-central1"}}],
            "failure",
        ),
        ([{"effectiveLimit": "-1"}], "ok"),
        ([{}], "failure"),
        ([], "not checked"),
    ],
)
def test_the_regions_own_limit_counts_before_the_one_for_all(
    look: Look, buckets: list[Mapping[str, Any]], state: str
) -> None:
    assert look("quota", "resources.gpu=l4", answers=limits(*buckets)).state == state


def test_every_gpu_of_the_catalogue_has_its_metric() -> None:
    accelerators = {gpu.accelerator for gpu in catalogue().gpus.values() if not gpu.is_tpu}
    assert accelerators <= METRICS.keys()


def test_of_a_tpu_it_says_that_its_metric_is_not_known(look: Look) -> None:
    row = look("quota", "resources.gpu=tpu-v5e:4", place=of(region="us-west1"))
    assert row.state == "not checked", row


# this machine


@pytest.mark.parametrize(
    ("place", "executor", "state"),
    [
        (PLACE, None, "warning"),
        (of(profile=LOCAL), "docker", "failure"),
        (of(profile=LOCAL), "process", "warning"),
    ],
)
def test_a_missing_engine_matters_as_far_as_jobs_need_it(
    look: Look, place: Place, executor: str | None, state: str
) -> None:
    assert look("engine", place=place, executor=executor).state == state


def test_locally_an_image_is_for_the_engines_own_processors(look: Look) -> None:
    engine = FakeEngine(architecture="arm64", images={"python:3.11-slim": "arm64"})
    local = look("architecture", place=of(profile=LOCAL), executor="docker", engine=engine)
    assert (local.state, look("architecture", engine=engine).state) == ("ok", "failure")


def test_on_google_s_machines_an_image_is_for_the_gpu_s_own_processors(look: Look) -> None:
    for image, gpu, state in (
        ("arm64", "gb200", "ok"),
        ("amd64", "gb200", "failure"),
        ("amd64", "a100", "ok"),
    ):
        engine = FakeEngine(images={"python:3.11-slim": image})
        words = (f"resources.gpu={gpu}", "resources.reservation=any")
        assert look("architecture", *words, engine=engine).state == state


def test_jobs_that_are_processes_need_no_image(look: Look) -> None:
    rows = [
        look(name, place=of(profile=LOCAL), executor="process") for name in ("base image", "architecture")
    ]
    assert {row.state for row in rows} == {"ok"}


@pytest.mark.parametrize(
    ("base", "asked", "answer"),
    [
        ("training:1", "/packages/training/tags/1", {"version": "v/sha256:0a"}),
        ("training", "/packages/training/tags/latest", {"version": "v/sha256:0a"}),
        ("a/b@sha256:0a", "/packages/a%2Fb/versions/sha256:0a", {"name": "v/sha256:0a"}),
        ("training:1@sha256:0a", "/packages/training/versions/sha256:0a", {"name": "v/sha256:0a"}),
    ],
)
def test_a_base_image_is_looked_up_by_its_digest_its_tag_or_as_the_latest(
    look: Look, base: str, asked: str, answer: Mapping[str, str]
) -> None:
    name = f"us-docker.pkg.dev/acme/headway/{base}"
    assert look("base image", f"environment.base={name}", answers={asked: answer}).state == "ok"
    assert look("base image", f"environment.base={name}").state == "failure"


def test_a_check_that_breaks_is_a_row_too(look: Look) -> None:
    class Dying(FakeEngine):
        def architecture_of(self, image: str) -> str | None:
            raise ConnectionError("the engine went away")

    row = look("architecture", engine=Dying())
    assert (row.state, row.found) == ("failure", "the check broke: ConnectionError: the engine went away")
    assert row.fix == "sudo systemctl restart docker"


def test_machines_and_quota_are_looked_up_in_ones_own_facts_too(look: Look, tmp_path: Path) -> None:
    """As the plan and the submit do, which read the same overlay."""
    (tmp_path / "headway.toml").write_text('[profiles.test]\nproject = "acme"\n')
    (tmp_path / "machines.toml").write_text(
        '[gpu.a100]\nregions = ["mars-central1"]\n'
        "[gpu.b300]\n"
        'accelerator = "NVIDIA_B300"\n'
        'regions = ["us-central1"]\n'
        'shapes = [{machine = "a5-highgpu-8g", counts = [8]}]\n'
    )
    assert "a5-highgpu-8g" in look("machine", "resources.gpu=b300").found
    assert look("quota", "resources.gpu=b300").state == "not checked"
    assert look("machine", "resources.gpu=a100").state == "failure"


def test_without_credentials_the_login_is_told(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setattr("google.auth.compute_engine._metadata.detect_gce_residency_linux", lambda: False)
    row = look("credentials", online=False)
    assert (row.state, row.fix) == ("failure", "gcloud auth application-default login")


def test_credentials_that_are_no_file_are_told_offline(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    row = look("credentials", online=False)
    assert (row.state, "GOOGLE_APPLICATION_CREDENTIALS" in (row.fix or "")) == ("failure", True)


def test_credentials_are_found_offline(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
    (tmp_path / "adc.json").write_text(json.dumps(user))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    assert look("credentials", online=False).state == "ok"


# the whole


def test_a_tracking_server_on_the_laptop_is_no_server_for_google(look: Look) -> None:
    row = look("tracking", place=of(tracking_uri="http://localhost:5000"), online=False)
    assert (row.state, "do not reach it" in row.found) == ("failure", True)


def test_without_a_headway_toml_the_place_is_a_failure_and_its_rows_are_not_checked(tmp_path: Path) -> None:
    report = examine(tmp_path / "config.yaml", state=tmp_path)
    states = {row.check: row.state for row in report.rows}
    assert (states["place"], states["config"], states["bucket"]) == ("failure", "failure", "not checked")
    assert report.failed


def test_a_local_stack_that_is_not_up_is_told_and_not_started(tmp_path: Path) -> None:
    report = examine(local=True, state=tmp_path)
    (row,) = [row for row in report.rows if row.check == "place"]
    assert (row.state, row.fix) == ("failure", "launch local up")
    assert not report.online
    assert list(tmp_path.iterdir()) == []


def test_the_document_has_every_check_in_order(tmp_path: Path) -> None:
    document = json.loads(json.dumps(examine(local=True, state=tmp_path).document()))
    assert [check["check"] for check in document["checks"]] == [
        check.name for check in CHECKS if check.name != "schedules"
    ], "nothing is scheduled here"
    assert set(document["checks"][0]) == {"check", "state", "found", "fix"}


def test_several_answers_become_the_worst_with_all_that_are_so() -> None:
    both = worst([ok("a"), failure("b", "x"), warning("c", "y"), failure("d", "z")])
    assert (both.state, both.found, both.fix) == ("failure", "b; d", "x; z")
    assert worst([ok("a"), unchecked("b")]).state == "not checked"
