"""`headway-emulator serve` by itself, as somebody types it, and the commands that ask a running one."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import psutil
import pytest
import requests

from tests.contract.servers import until

COMMAND = [sys.executable, "-m", "headway_emulator.main"]


@dataclass
class Alone:
    """An emulator that was started in an empty folder with an environment of its own."""

    home: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        hidden = ("HEADWAY_EMULATOR_URL", "DOCKER_HOST")
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        return {**kept, "HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state")}

    @property
    def state(self) -> Path:
        return self.home / "state" / "headway-emulator"

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "emulator.json").read_text())
        return found

    def serve(self, *words: str, **env: str) -> subprocess.Popen[bytes]:
        """Start it, and wait until it says so."""
        with (self.home / "log").open("wb") as log:
            process = subprocess.Popen(
                [*COMMAND, "serve", *words],
                cwd=self.home,
                env=self.env | env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        self.running.append(process)

        def answers() -> bool:
            assert process.poll() is None, self.log
            return (self.state / "emulator.json").exists() and self.record["pid"] == process.pid

        until(answers)
        return process

    def says(self, *words: str, **env: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command."""
        done = subprocess.run(
            [*COMMAND, *words], cwd=self.home, env=self.env | env, capture_output=True, text=True, timeout=30
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def ask(self, *words: str) -> str:
        """The stdout of a command that works."""
        code, said, failed = self.says(*words)
        assert code == 0, failed
        return said


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Alone]:
    made = Alone(tmp_path)
    yield made
    for process in made.running:
        process.kill()
        process.wait(10)


def storage_process(process: subprocess.Popen[bytes]) -> psutil.Process:
    (found,) = psutil.Process(process.pid).children()
    assert "fake-gcs-server" in found.name()
    return found


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


def test_with_no_flags_it_is_a_whole_project_in_the_user_s_state_folder(alone: Alone) -> None:
    alone.serve("--port", "0", **NO_ENGINE)
    url = alone.record["url"]
    page = requests.get(url, timeout=5).json()
    assert (page["executor"], page["state"]) == ("process", str(alone.state))
    made = requests.post(f"{url}/storage/v1/b?project=headway-local", json={"name": "alone"}, timeout=5)
    assert made.status_code == 200
    assert (alone.state / "storage" / "alone").is_dir()
    assert stat.S_IMODE(alone.state.stat().st_mode) == 0o700


def test_a_missing_engine_is_said_aloud_before_processes_take_its_place(alone: Alone) -> None:
    alone.serve("--port", "0", **NO_ENGINE)
    assert "no Docker engine answers" in alone.log
    assert "jobs run as plain processes of this machine, NOT in containers" in alone.log


def test_a_missing_engine_that_was_asked_for_is_a_failure(alone: Alone) -> None:
    code, _, text = alone.says("serve", "--port", "0", "--executor", "docker", **NO_ENGINE)
    assert code == 3
    assert "No Docker engine answers" in text
    assert not (alone.state / "storage.json").exists()


def test_it_says_how_to_point_clients_at_it(alone: Alone) -> None:
    alone.serve("--port", "0", "--executor", "process", "--state", str(alone.state))
    assert f"headway-emulator: {alone.record['url']} (project headway-local)" in alone.log
    assert 'eval "$(headway-emulator env)"' in alone.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_ends_it_in_order_with_its_storage_server(alone: Alone, number: signal.Signals) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the suite itself may run under nohup
    try:
        process = alone.serve("--port", "0", "--executor", "process")
    finally:
        signal.signal(signal.SIGHUP, before)
    storage = storage_process(process)
    process.send_signal(number)
    assert process.wait(10) == 0
    assert has_ended(storage)
    assert not (alone.state / "emulator.json").exists()
    assert "Traceback" not in alone.log


def test_a_hangup_that_is_ignored_as_by_nohup_stays_ignored(alone: Alone) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited by the child
    try:
        process = alone.serve("--port", "0", "--executor", "process")
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    assert requests.get(alone.record["url"], timeout=5).ok
    process.terminate()
    assert process.wait(10) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="children end with their parent on Linux alone")
def test_killed_it_leaves_no_storage_server_and_starts_again_with_all_it_had(alone: Alone) -> None:
    process = alone.serve("--port", "0", "--executor", "process")
    url = f"{alone.record['url']}/storage/v1/b"
    requests.post(f"{url}?project=headway-local", json={"name": "kept"}, timeout=5).raise_for_status()
    storage = storage_process(process)
    process.kill()
    process.wait(10)
    until(lambda: has_ended(storage), seconds=5)
    alone.serve("--port", "0", "--executor", "process")
    assert requests.get(f"{alone.record['url']}/storage/v1/b/kept", timeout=5).ok


