"""Every client of Google's in every form, on both executors: the same talk with each gets the same answers.

What each service does in detail is proven by its own module, over one transport.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions

from tests.contract.conftest import custom_job, on_both_executors, storage_client
from tests.contract.forms import Form, Service, opened
from tests.contract.servers import BUCKET, IMAGE, NUMBER, PARENT, PROJECT, Emulator, until
from tests.contract.targets import listening
from tests.contract.test_tuning import BARE_REPORT, measured, tuning_job

ALL = ("grpc", "grpc_asyncio", "rest", "rest_asyncio")
USUAL = ("grpc", "grpc_asyncio", "rest")
GRPC = ("grpc", "grpc_asyncio")
JOBS = Service("google.cloud.aiplatform_v1", "JobServiceClient", "aiplatform")
MODELS = Service("google.cloud.aiplatform_v1", "ModelServiceClient", "aiplatform")
TENSORBOARDS = Service("google.cloud.aiplatform_v1", "TensorboardServiceClient", "aiplatform")
BUILDS = Service("google.cloud.devtools.cloudbuild_v1", "CloudBuildClient", "cloudbuild")
SCHEDULER = Service("google.cloud.scheduler_v1", "CloudSchedulerClient", "cloudscheduler")
SECRETS = Service("google.cloud.secretmanager_v1", "SecretManagerServiceClient", "secretmanager")
ARTIFACTS = Service("google.cloud.artifactregistry_v1", "ArtifactRegistryClient", "artifactregistry")
PROJECTS = Service("google.cloud.resourcemanager_v3", "ProjectsClient", "cloudresourcemanager")
LOGGING = Service("google.cloud.logging_v2.services.logging_service_v2", "LoggingServiceV2Client")
MONITORING = Service("google.cloud.monitoring_v3", "MetricServiceClient")


emulator = on_both_executors()
"""Every test here is made twice: with processes and with containers."""


@pytest.fixture
def form(request: pytest.FixtureRequest, emulator: Emulator) -> Iterator[Form]:
    service, transport = request.param
    with opened(emulator, service, transport) as made:
        yield made


def forms(service: Service, *transports: str) -> pytest.MarkDecorator:
    """A test is made once for each of the transports that the service's client has."""
    given = [(service, transport) for transport in transports]
    return pytest.mark.parametrize("form", given, indirect=True, ids=transports)


def unique(name: str) -> str:
    return f"{name}-{secrets.token_hex(4)}"


@pytest.mark.parametrize(
    ("service", "transports"),
    [
        (JOBS, ALL),
        (MODELS, ALL),
        (TENSORBOARDS, ALL),
        (BUILDS, USUAL),
        (SCHEDULER, USUAL),
        (SECRETS, USUAL),
        (ARTIFACTS, USUAL),
        (PROJECTS, USUAL),
        (LOGGING, GRPC),
        (MONITORING, GRPC),
    ],
    ids=lambda given: getattr(given, "client", ""),
)
def test_a_client_has_no_form_that_is_not_tried_here(service: Service, transports: tuple[str, ...]) -> None:
    """What Google's package registers as transports is all that the tests below run over."""
    assert tuple(type(service.kind("grpc"))._transport_registry) == transports


@forms(JOBS, *ALL)
def test_a_custom_job_is_created_watched_listed_cancelled_and_deleted(form: Form) -> None:
    """google-cloud-aiplatform, GAPIC: states, enums, times, filters, operations and errors of custom jobs."""
    name, end = unique("form"), custom_job("print('ran')")
    made = form.call("create_custom_job", parent=PARENT, custom_job={**end, "display_name": name})
    long = form.call("create_custom_job", parent=PARENT, custom_job=custom_job("import time; time.sleep(90)"))
    assert made.name.startswith(f"projects/{NUMBER}/locations/")
    done = _until_state(form, "get_custom_job", made.name, "SUCCEEDED")
    assert done.create_time <= done.start_time <= done.end_time
    found = form.all("list_custom_jobs", parent=PARENT, filter=f'display_name="{name}"', page_size=1)
    assert found == [done]
    with pytest.raises(exceptions.BadRequest, match="cancel it before deleting"):
        form.call("delete_custom_job", name=long.name)
    form.call("cancel_custom_job", name=long.name)
    _until_state(form, "get_custom_job", long.name, "CANCELLED")
    for job in (made, long):
        form.call("delete_custom_job", name=job.name)
    with pytest.raises(exceptions.NotFound):
        form.call("get_custom_job", name=made.name)


