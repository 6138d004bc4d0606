"""The fixture `gcp` and the context manager, as somebody else's tests use them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from google.api_core.exceptions import MethodNotImplemented
from google.cloud import secretmanager, storage
from google.cloud.aiplatform_v1 import JobServiceAsyncClient, JobServiceClient
from google.cloud.devtools.cloudbuild_v1 import CloudBuildClient

from headway_emulator.asking import Refused, ask
from headway_emulator.testing import DidNotStart, Emulator, emulator
from tests.contract.conftest import custom_job
from tests.contract.servers import until

SLEEP = custom_job("import time", "time.sleep(600)")


@pytest.mark.gcp(clock="virtual")
def test_a_job_of_a_week_times_out_in_a_moment(gcp: Emulator) -> None:
    jobs = gcp.client(JobServiceClient)
    name = jobs.create_custom_job(parent=gcp.parent, custom_job=SLEEP).name
    until(lambda: jobs.get_custom_job(name=name).state.name == "JOB_STATE_RUNNING")
    before = gcp.clock.now()
    after = gcp.clock.advance("8d")
    assert (after - before).days == 8
    assert jobs.get_custom_job(name=name).state.name == "JOB_STATE_FAILED"


@pytest.mark.gcp(clock="virtual")
def test_what_one_test_did_is_gone_in_the_next_though_the_emulator_is_the_same(gcp: Emulator) -> None:
    assert list(gcp.client(JobServiceClient).list_custom_jobs(parent=gcp.parent)) == []
    assert gcp.requests("aiplatform.customJobs.create") == []
    assert abs(gcp.clock.now().timestamp() - time.time()) < 60


@pytest.mark.gcp(faults=[{"kind": "response", "method": "aiplatform.customJobs.list", "status": 503}])
def test_a_fault_of_the_mark_is_armed_and_its_firing_is_seen(gcp: Emulator) -> None:
    jobs = gcp.client(JobServiceClient)
    with pytest.raises(Exception, match="unavailable"):
        list(jobs.list_custom_jobs(parent=gcp.parent, retry=None))
    assert list(jobs.list_custom_jobs(parent=gcp.parent, retry=None)) == []
    (fired,) = gcp.faults.fired()
    assert fired["kind"] == "response"


@pytest.mark.gcp(quotas=[{"metric": "custom_model_training_nvidia_t4_gpus", "limit": 0}])
def test_a_quota_of_the_mark_holds(gcp: Emulator) -> None:
    job = custom_job("pass")
    pool = job["job_spec"]["worker_pool_specs"][0]
    pool["machine_spec"] |= {"accelerator_type": "NVIDIA_TESLA_T4", "accelerator_count": 1}
    with pytest.raises(Exception, match="exceed quota limits"):
        gcp.client(JobServiceClient).create_custom_job(parent=gcp.parent, custom_job=job)


def test_faults_are_added_listed_and_taken_away(gcp: Emulator) -> None:
    first = gcp.faults.add("preempt", job="*", after=30)
    gcp.faults.add("stockout", region="us-central1")
    gcp.faults.remove(first)
    assert [fault["kind"] for fault in gcp.faults.all()] == ["stockout"]
    gcp.faults.clear()
    assert gcp.faults.all() == []
    with pytest.raises(Refused, match="A fault's kind is one of"):
        gcp.faults.add("quake")


def test_every_kind_of_client_is_built_and_works(gcp: Emulator) -> None:
    assert gcp.bucket("mine") == gcp.bucket("mine") == "gs://mine"
    bucket = gcp.client(storage.Client).bucket("mine")
    bucket.blob("a").upload_from_string("text")
    assert bucket.blob("a").download_as_text() == "text"
    secrets = gcp.client(secretmanager.SecretManagerServiceClient)
    parent = f"projects/{gcp.project}"
    secrets.create_secret(parent=parent, secret_id="s", secret={"replication": {"automatic": {}}})
    assert len(list(secrets.list_secrets(parent=parent))) == 1
    assert list(gcp.client(CloudBuildClient).list_builds(project_id=gcp.project)) == []


def test_an_asynchronous_client_is_built(gcp: Emulator) -> None:
    client = gcp.client(JobServiceAsyncClient)
    assert client.transport.kind == "rest_asyncio"


def test_a_class_that_speaks_grpc_alone_is_built_too(gcp: Emulator) -> None:
    from google.cloud.logging_v2.services.config_service_v2 import ConfigServiceV2Client

    with pytest.raises(MethodNotImplemented, match=r"does not implement google\.logging"):
        list(gcp.client(ConfigServiceV2Client).list_buckets(parent=gcp.parent))


def test_clients_with_default_endpoints_reach_it_because_the_environment_is_set(gcp: Emulator) -> None:
    gcp.bucket("by-environment")
    assert os.environ["STORAGE_EMULATOR_HOST"] == gcp.environ()["STORAGE_EMULATOR_HOST"] == gcp.url
    assert [bucket.name for bucket in storage.Client().list_buckets()] == ["by-environment"]


@pytest.mark.gcp(environ=False)
def test_the_environment_is_left_alone_where_the_mark_says_so(gcp: Emulator) -> None:
    assert "HEADWAY_EMULATOR_URL" not in os.environ
    with gcp.environment():
        assert os.environ["HEADWAY_EMULATOR_URL"] == gcp.url
    assert "HEADWAY_EMULATOR_URL" not in os.environ


def test_the_permissions_that_code_needs_are_known_after_it_ran(gcp: Emulator) -> None:
    jobs = gcp.client(JobServiceClient)
    list(jobs.list_custom_jobs(parent=gcp.parent))
    assert gcp.permissions() == ["aiplatform.customJobs.list"]
    assert [request["status"] for request in gcp.requests()] == [200]


def test_as_a_context_manager_it_ends_with_the_block() -> None:
    with emulator(project="mine") as gcp:
        assert gcp.project == "mine"
        assert gcp.endpoint("aiplatform") == f"{gcp.url}/aiplatform"
        state = gcp.state
        assert state.is_dir()
    assert not state.exists()
    with pytest.raises(Refused, match="No emulator answers"):
        gcp.clock.now()


@pytest.mark.docker
def test_in_docker_jobs_find_it_on_a_network_of_its_own_and_both_are_gone_afterwards(base_image: str) -> None:
    program = "import os, urllib.request as u; print(u.urlopen(os.environ['STORAGE_EMULATOR_HOST']).status)"
    with emulator(executor="docker") as gcp:
        jobs = gcp.client(JobServiceClient)
        asking = custom_job(program, image=base_image)
        name = jobs.create_custom_job(parent=gcp.parent, custom_job=asking).name
        until(lambda: jobs.get_custom_job(name=name).state.name == "JOB_STATE_SUCCEEDED", seconds=60)
        sleeping = custom_job("import time", "time.sleep(600)", image=base_image)
        name = jobs.create_custom_job(parent=gcp.parent, custom_job=sleeping).name
        until(lambda: jobs.get_custom_job(name=name).state.name == "JOB_STATE_RUNNING", seconds=60)
        mine = ("--filter", f"label=headway-emulator.job={name.rsplit('/', 1)[1]}")
        assert docker("ps", "--quiet", *mine)
        network = f"headway-emulator-{hashlib.sha256(str(gcp.state).encode()).hexdigest()[:8]}"
        assert network in docker("network", "ls").split()
    assert not docker("ps", "--all", "--quiet", *mine)
    assert network not in docker("network", "ls").split()


@pytest.mark.docker
def test_what_a_killed_one_left_in_docker_is_ended_by_the_next(base_image: str) -> None:
    with emulator(executor="docker") as gcp:
        jobs = gcp.client(JobServiceClient)
        sleeping = custom_job("import time", "time.sleep(600)", image=base_image)
        name = jobs.create_custom_job(parent=gcp.parent, custom_job=sleeping).name
        until(lambda: jobs.get_custom_job(name=name).state.name == "JOB_STATE_RUNNING", seconds=60)
        os.kill(ask(gcp.url, "GET", "/")["pid"], signal.SIGKILL)
    mine = ("--filter", f"label=headway-emulator.job={name.rsplit('/', 1)[1]}")
    assert docker("ps", "--quiet", *mine)
    with emulator(executor="docker"):
        assert not docker("ps", "--all", "--quiet", *mine)


@pytest.mark.docker
def test_a_reset_ends_containers_too(base_image: str) -> None:
    with emulator(executor="docker") as gcp:
        jobs = gcp.client(JobServiceClient)
        sleeping = custom_job("import time", "time.sleep(600)", image=base_image)
        name = jobs.create_custom_job(parent=gcp.parent, custom_job=sleeping).name
        until(lambda: jobs.get_custom_job(name=name).state.name == "JOB_STATE_RUNNING", seconds=60)
        gcp.reset()
        assert list(jobs.list_custom_jobs(parent=gcp.parent)) == []
        assert not docker("ps", "--quiet", "--filter", f"label=headway-emulator.job={name.rsplit('/', 1)[1]}")


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60, check=True).stdout


def test_one_that_cannot_start_says_why() -> None:
    with pytest.raises(DidNotStart, match="A fault's kind is one of"), emulator(faults=[{"kind": "quake"}]):
        pass


TWO_IN_ONE_PROGRAM = """
import google.auth.compute_engine  # as some libraries do, before any emulator is there
from google.cloud.aiplatform_v1 import JobServiceClient
from headway_emulator.testing import emulator

