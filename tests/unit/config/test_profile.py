"""Where a job runs: headway.toml's profiles, and the local stack."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests

from headway.config import stack
from headway.config.profile import default_state, find_place, look_for_place
from headway.config.stack import read_local_place
from headway.errors import ConfigError, DeadlinePassed, ExitCode, HeadwayError, Interrupted, MachineError
from headway.spec.place import Place

PROD = """default = "prod"
[profiles.prod]
project = "p"
region = "us-central1"
bucket = "b"
tracking_uri = "https://mlflow"
"""
NONCE = "5eed"


@pytest.fixture(autouse=True)
def _own_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding the stack adds to these: each test has its own."""
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")


def place(tmp_path: Path, text: str, profile: str | None = None) -> Place:
    (tmp_path / "headway.toml").write_text(text, encoding="utf-8")
    (tmp_path / "deep" / "er").mkdir(parents=True, exist_ok=True)
    return find_place(profile=profile, local=False, start=tmp_path / "deep" / "er", state=tmp_path / "state")


def refusal(tmp_path: Path, text: str, profile: str | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        place(tmp_path, text, profile)
    return caught.value


def test_a_profile_is_found_in_a_folder_above(tmp_path: Path) -> None:
    found = place(tmp_path, PROD)
    assert (found.profile, found.project, found.credentials) == ("prod", "p", "default")
    assert found.dvc_remote == "gs://b/dvc"


def test_a_login_in_the_tracking_server_s_address_is_refused_and_not_printed(tmp_path: Path) -> None:
    """It would be in each run's plan, in the function's variables, and in every error about the server."""
    error = refusal(tmp_path, PROD.replace("https://mlflow", "https://me:s3cret@mlflow"))
    assert error.line == 6
    assert "MLFLOW_TRACKING_PASSWORD" in str(error)
    assert "s3cret" not in str(error)


def test_a_profile_says_everything_that_a_place_is(tmp_path: Path) -> None:
    more = 'dvc_remote = "gs://d/x"\nservice_account = "s@p"\nrepository = "r"\ncredentials = "anonymous"\n'
    found = place(tmp_path, f'{PROD}{more}[profiles.prod.endpoints]\nstorage = "http://h"\n')
    assert found.endpoints == {"storage": "http://h"}
    assert (found.dvc_remote, found.service_account, found.repository) == ("gs://d/x", "s@p", "r")


def test_the_time_for_an_answer_is_a_number(tmp_path: Path) -> None:
    assert place(tmp_path, f"{PROD}answer_s = 30\n").answer_s == 30


def test_the_only_profile_needs_no_default(tmp_path: Path) -> None:
    assert place(tmp_path, PROD.partition("\n")[2]).profile == "prod"


def test_of_several_profiles_one_is_chosen_by_name(tmp_path: Path) -> None:
    two = PROD + PROD.partition("\n")[2].replace("prod", "dev").replace('"p"', '"q"')
    assert place(tmp_path, two, "dev").project == "q"
    undecided = refusal(tmp_path, two.partition("\n")[2])
    assert "several profiles and no default" in undecided.message
    assert undecided.details == ("profiles: prod, dev",)


def test_no_profile_has_the_local_stacks_name(tmp_path: Path) -> None:
    assert "a profile cannot be named local" in refusal(tmp_path, PROD.replace("prod", "local")).message


@pytest.mark.parametrize(
    ("text", "line", "said", "hint"),
    [
        (
            PROD.replace("region", "regoin"),
            4,
            "there is no key 'regoin' in a profile",
            "did you mean region?",
        ),
        (PROD.replace('"us-central1"', "1"), 4, "region must be text, not the number 1", ""),
        (
            PROD.replace('"b"', '"gs://b/x"'),
            5,
            "bucket 'gs://b/x' is not a bucket's bare name",
            'bucket = "b"',
        ),
        (
            PROD.replace("us-central1", "us-central1-a"),
            4,
            "region: 'us-central1-a' is a zone, and jobs are sent to a region",
            "write us-central1",
        ),
        (
            PROD.replace("us-central1", "Iowa"),
            4,
            "region: 'Iowa' is no region's name",
            "us-central1",
        ),
        (PROD.replace('project = "p"\n', ""), 2, "profile prod lacks project", 'add  project = "..."'),
        (
            f"{PROD}credentials = 'mine'\n",
            7,
            "credentials 'mine' are neither default nor anonymous",
            "gcloud auth",
        ),
        (f"{PROD}answer_s = 'soon'\n", 7, "answer_s must be a number of seconds up to 600, not the text", ""),
        (f"{PROD}answer_s = 601\n", 7, "up to 600, not the number 601", ""),
        (f"{PROD}answer_s = 0\n", 7, "up to 600, not the number 0", ""),
        (f"{PROD}answer_s = nan\n", 7, "up to 600, not the number nan", ""),
        (f"{PROD}answer_s = true\n", 7, "up to 600, not true", ""),
        (f"{PROD}endpoints = 'x'\n", 7, "endpoints must be a table of URLs", "endpoints = {"),
        (PROD.replace("default =", "defualt ="), 1, "there is no key 'defualt'", "did you mean default?"),
        (PROD.replace('= "prod"', '= "prd"'), 1, "there is no profile 'prd'", "did you mean prod?"),
        ("default = 'x'\n", None, "it has no profile", "[profiles.prod]"),
    ],
)
def test_a_slip_in_headway_toml_is_named_with_its_line(
    tmp_path: Path, text: str, line: int | None, said: str, hint: str
) -> None:
    error = refusal(tmp_path, text)
    assert said in error.message
    assert error.line == line
    assert str(tmp_path / "headway.toml") in error.message
    assert hint in (error.hint or "")


def test_unreadable_toml_says_line_and_column(tmp_path: Path) -> None:
    error = refusal(tmp_path, "default = \n")
    assert "is not readable as TOML: Invalid value" in error.message
    assert (error.line, error.column) == (1, 11)


def test_an_unknown_profile_gets_the_nearest_one(tmp_path: Path) -> None:
    error = refusal(tmp_path, PROD, "prd")
    assert error.message.endswith("there is no profile 'prd'")
    assert error.hint == "there is prod; did you mean prod?"


def test_without_any_profile_the_way_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it is not known where to run") as caught:
        find_place(profile=None, local=False, start=tmp_path, state=tmp_path)
    assert (caught.value.hint or "").startswith("--local runs on this machine")


def test_local_and_a_profile_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        find_place(profile="prod", local=True, start=tmp_path, state=tmp_path)


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"nonce": NONCE}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def emulator() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Health)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(5)
    server.server_close()