@forms(JOBS, *ALL)
def test_a_tuning_job_is_created_measured_listed_and_deleted(form: Form) -> None:
    """google-cloud-aiplatform, GAPIC: a study goes in, and its trials with their measurements come out."""
    wanted = tuning_job(BARE_REPORT, "report('accuracy', 0.5)", trials=1)
    made = form.call("create_hyperparameter_tuning_job", parent=PARENT, hyperparameter_tuning_job={**wanted})
    done = _until_state(form, "get_hyperparameter_tuning_job", made.name, "SUCCEEDED")
    assert [measured(trial) for trial in done.trials] == [0.5]
    assert made.name in [job.name for job in form.all("list_hyperparameter_tuning_jobs", parent=PARENT)]
    form.call("delete_hyperparameter_tuning_job", name=made.name)
    with pytest.raises(exceptions.NotFound):
        form.call("cancel_hyperparameter_tuning_job", name=made.name)


@forms(MODELS, *ALL)
def test_a_model_is_uploaded_listed_and_deleted(form: Form) -> None:
    """google-cloud-aiplatform, GAPIC: an upload's operation ends with the model and its version."""
    name = unique("form")
    model = {"display_name": name, "container_spec": {"image_uri": "us-docker.pkg.dev/demo/serving/digits:1"}}
    uploaded = form.call("upload_model", parent=PARENT, model=model)
    assert uploaded.model_version_id == "1"
    (found,) = form.all("list_models", parent=PARENT, filter=f'display_name="{name}"')
    assert (found.name, list(found.version_aliases)) == (uploaded.model, ["default"])
    form.call("delete_model", name=uploaded.model)
    with pytest.raises(exceptions.NotFound):
        form.call("get_model", name=uploaded.model)


@forms(TENSORBOARDS, *ALL)
def test_a_tensorboard_is_created_listed_and_deleted(form: Form) -> None:
    """google-cloud-aiplatform, GAPIC: an instance comes from an operation, and goes by one."""
    name = unique("form")
    made = form.call("create_tensorboard", parent=PARENT, tensorboard={"display_name": name})
    assert [one.name for one in form.all("list_tensorboards", parent=PARENT)] == [made.name]
    form.call("delete_tensorboard", name=made.name)
    with pytest.raises(exceptions.NotFound):
        form.call("get_tensorboard", name=made.name)


@forms(BUILDS, *USUAL)
def test_a_build_runs_to_its_end_and_is_found(form: Form) -> None:
    """google-cloud-build: the operation ends with the build, a bad build is refused, a long one cancelled."""
    tag = unique("form")
    step = {"name": IMAGE, "script": "echo built"}
    done = form.call("create_build", project_id=PROJECT, build={"steps": [step], "tags": [tag]})
    assert (done.status.name, done.steps[0].status.name) == ("SUCCESS", "SUCCESS")
    assert form.all("list_builds", project_id=PROJECT, filter=f'tags="{tag}"') == [done]
    assert form.call("get_build", project_id=PROJECT, id=done.id) == done
    with pytest.raises(exceptions.BadRequest, match="already ended"):
        form.call("cancel_build", project_id=PROJECT, id=done.id)
    with pytest.raises(exceptions.BadRequest, match="no build steps"):
        form.call("create_build", project_id=PROJECT, build={})