def test_it_ends_with_its_standard_input_where_it_is_told_so(alone: Alone) -> None:
    process = alone.serve("--port", "0", "--executor", "process", "--end-with-stdin")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0


def test_an_ephemeral_state_is_gone_afterwards(alone: Alone, tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    words = [*COMMAND, "serve", "--ephemeral", "--port", "0", "--port-file", str(port_file)]
    process = subprocess.Popen(
        [*words, "--executor", "process"], env=alone.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    alone.running.append(process)
    until(port_file.exists)
    url = f"http://127.0.0.1:{port_file.read_text().strip()}"
    state = Path(requests.get(url, timeout=5).json()["state"])
    assert state.is_dir()
    process.terminate()
    assert process.wait(10) == 0
    assert not state.exists()


def test_a_taken_default_port_is_said_and_a_free_one_is_taken(alone: Alone) -> None:
    held = []
    with contextlib.suppress(OSError):  # where it is taken already, that is what this is about
        held.append(socket.create_server(("127.0.0.1", 8585)))
    alone.serve("--executor", "process")
    assert "cannot listen on 127.0.0.1:8585: Address already in use: taking a free port" in alone.log
    for one in held:
        one.close()


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(alone: Alone) -> None:
    code, _, text = alone.says("serve", "--port", "0", "--executor", "process", "--state", "/proc/nowhere")
    assert code == 3
    assert "The state folder /proc/nowhere cannot be used: No such file or directory." in text
    assert "Choose another --state." in text


def test_a_second_one_on_the_same_state_is_refused_and_leaves_the_first_alone(alone: Alone) -> None:
    process = alone.serve("--port", "0", "--executor", "process")
    storage = storage_process(process)
    code, _, text = alone.says("serve", "--port", "0", "--executor", "process")
    assert code == 3
    assert f"Another emulator runs on the state folder {alone.state}" in text
    assert not has_ended(storage)
    assert alone.record["pid"] == process.pid


@pytest.mark.docker
def test_a_second_one_on_the_same_state_leaves_the_first_its_network(alone: Alone) -> None:
    alone.serve("--port", "0", "--executor", "docker")
    code, _, text = alone.says("serve", "--port", "0", "--executor", "docker")
    assert (code, "Another emulator runs on the state folder" in text) == (3, True)
    assert requests.get(alone.record["url"], timeout=10).json()["pid"] == alone.record["pid"]


@pytest.mark.docker
def test_a_network_that_is_not_there_is_named_with_the_way_to_make_it(alone: Alone) -> None:
    code, _, text = alone.says("serve", "--port", "0", "--executor", "docker", "--network", "nowhere-net")
    assert code == 3
    assert "There is no Docker network nowhere-net: docker network create nowhere-net" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "99999"), "99999 is no port: 1 to 65535, or 0 for a free one."),
        (("--grace", "-3"), "The grace is 0 seconds or more, not -3."),
        (("--ephemeral", "--state", "kept"), "--ephemeral keeps nothing in kept: leave one of the two out."),
    ],
    ids=["port", "grace", "state"],
)
def test_a_flag_that_makes_no_sense_is_a_usage_error(alone: Alone, words: tuple[str, ...], said: str) -> None:
    code, _, text = alone.says("serve", "--executor", "process", *words)
    assert (code, text) == (2, f"headway-emulator: {said}\n")


def test_an_address_that_is_no_emulator_s_is_told(alone: Alone) -> None:
    code, _, text = alone.says("clock", "--url", "127.0.0.1:8585")
    assert code == 3
    assert "127.0.0.1:8585 is no emulator's address: it looks like http://127.0.0.1:8585." in text


def test_a_server_that_is_no_emulator_is_told(alone: Alone) -> None:
    process = alone.serve("--port", "0", "--executor", "process")
    port = storage_process(process).net_connections()[0].laddr.port
    code, _, text = alone.says("clock", "--url", f"http://127.0.0.1:{port}")
    assert code == 3
    assert f"http://127.0.0.1:{port} is no emulator" in text


def test_a_broken_file_is_a_usage_error_with_its_line(alone: Alone) -> None:
    (alone.home / "emulator.toml").write_text("[server]\nprot = 1\n")
    code, _, text = alone.says("serve", "--executor", "process")
    assert code == 2
    assert "emulator.toml, line 2: [server] has no 'prot'; did you mean 'port'?" in text