def record(state: Path, url: str, nonce: str = NONCE) -> None:
    document = {
        "project": "headway-local",
        "region": "us-central1",
        "bucket": "headway-local",
        "dvc_remote": "gs://headway-local/dvc",
        "tracking_uri": "http://mlflow",
        "emulator_url": url,
        "nonce": nonce,
    }
    (state / "local").mkdir(parents=True, exist_ok=True)
    (state / "local" / "stack.json").write_text(json.dumps(document), encoding="utf-8")


def test_a_healthy_stack_is_a_place(tmp_path: Path, emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    record(tmp_path, emulator)
    found = find_place(profile=None, local=True, start=tmp_path, state=tmp_path)
    assert (found.profile, found.project, found.credentials) == ("local", "headway-local", "anonymous")
    assert found.endpoints["storage"] == emulator
    assert found.endpoints["aiplatform"] == f"{emulator}/aiplatform"
    assert found.service_account is None


def test_no_proxy_lies_between_a_command_and_the_stack(
    tmp_path: Path, emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "intranet")
    record(tmp_path, emulator)
    assert read_local_place(tmp_path) is not None
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "intranet,127.0.0.1,mlflow"
    assert requests.get(emulator, timeout=5).ok


def test_looking_for_a_stack_that_is_not_up_starts_nothing(tmp_path: Path, launcher: Path) -> None:
    launcher.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n", encoding="utf-8")
    assert look_for_place(profile=None, local=True, start=tmp_path, state=tmp_path) is None
    assert not (tmp_path / "started").exists()


def test_local_and_a_profile_are_not_both_meant(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        look_for_place(profile="prod", local=True, start=tmp_path, state=tmp_path)


def test_a_profile_is_found_beside_the_config_however_it_is_named(tmp_path: Path) -> None:
    place(tmp_path, PROD)
    (tmp_path / "config.yaml").write_text("name: x\n", encoding="utf-8")
    for start in (tmp_path, tmp_path / "config.yaml"):
        assert find_place(profile=None, local=False, start=start, state=tmp_path).project == "p"


def test_a_stranger_on_the_stacks_port_is_not_the_stack(tmp_path: Path, emulator: str) -> None:
    record(tmp_path, emulator, nonce="another")
    assert read_local_place(tmp_path) is None


@pytest.mark.parametrize("text", [None, "", "[]", "{}", "{half"])
def test_no_record_or_a_broken_one_is_no_stack(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "local").mkdir()
        (tmp_path / "local" / "stack.json").write_text(text, encoding="utf-8")
    assert read_local_place(tmp_path) is None


def test_a_stack_that_is_gone_is_no_place(tmp_path: Path) -> None:
    record(tmp_path, "http://127.0.0.1:1")
    assert read_local_place(tmp_path) is None


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the launcher's place; the test writes what it does."""
    program = tmp_path / "launcher"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return program


def test_a_stack_that_is_not_there_is_started(tmp_path: Path, emulator: str, launcher: Path) -> None:
    record(tmp_path / "made", emulator)
    asked = '[ "$*" = "-m headway_launcher local up --json" ]'
    launcher.write_text(
        f'#!/bin/sh\n{asked} && mv {tmp_path}/made/local "$HEADWAY_STATE"/\n', encoding="utf-8"
    )
    (tmp_path / "state").mkdir()
    assert find_place(profile=None, local=True, start=tmp_path, state=tmp_path / "state").profile == "local"


def test_what_the_start_remarks_is_not_lost(
    tmp_path: Path, emulator: str, launcher: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, emulator)
    launcher.write_text("#!/bin/sh\necho 'jobs run as plain processes' >&2\n", encoding="utf-8")
    stack.start(tmp_path)
    assert capfd.readouterr().err == "jobs run as plain processes\n"


def test_ctrl_c_during_the_start_ends_it_and_says_so(
    tmp_path: Path, launcher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    began: list[subprocess.Popen[bytes]] = []
    wait = subprocess.Popen.wait

    def interrupted(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if not began:
            began.append(process)
            raise KeyboardInterrupt
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(Interrupted, match="stopped while the local stack was starting"):
        stack.start(tmp_path)
    assert began[0].poll() is not None


def test_the_starts_own_error_is_passed_on(tmp_path: Path, launcher: Path) -> None:
    told = {"error": {"message": "the disk is full", "hint": "free some", "exit_code": 3}}
    launcher.write_text(f"#!/bin/sh\necho '{json.dumps(told)}'\nexit 3\n", encoding="utf-8")
    with pytest.raises(MachineError) as caught:
        stack.start(tmp_path)
    assert str(caught.value) == "the disk is full\n→ free some"


def test_a_start_that_dies_shows_its_last_words(tmp_path: Path, launcher: Path) -> None:
    launcher.write_text("#!/bin/sh\necho 'boom' >&2\nexit 9\n", encoding="utf-8")
    with pytest.raises(MachineError, match=r"did not start \(exit code 9\)") as caught:
        stack.start(tmp_path)
    assert caught.value.details == ("boom",)


def test_a_start_that_hangs_is_ended_at_its_deadline(tmp_path: Path, launcher: Path) -> None:
    launcher.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    with pytest.raises(DeadlinePassed, match="did not start within"):
        stack.start(tmp_path, deadline=0.2)


def test_a_start_whose_servers_keep_its_output_open_is_not_waited_for(tmp_path: Path, launcher: Path) -> None:
    launcher.write_text("#!/bin/sh\nsleep 2 &\nexit 4\n", encoding="utf-8")
    with pytest.raises(HeadwayError) as caught:
        stack.start(tmp_path, deadline=1.5)
    assert caught.value.exit_code is ExitCode.MACHINE


def test_the_state_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path / "mine"))
    assert default_state() == tmp_path / "mine"
    monkeypatch.delenv("HEADWAY_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state() == tmp_path / "headway"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_state() == tmp_path / ".local" / "state" / "headway"


def test_a_server_that_speaks_no_http_is_not_the_stack(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail ready\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        record(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert read_local_place(tmp_path) is None
        thread.join(5)
