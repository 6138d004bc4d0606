"""`launch local env`: lines for shells and for Docker, from an emulator's answer."""

from __future__ import annotations

import json
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from headway.errors import MachineError
from headway_launcher.main import run
from headway_launcher.stack import variables
from headway_launcher.stack.record import Folder, Record

ANSWER: dict[str, Any] = {
    "way": "transparent",
    "set": {"https_proxy": "http://127.0.0.1:1", "CLOUDSDK_CONFIG": "/a folder/it's"},
    "unset": ["GOOGLE_APPLICATION_CREDENTIALS"],
    "mounts": {},
}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A record that leads to a stand-in emulator; `asked` are the paths it was asked for."""
    asked: list[str] = []

    class Emulator(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Not to the terminal."""

    server = HTTPServer(("127.0.0.1", 0), Emulator)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path))
    folder = Folder(tmp_path / "local")
    folder.root.mkdir()
    folder.write(_record(f"http://127.0.0.1:{server.server_port}"), finished=True)
    yield asked
    server.shutdown()
    server.server_close()


def test_a_shell_gets_each_value_whole(stack: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["local", "env"]) == 0

    script = (
        capsys.readouterr().out + '\nprintf "%s\\n" "$https_proxy" "$CLOUDSDK_CONFIG" "$MLFLOW_TRACKING_URI"'
    )
    script += '\nprintf "%s\\n" "${GOOGLE_APPLICATION_CREDENTIALS-gone}"'
    env = {"GOOGLE_APPLICATION_CREDENTIALS": "/real/key.json"}
    seen = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=env).stdout
    assert seen.splitlines() == ["http://127.0.0.1:1", "/a folder/it's", "http://mlflow", "gone"]
    assert stack == ["/emulator/env?way=transparent"]


def test_unset_takes_back_what_was_set_even_when_the_stack_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path))
    before = {"https_proxy": "http://my company's:3128", "MLFLOW_TRACKING_URI": None}
    monkeypatch.setenv(variables.BEFORE, json.dumps(before))

    assert run(["local", "env", "--unset"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "unset MLFLOW_TRACKING_URI",
        f"unset {variables.BEFORE}",
        """export https_proxy='http://my company'"'"'s:3128'""",
    ]


def test_what_was_there_before_comes_back_however_often_it_was_set(stack: list[str]) -> None:
    before = {"https_proxy": "http://company:3128", "GOOGLE_APPLICATION_CREDENTIALS": "/real/key.json"}
    record = Folder(Path(_state())).read()
    once = variables.fetch(record, "transparent", before).set
    twice = variables.fetch(record, "transparent", {**before, **once}).set
    back = variables.taken_back(twice)
    assert back.set == before
    assert set(back.unset) == set(twice) - set(before)
    assert variables.taken_back(before) == variables.Variables({})


def test_each_way_is_asked_for(stack: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run(["local", "env", "--explicit", "--json"])
    assert json.loads(capsys.readouterr().out)["set"]["MLFLOW_TRACKING_URI"] == "http://mlflow"
    run(["local", "env", "--format", "docker"])
    assert capsys.readouterr().out.startswith("--network headway --env https_proxy=")
    run(["local", "env", "--format", "fish"])
    assert "set -gx https_proxy http://127.0.0.1:1\n" in capsys.readouterr().out
    ways = [path.rpartition("=")[2] for path in stack]
    assert ways == ["explicit", "container", "transparent"]


def test_for_docker_files_are_mounted_read_only() -> None:
    found = variables.Variables({"A": "b c"}, mounts={"/state/bundle.pem": "/etc/bundle.pem"})
    (line,) = variables.lines(found, "docker")
    assert line == "--network host --env 'A=b c' --volume /state/bundle.pem:/etc/bundle.pem:ro"


def test_a_stack_that_is_not_up_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADWAY_STATE", str(tmp_path))
    assert run(["local", "env"]) == 3
    assert "launch local up" in capsys.readouterr().err
    with pytest.raises(MachineError, match="does not answer"):
        variables.fetch(_record("http://127.0.0.1:1"), "transparent")


def _state() -> str:
    from headway.config.profile import default_state

    return str(default_state() / "local")


def _record(url: str) -> Record:
    return Record(
        project="p",
        project_number="1",
        region="us-central1",
        bucket="b",
        dvc_remote="gs://b/dvc",
        tracking_uri="http://mlflow",
        emulator_url=url,
        mlflow_url="http://mlflow",
        executor="docker",
        network="headway",
        subnet=None,
        nonce="n",
        servers=(),
    )
