"""A secret reaches the training process, and nothing else."""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Launcher, wheels


def post(url: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.status == 200


@pytest.mark.docker
@pytest.mark.slow
def test_a_secret_is_an_environment_variable_of_the_training_and_stands_nowhere_else(
    launch: Launcher, tiny: Path
) -> None:
    stack = json.loads((launch.state / "local" / "stack.json").read_text())
    secrets = f"{stack['emulator_url']}/secretmanager/v1/projects/{stack['project']}/secrets"
    post(f"{secrets}?secretId=api-key", {"replication": {"automatic": {}}})
    value = "correct horse battery staple"
    payload = {"data": base64.b64encode(value.encode()).decode()}
    post(f"{secrets}/api-key:addVersion", {"payload": payload})

    (tiny / "train.py").write_text(
        "import hashlib, os\nprint('key', hashlib.sha256(os.environ['API_KEY'].encode()).hexdigest())\n"
    )
    config = str(tiny / "config.yaml")
    view = launch.json("submit", "--local", config, *wheels(), "environment.secrets={API_KEY: api-key}")
    assert view["state"] == "succeeded"

    import hashlib

    log = launch("logs", "--local", view["run_id"]).stdout
    assert f"key {hashlib.sha256(value.encode()).hexdigest()}" in log
    assert value not in log
    kept = launch.state / "local" / "storage"
    assert not [path for path in kept.rglob("*") if path.is_file() and value.encode() in path.read_bytes()]