def test_a_named_file_that_is_missing_is_a_usage_error(alone: Alone) -> None:
    code, _, text = alone.says("serve", "--config", "nowhere.toml")
    assert code == 2
    assert "nowhere.toml cannot be read: No such file or directory." in text


def test_the_file_counts_over_defaults_and_flags_over_the_file(alone: Alone) -> None:
    (alone.home / "emulator.toml").write_text(
        '[server]\nport = 0\nexecutor = "process"\nproject = "from-file"\nproject_number = "42"\n'
        '[clock]\nkind = "virtual"\n[[fault]]\nkind = "preempt"\njob = "*"\n'
    )
    alone.serve("--project", "from-flag")
    record = alone.record
    assert (record["project"], record["project_number"]) == ("from-flag", "42")
    assert (record["clock"], record["executor"]) == ("virtual", "process")
    assert "reading ./emulator.toml" in alone.log
    assert "preempt fired 0 of 1 job=*" in alone.ask("faults")


def test_a_restart_arms_the_file_s_faults_no_second_time(alone: Alone) -> None:
    (alone.home / "emulator.toml").write_text('[[fault]]\nkind = "preempt"\njob = "*"\n')
    for _ in range(2):
        process = alone.serve("--port", "0", "--executor", "process")
        assert len(json.loads(alone.ask("faults", "--json"))) == 1
        process.terminate()
        assert process.wait(10) == 0


def test_the_commands_find_the_one_that_runs_and_ask_it(alone: Alone) -> None:
    alone.serve("--port", "0", "--executor", "process", "--clock", "virtual")
    before = alone.ask("clock")
    assert before.endswith("(virtual)\n")
    assert alone.ask("clock", "--advance", "36h") > before
    fault = alone.ask(
        "faults", "--add", "kind=response", "method=aiplatform.*", "status=503", "times=0"
    ).strip()
    assert f"{fault} response fired 0 of any method=aiplatform.* status=503" in alone.ask("faults")
    url = f"{alone.record['url']}/v1/projects/headway-local/locations/us-central1/customJobs"
    assert requests.get(url, timeout=5).status_code == 503
    assert fault in alone.ask("faults", "--fired")
    alone.ask("faults", "--remove", fault)
    assert requests.get(url, timeout=5).ok
    assert "aiplatform.customJobs.list" in alone.ask("requests")
    assert "aiplatform.customJobs.list" in alone.ask("requests", "--permissions")
    alone.ask("reset")
    assert json.loads(alone.ask("requests", "--json")) == []
    assert alone.ask("clock") < "2100"


def test_a_reset_forgets_jobs_objects_secrets_and_what_was_armed_since_the_start(alone: Alone) -> None:
    (alone.home / "emulator.toml").write_text('[[fault]]\nkind = "preempt"\njob = "*"\n')
    alone.serve("--port", "0", "--executor", "process")
    url = alone.record["url"]
    for path, body in (
        ("storage/v1/b?project=headway-local", {"name": "gone"}),
        ("v1/projects/headway-local/secrets?secretId=gone", {"replication": {"automatic": {}}}),
        ("v1/projects/headway-local/locations/us-central1/customJobs", job("import time; time.sleep(60)")),
        ("emulator/faults", {"kind": "stockout"}),
    ):
        requests.post(f"{url}/{path}", json=body, timeout=5).raise_for_status()
    alone.ask("reset")
    assert requests.get(f"{url}/storage/v1/b/gone", timeout=5).status_code == 404
    assert requests.get(f"{url}/v1/projects/headway-local/secrets", timeout=5).json() == {}
    listed = requests.get(f"{url}/v1/projects/headway-local/locations/us-central1/customJobs", timeout=5)
    assert listed.json() == {}
    armed = requests.get(f"{url}/emulator/faults", timeout=5).json()["faults"]
    assert [fault["kind"] for fault in armed] == ["preempt"]
    until(lambda: len(psutil.Process(alone.record["pid"]).children()) == 1, seconds=10)


def job(program: str) -> dict[str, Any]:
    container = {"imageUri": "any", "command": ["python3", "-c", program]}
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, "containerSpec": container}
    return {"displayName": "job", "jobSpec": {"workerPoolSpecs": [pool]}}