@forms(SCHEDULER, *USUAL)
def test_a_schedule_is_created_paused_resumed_run_and_deleted(form: Form) -> None:
    """google-cloud-scheduler: a forced run reaches its target with the body that was given as bytes."""
    name = f"{PARENT}/jobs/{unique('form')}"
    with listening() as target:
        http = {"uri": target.url, "http_method": "PUT", "body": b"\x00hello"}
        wanted = {"name": name, "schedule": "0 3 * * *", "time_zone": "Europe/Berlin", "http_target": http}
        made = form.call("create_job", parent=PARENT, job=wanted)
        assert (made.state.name, made.http_target.body) == ("ENABLED", b"\x00hello")
        assert form.call("pause_job", name=name).state.name == "PAUSED"
        assert form.call("resume_job", name=name).state.name == "ENABLED"
        form.call("run_job", name=name)
        until(lambda: target.received)
        assert (target.received[0].method, target.received[0].body) == ("PUT", b"\x00hello")
    assert name in [job.name for job in form.all("list_jobs", parent=PARENT)]
    with pytest.raises(exceptions.Conflict, match="already exists"):
        form.call("create_job", parent=PARENT, job=wanted)
    form.call("delete_job", name=name)
    with pytest.raises(exceptions.NotFound):
        form.call("get_job", name=name)


@forms(SECRETS, *USUAL)
def test_a_secret_is_created_read_and_deleted(form: Form) -> None:
    """google-cloud-secret-manager: bytes come back as they went in; what is not there is not found."""
    secret = {"replication": {"automatic": {}}, "labels": {"form": "tried"}}
    made = form.call("create_secret", parent=f"projects/{PROJECT}", secret_id=unique("form"), secret=secret)
    version = form.call("add_secret_version", parent=made.name, payload={"data": b"\x00\xffhush"})
    latest = form.call("access_secret_version", name=f"{made.name}/versions/latest")
    assert (latest.name, latest.payload.data) == (version.name, b"\x00\xffhush")
    assert [one.name for one in form.all("list_secret_versions", parent=made.name)] == [version.name]
    form.call("disable_secret_version", name=version.name)
    with pytest.raises(exceptions.BadRequest, match="is in DISABLED state"):
        form.call("access_secret_version", name=version.name)
    form.call("delete_secret", name=made.name)
    with pytest.raises(exceptions.NotFound):
        form.call("get_secret", name=made.name)


@forms(ARTIFACTS, *USUAL)
def test_a_repository_is_created_listed_and_deleted(form: Form) -> None:
    """google-cloud-artifact-registry: creation and deletion are operations, whose results are typed."""
    identity = unique("form")
    made = form.call(
        "create_repository", parent=PARENT, repository_id=identity, repository={"format_": "DOCKER"}
    )
    assert (made.name, made.format_.name) == (f"{PARENT}/repositories/{identity}", "DOCKER")
    assert made in form.all("list_repositories", parent=PARENT)
    assert form.all("list_docker_images", parent=made.name) == []
    form.call("delete_repository", name=made.name)
    with pytest.raises(exceptions.NotFound):
        form.call("get_repository", name=made.name)


@forms(PROJECTS, *USUAL)
def test_the_project_is_found_by_id_and_number(form: Form) -> None:
    """google-cloud-resource-manager: the number for an id, the id for a number; strangers' are refused."""
    by_id, by_number = (form.call("get_project", name=f"projects/{known}") for known in (PROJECT, NUMBER))
    assert by_id == by_number
    assert (by_id.name, by_id.project_id) == (f"projects/{NUMBER}", PROJECT)
    assert by_id in form.all("search_projects", query=f"projectId={PROJECT}")
    with pytest.raises(exceptions.Forbidden):
        form.call("get_project", name="projects/somebody-elses")


