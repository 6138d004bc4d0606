"""Vertex AI's custom jobs, driven by Google's GAPIC client over REST, on both executors."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.aiplatform_v1 import CustomJob, JobServiceClient, JobState

from tests.contract.conftest import custom_job, job_client, log_lines, messages, on_both_executors
from tests.contract.servers import NUMBER, PARENT, Emulator, StorageServer, until

FINAL = (JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED)


emulator = on_both_executors()
"""Every test here is made twice: with processes and with containers."""


def finished(jobs: JobServiceClient, name: str, seconds: float = 30.0) -> CustomJob:
    until(lambda: jobs.get_custom_job(name=name).state in FINAL, seconds=seconds)
    return jobs.get_custom_job(name=name)


def run(jobs: JobServiceClient, *program: str, **more: Any) -> CustomJob:
    created = jobs.create_custom_job(parent=PARENT, custom_job=custom_job(*program, **more))
    return finished(jobs, created.name)


def running(jobs: JobServiceClient, job: dict[str, Any]) -> CustomJob:
    created = jobs.create_custom_job(parent=PARENT, custom_job=job)
    until(lambda: jobs.get_custom_job(name=created.name).state == JobState.JOB_STATE_RUNNING)
    return created


def test_a_created_job_has_a_name_with_the_project_number_and_is_pending(jobs: JobServiceClient) -> None:
    job = jobs.create_custom_job(parent=PARENT, custom_job=custom_job("pass"))
    assert job.name.startswith(f"projects/{NUMBER}/locations/us-central1/customJobs/")
    assert job.name.rsplit("/", 1)[1].isdigit()
    assert job.state == JobState.JOB_STATE_PENDING
    assert job.create_time == job.update_time
    finished(jobs, job.name)


def test_a_job_whose_program_ends_well_succeeds_with_its_times_in_order(jobs: JobServiceClient) -> None:
    job = run(jobs, "print('done')")
    assert job.state == JobState.JOB_STATE_SUCCEEDED
    assert job.create_time <= job.start_time <= job.end_time <= job.update_time
    assert job.error.code == 0


def test_a_failing_program_gives_its_exit_code_in_googles_words(jobs: JobServiceClient) -> None:
    job = run(jobs, "import sys; sys.exit(3)")
    assert job.state == JobState.JOB_STATE_FAILED
    assert job.error.code == 3
    assert "The replica workerpool0-0 exited with a non-zero status of 3." in job.error.message


def test_the_log_keeps_order_streams_and_severities(jobs: JobServiceClient, emulator: Emulator) -> None:
    job = run(
        jobs,
        "import sys, time",
        "print('one')",
        "time.sleep(0.05)",
        "print('two', file=sys.stderr)",
        "time.sleep(0.05)",
        """print('{"severity": "WARNING", "message": "three", "step": 4}', file=sys.stderr)""",
    )
    lines = [e for e in log_lines(emulator, job.name) if e["resource"]["labels"]["task_name"] != "service"]
    assert [(e["severity"], e["jsonPayload"]["message"]) for e in lines] == [
        ("INFO", "one"),
        ("ERROR", "two"),
        ("WARNING", "three"),
    ]
    assert lines[2]["jsonPayload"]["step"] == 4


def test_a_line_can_be_read_within_a_second_while_the_job_runs(
    jobs: JobServiceClient, emulator: Emulator
) -> None:
    job = running(jobs, custom_job("import time", "print('early')", "time.sleep(20)"))
    until(lambda: messages(emulator, job.name) == ["early"], seconds=1.0)
    jobs.cancel_custom_job(name=job.name)
    finished(jobs, job.name)


def test_the_environment_is_a_vertex_replicas_and_the_users_own_loses_to_it(
    jobs: JobServiceClient, emulator: Emulator
) -> None:
    wanted = custom_job(
        "import json, os",
        "print(json.dumps(dict(os.environ)))",
        base_output_directory={"output_uri_prefix": "gs://contract/runs/1"},
    )
    container = wanted["job_spec"]["worker_pool_specs"][0]["container_spec"]
    container["env"] = [{"name": "LR", "value": "0.1"}, {"name": "AIP_MODEL_DIR", "value": "mine"}]
    job = finished(jobs, jobs.create_custom_job(parent=PARENT, custom_job=wanted).name)
    env = json.loads(messages(emulator, job.name)[0])
    job_id = job.name.rsplit("/", 1)[1]
    assert env["LR"] == "0.1"
    assert env["AIP_MODEL_DIR"] == "gs://contract/runs/1/model/"
    assert env["AIP_CHECKPOINT_DIR"] == "gs://contract/runs/1/checkpoints/"
    assert env["AIP_TENSORBOARD_LOG_DIR"] == "gs://contract/runs/1/logs/"
    assert (env["CLOUD_ML_JOB_ID"], env["CLOUD_ML_REGION"]) == (job_id, "us-central1")
    assert (env["RANK"], env["WORLD_SIZE"]) == ("0", "1")
    assert "TF_CONFIG" not in env
    assert env["STORAGE_EMULATOR_HOST"] == emulator.url
    cluster = json.loads(env["CLUSTER_SPEC"])
    assert cluster["environment"] == "cloud"
    assert cluster["task"] == {"type": "workerpool0", "index": 0}
    assert len(cluster["cluster"]["workerpool0"]) == 1


def test_without_an_output_directory_there_are_no_output_variables(
    jobs: JobServiceClient, emulator: Emulator
) -> None:
    job = run(jobs, "import os", "print([n for n in os.environ if n.startswith('AIP_')])")
    assert messages(emulator, job.name) == ["[]"]


def test_workers_of_several_pools_get_ranks_and_end_with_the_primary(
    jobs: JobServiceClient, emulator: Emulator
) -> None:
    wanted = custom_job(
        "import json, os, time",
        "spec = json.loads(os.environ['CLUSTER_SPEC'])",
        "tf = json.loads(os.environ['TF_CONFIG'])",
        "print(os.environ['RANK'], os.environ['WORLD_SIZE'], spec['task'], tf['task']['type'])",
        "time.sleep(0 if os.environ['RANK'] == '0' else 60)",
    )
    pools = wanted["job_spec"]["worker_pool_specs"]
    pools.append({**pools[0], "replica_count": 2})
    started = time.monotonic()
    job = finished(jobs, jobs.create_custom_job(parent=PARENT, custom_job=wanted).name)
    assert job.state == JobState.JOB_STATE_SUCCEEDED
    assert time.monotonic() - started < 30
    assert messages(emulator, job.name) == ["0 3 {'type': 'workerpool0', 'index': 0} chief"]


def test_a_failing_worker_fails_the_job_and_ends_the_primary(jobs: JobServiceClient) -> None:
    wanted = custom_job(
        "import os, sys, time",
        "sys.exit(7) if os.environ['RANK'] == '1' else time.sleep(60)",
    )
    pools = wanted["job_spec"]["worker_pool_specs"]
    pools.append({**pools[0]})
    job = finished(jobs, jobs.create_custom_job(parent=PARENT, custom_job=wanted).name)
    assert job.state == JobState.JOB_STATE_FAILED
    assert "workerpool1-0 exited with a non-zero status of 7" in job.error.message


def test_a_cancelled_job_gets_sigterm_and_its_last_words_are_kept(
    jobs: JobServiceClient, emulator: Emulator
) -> None:
    job = running(
        jobs,
        custom_job(
            "import signal, sys, time",
            "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))",
            "print('ready')",
            "time.sleep(60)",
        ),
    )
    until(lambda: "ready" in messages(emulator, job.name))
    jobs.cancel_custom_job(name=job.name)
    ended = finished(jobs, job.name)
    assert ended.state == JobState.JOB_STATE_CANCELLED
    assert ended.error.code == 1
    assert messages(emulator, job.name) == ["ready", "saved"]


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(
    jobs: JobServiceClient, emulator: Emulator
) -> None:
    job = running(
        jobs,
        custom_job(
            "import signal, time",
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
            "print('ready')",
            "time.sleep(60)",
        ),
    )
    until(lambda: "ready" in messages(emulator, job.name))
    jobs.cancel_custom_job(name=job.name)
    assert jobs.get_custom_job(name=job.name).state == JobState.JOB_STATE_CANCELLING
    assert finished(jobs, job.name, seconds=emulator.grace + 5).state == JobState.JOB_STATE_CANCELLED


def test_a_job_over_its_timeout_is_stopped_and_failed(jobs: JobServiceClient) -> None:
    job = run(jobs, "import time", "time.sleep(60)", scheduling={"timeout": {"seconds": 1}})
    assert job.state == JobState.JOB_STATE_FAILED
    assert job.error.code == 4
    assert "timeout" in job.error.message


def test_a_command_that_does_not_exist_fails_the_job_with_its_name(jobs: JobServiceClient) -> None:
    wanted = custom_job("")
    wanted["job_spec"]["worker_pool_specs"][0]["container_spec"]["command"] = ["no-such-program"]
    job = finished(jobs, jobs.create_custom_job(parent=PARENT, custom_job=wanted).name)
    assert job.state == JobState.JOB_STATE_FAILED
    assert "no-such-program" in job.error.message
    assert "did not start" in job.error.message


def test_many_jobs_at_once_each_get_their_own_log(jobs: JobServiceClient, emulator: Emulator) -> None:
    wanted = [custom_job(f"for _ in range(20): print('job {n}')") for n in range(8)]
    names = [jobs.create_custom_job(parent=PARENT, custom_job=job).name for job in wanted]
    for number, name in enumerate(names):
        assert finished(jobs, name).state == JobState.JOB_STATE_SUCCEEDED
        assert messages(emulator, name) == [f"job {number}"] * 20


def test_jobs_are_found_by_label_state_and_name_and_paged_newest_first(jobs: JobServiceClient) -> None:
    names = []
    for number in range(3):
        wanted = custom_job("pass", name=f"page-{number}")
        wanted["labels"] = {"headway-run": "paged"}
        names.append(jobs.create_custom_job(parent=PARENT, custom_job=wanted).name)
    for name in names:
        finished(jobs, name)
    request: dict[str, Any] = {
        "parent": PARENT,
        "filter": 'labels.headway-run="paged" AND state="JOB_STATE_SUCCEEDED"',
        "page_size": 2,
    }
    pages = list(jobs.list_custom_jobs(request=request).pages)
    assert [[job.name for job in page.custom_jobs] for page in pages] == [[names[2], names[1]], [names[0]]]
    by_name = jobs.list_custom_jobs(request={"parent": PARENT, "filter": 'display_name="page-1"'})
    assert [job.name for job in by_name] == [names[1]]


def test_the_filters_of_googles_own_examples_find_a_job(jobs: JobServiceClient) -> None:
    """customJobs.list, parameter filter, in the discovery document of aiplatform v1."""
    wanted = custom_job("pass", name="filtered_by_example")
    wanted["labels"] = {"filtered": "by-example"}
    job = finished(jobs, jobs.create_custom_job(parent=PARENT, custom_job=wanted).name)
    whole = job.create_time.rfc3339()
    second = whole[:19] + "Z"  # of the same second, written with fewer digits
    here = "labels.filtered=by-example AND "
    for text in (
        'state="JOB_STATE_SUCCEEDED" AND display_name:"filtered_by_*"',
        here + '(state!="JOB_STATE_SUCCEEDED" OR display_name="filtered_by_example")',
        here + 'NOT display_name="my_job"',
        here + f'create_time>="{second}"',
        here + f'create_time="{whole}"',
        here + 'create_time>"2021-05-18T02:00:00+02:00"',
        "labels.filtered:*",
        "labels:filtered",
    ):
        found = jobs.list_custom_jobs(request={"parent": PARENT, "filter": text})
        assert [one.name for one in found] == [job.name], text


def test_a_filter_the_emulator_cannot_answer_is_refused_not_ignored(jobs: JobServiceClient) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="=~ in filters"):
        list(jobs.list_custom_jobs(request={"parent": PARENT, "filter": 'display_name=~"a.*"'}))


def test_a_deleted_job_is_gone_and_its_operation_is_done(jobs: JobServiceClient) -> None:
    job = run(jobs, "pass")
    jobs.delete_custom_job(name=job.name).result(timeout=10)
    with pytest.raises(exceptions.NotFound):
        jobs.get_custom_job(name=job.name)


def test_a_running_job_is_not_deleted_and_a_finished_one_not_cancelled(jobs: JobServiceClient) -> None:
    job = running(jobs, custom_job("import time", "time.sleep(60)"))
    with pytest.raises(exceptions.BadRequest, match="cancel it before deleting"):
        jobs.delete_custom_job(name=job.name)
    jobs.cancel_custom_job(name=job.name)
    finished(jobs, job.name)
    jobs.cancel_custom_job(name=job.name)
    done = run(jobs, "pass")
    with pytest.raises(exceptions.BadRequest, match="cannot be cancelled"):
        jobs.cancel_custom_job(name=done.name)


def test_unknown_jobs_and_strangers_projects_are_told_apart(jobs: JobServiceClient) -> None:
    with pytest.raises(exceptions.NotFound):
        jobs.get_custom_job(name=f"{PARENT}/customJobs/1")
    with pytest.raises(exceptions.Forbidden, match="serves the project headway-local"):
        list(jobs.list_custom_jobs(parent="projects/other/locations/us-central1"))


def test_jobs_and_logs_survive_the_emulator_being_killed(
    storage_server: StorageServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    emulator = Emulator(tmp_path_factory.mktemp("killed") / "state", storage_server.url)
    emulator.start()
    try:
        client = job_client(emulator)
        done = run(client, "print('kept')")
        cut = running(client, custom_job("import os, time", "print(os.getpid())", "time.sleep(600)"))
        until(lambda: messages(emulator, cut.name))
        emulator.kill()
        emulator.start()
        assert client.get_custom_job(name=done.name) == done
        assert messages(emulator, done.name) == ["kept"]
        lost = finished(client, cut.name)
        assert lost.state == JobState.JOB_STATE_FAILED
        assert "was lost when the emulator stopped" in lost.error.message
        pid = int(messages(emulator, cut.name)[0])
        until(lambda: not _alive(pid), seconds=5)
    finally:
        assert emulator.stop() == 0


def test_stopping_the_emulator_ends_the_processes_of_its_jobs(
    storage_server: StorageServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    emulator = Emulator(tmp_path_factory.mktemp("stopped") / "state", storage_server.url)
    emulator.start()
    job = running(
        job_client(emulator), custom_job("import os, time", "print(os.getpid())", "time.sleep(600)")
    )
    pid = int(until(lambda: messages(emulator, job.name))[0])
    assert emulator.stop() == 0
    until(lambda: not _alive(pid), seconds=5)


def _alive(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