def jobs(gcp):
    with gcp.environment():
        host = {"api_endpoint": "us-central1-aiplatform.googleapis.com"}
        return list(JobServiceClient(client_options=host).list_custom_jobs(parent=gcp.parent, timeout=20))

with emulator() as gcp:
    print(jobs(gcp))
with emulator() as gcp, gcp.environment(), emulator(clock="virtual") as other:
    print(jobs(gcp), jobs(other))
"""


def test_one_program_may_start_several_emulators_for_clients_with_default_endpoints() -> None:
    """gRPC reads the roots that it trusts, and google-auth the metadata server's address, only once."""
    words = [sys.executable, "-c", TWO_IN_ONE_PROGRAM]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["[]", "[]", "[]"], done.stdout + done.stderr


@pytest.mark.gcp(clock="virtual")
def test_the_clock_steps_by_a_timedelta_too(gcp: Emulator) -> None:
    before = gcp.clock.now()
    assert gcp.clock.advance(timedelta(days=7)) - before == timedelta(days=7)


# other people's pytest


def other_tests(folder: Path, text: str) -> subprocess.Popen[str]:
    (folder / "test_other.py").write_text(textwrap.dedent(text))
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(folder),
            str(folder),
        ],
        cwd=folder,
        env={
            **os.environ,
            "TMPDIR": str(folder),
        },  # what a killed run leaves there is deleted with the folder
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_the_plugin_costs_a_run_that_does_not_use_it_nothing(tmp_path: Path) -> None:
    run = other_tests(
        tmp_path,
        """
        import sys
        def test_what_is_loaded():
            ours = {name for name in sys.modules if name.startswith("headway")}
            assert ours == {"headway_emulator", "headway_emulator.pytest_plugin"}
            assert not {"google.cloud.storage", "starlette", "uvicorn", "docker", "httpx"} & set(sys.modules)
        """,
    )
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 0, said


def test_a_mark_with_a_wrong_option_is_told(tmp_path: Path) -> None:
    run = other_tests(
        tmp_path,
        """
        import pytest
        @pytest.mark.gcp(clok="virtual")
        def test_it(gcp): pass
        """,
    )
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "the mark gcp has no clok; it has: clock, executor" in said


LONG = """
    import json, pathlib, time
    def test_long(gcp):
        import urllib.request
        page = json.load(urllib.request.urlopen(gcp.url))
        note = pathlib.Path("pid.partial")
        note.write_text(json.dumps([page["pid"], page["state"]]))
        note.rename("pid")
        time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_an_interrupted_run_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    run = other_tests(tmp_path, LONG)
    until((tmp_path / "pid").exists)
    pid, state = json.loads((tmp_path / "pid").read_text())
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    assert len(family) == 2  # the emulator and its storage server
    run.send_signal(number)
    run.communicate(timeout=30)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert not Path(state).exists()