@forms(LOGGING, *GRPC)
def test_entries_are_written_listed_and_deleted(form: Form) -> None:
    """google-cloud-logging, GAPIC: payloads and severities come back, in the order asked for."""
    name = f"projects/{PROJECT}/logs/{unique('form')}"
    entries = [
        {"text_payload": "first", "severity": "WARNING"},
        {"json_payload": {"step": 2.0}, "severity": "ERROR"},
    ]
    form.call("write_log_entries", log_name=name, resource={"type": "global"}, entries=entries)
    asked = {"resource_names": [f"projects/{PROJECT}"], "order_by": "timestamp asc", "page_size": 1}
    found = form.all("list_log_entries", filter=f'logName="{name}"', **asked)
    assert [(entry.text_payload, entry.severity) for entry in found] == [("first", 400), ("", 500)]
    assert dict(found[1].json_payload) == {"step": 2.0}
    form.call("delete_log", log_name=name)
    assert form.all("list_log_entries", filter=f'logName="{name}"', **asked) == []


@forms(MONITORING, *GRPC)
def test_a_time_series_is_written_and_read(form: Form) -> None:
    """google-cloud-monitoring: a gauge's points, its type's description, and a deletion."""
    metric, project = f"custom.googleapis.com/{unique('form')}", f"projects/{PROJECT}"
    now = int(time.time())
    point = {"interval": {"end_time": {"seconds": now}}, "value": {"double_value": 1.5}}
    series = {"metric": {"type": metric}, "resource": {"type": "global"}, "points": [point]}
    form.call("create_time_series", name=project, time_series=[series])
    asked: dict[str, Any] = {
        "interval": {"start_time": {"seconds": now - 60}, "end_time": {"seconds": now + 1}}
    }
    (found,) = form.all(
        "list_time_series", name=project, filter=f'metric.type = "{metric}"', view="FULL", **asked
    )
    assert [one.value.double_value for one in found.points] == [1.5]
    descriptor = f"{project}/metricDescriptors/{metric}"
    assert form.call("get_metric_descriptor", name=descriptor).type == metric
    form.call("delete_metric_descriptor", name=descriptor)
    with pytest.raises(exceptions.NotFound):
        form.call("get_metric_descriptor", name=descriptor)


def test_the_logging_client_logs_over_http(emulator: Emulator) -> None:
    """google-cloud-logging, high-level, without gRPC: a logger writes, a filter finds, a deletion empties."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import logging

    client = logging.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        _use_grpc=False,
        client_options={"api_endpoint": f"{emulator.url}/logging"},
    )
    log = client.logger(unique("form"))
    log.log_struct({"step": 7}, severity="WARNING")
    log.log_text("words", severity="INFO")
    found = log.list_entries(filter_='severity="WARNING"')
    assert [(entry.payload, entry.severity) for entry in found] == [({"step": 7}, "WARNING")]
    log.delete()
    assert list(log.list_entries()) == []


def test_the_storage_client_stores(emulator: Emulator) -> None:
    """google-cloud-storage: bytes, a checksum, metadata, a condition, a copy and a deletion."""
    bucket = storage_client(emulator).bucket(BUCKET)
    folder, content = unique("form"), secrets.token_bytes(3 << 20)
    blob = bucket.blob(f"{folder}/one", chunk_size=1 << 20)
    blob.metadata = {"made": "here"}
    blob.upload_from_string(content, if_generation_match=0)
    assert blob.download_as_bytes(checksum="crc32c") == content
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(blob.name).upload_from_string(b"", if_generation_match=0)
    bucket.copy_blob(blob, bucket, f"{folder}/two")
    found = list(bucket.list_blobs(prefix=folder))
    assert [(one.name[-3:], one.metadata, one.crc32c) for one in found] == [
        (name, {"made": "here"}, blob.crc32c) for name in ("one", "two")
    ]
    assert len(base64.b64decode(blob.crc32c)) == 4
    bucket.delete_blobs(found)
    assert not blob.exists()


def _until_state(form: Form, method: str, name: str, state: str) -> Any:
    """The job, once it is in that state."""

    def seen() -> Any:
        job = form.call(method, name=name)
        return job if job.state.name == f"JOB_STATE_{state}" else None

    return until(seen, seconds=60)