def test_a_shell_is_as_before_though_the_emulator_has_ended(alone: Alone) -> None:
    """A company's proxy and roots come back, and nothing is left that leads to a port where nobody is."""
    process = alone.serve("--port", "0", "--executor", "process")
    own = {"https_proxy": "http://my company's:3128", "GOOGLE_APPLICATION_CREDENTIALS": "/real/key.json"}
    command = shlex.join(COMMAND)
    script = f"""
        env | sort > before; eval "$({command} env)"; eval "$({command} env --way explicit)"
        kill -INT {process.pid}; while kill -0 {process.pid}; do sleep 0.1; done
        env | sort > within; eval "$({command} env --unset)"; env | sort > after
    """
    waits = threading.Thread(target=process.wait)
    waits.start()
    subprocess.run(["bash", "-uc", script], env=alone.env | own, cwd=alone.home, timeout=60, check=True)
    waits.join()
    before, within, after = ((alone.home / name).read_text() for name in ("before", "within", "after"))
    assert after == before
    assert alone.home.as_posix() in within
    assert "HEADWAY_EMULATOR_URL" in within


def test_a_fault_of_the_file_whose_method_is_nowhere_is_told(alone: Alone) -> None:
    text = '[[fault]]\nkind = "response"\nmethod = "storage.object.insert"\nstatus = 503\n'
    (alone.home / "emulator.toml").write_text(text)
    code, _, said = alone.says("serve", "--port", "0", "--executor", "process")
    assert code == 3
    assert "No method of this emulator fits 'storage.object.insert'; did you mean" in said


def test_env_points_a_shell_at_it_and_takes_it_back(alone: Alone) -> None:
    alone.serve("--port", "0", "--executor", "process")
    url = alone.record["url"]
    found = json.loads(alone.ask("env", "--json", "--way", "explicit"))["set"]
    assert found["STORAGE_EMULATOR_HOST"] == found["HEADWAY_EMULATOR_URL"] == url
    assert found["CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"] == f"{url}/aiplatform/"
    lines = alone.ask("env", "--way", "explicit")
    shell = f"{lines}\necho $STORAGE_EMULATOR_HOST ${{GOOGLE_APPLICATION_CREDENTIALS-none}}\n"
    shell += f'eval "$({shlex.join(COMMAND)} env --unset)"'
    done = subprocess.run(
        ["sh", "-ec", f"{shell}\necho ${{STORAGE_EMULATOR_HOST-none}}; env"],
        env=alone.env,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    first, second, *after = done.stdout.splitlines()
    assert (first, second) == (f"{url} none", "none")
    assert not [line for line in after if "CLOUDSDK_API" in line or url in line]


@pytest.mark.parametrize("way", ["explicit", "transparent"])
def test_with_its_environment_alone_the_storage_client_and_default_credentials_work(
    alone: Alone, way: str
) -> None:
    alone.serve("--port", "0", "--executor", "process")
    program = (
        "import google.auth; from google.cloud import storage; print(google.auth.default()[1]);"
        "c = storage.Client(); c.create_bucket('by-env'); print(list(c.list_buckets())[0].name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=alone.env | json.loads(alone.ask("env", "--json", "--way", way))["set"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["headway-local", "by-env"], done.stderr


def test_a_command_with_no_emulator_says_where_it_looked(alone: Alone) -> None:
    code, _, text = alone.says("clock")
    assert code == 3
    assert (
        f"No emulator runs on {alone.state}. Start one (headway-emulator serve), or give its --url." in text
    )
    code, _, text = alone.says("clock", "--url", "http://127.0.0.1:9")
    assert code == 3
    assert "No emulator answers at http://127.0.0.1:9" in text


def test_a_refusal_of_the_emulator_is_told_in_its_words(alone: Alone) -> None:
    alone.serve("--port", "0", "--executor", "process")
    code, _, text = alone.says("clock", "--advance", "1h")
    assert code == 3
    assert "nobody steps. Start the emulator with --clock virtual" in text
    code, _, text = alone.says("faults", "--add", "kind=quake")
    assert code == 3
    assert "A fault's kind is one of" in text


def test_its_help_and_version_need_no_emulator(alone: Alone) -> None:
    assert "serve" in alone.ask()
    assert alone.ask("version").startswith("headway-emulator ")
    assert alone.ask("--version") == alone.ask("version")
    assert "--end-with-stdin" in alone.ask("serve", "--help")


def test_files_of_the_folder_it_starts_in_shadow_no_module_of_the_grpc_process(alone: Alone) -> None:
    (alone.home / "grpc.py").write_text("raise SystemExit('shadowed')")
    alone.serve("--port", "0", **NO_ENGINE)
    channel = grpc.insecure_channel(urlsplit(alone.record["url"]).netloc)
    ask = channel.unary_unary("/google.pubsub.v1.Publisher/CreateTopic")
    with pytest.raises(grpc.RpcError) as refused:
        ask(b"", timeout=30)
    channel.close()
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
