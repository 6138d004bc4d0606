"""`gcloud builds` as it is, on both executors, wired by environment variables alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.command_line import NEEDS_GCLOUD, Gcloud
from tests.contract.conftest import build_client, on_both_executors
from tests.contract.servers import PROJECT, Emulator, until
from tests.contract.test_builds import ended

pytestmark = NEEDS_GCLOUD
NAME = "python:3.11-slim"
QUIET = {"logging": "CLOUD_LOGGING_ONLY"}
"""gcloud reads a log in a bucket from storage.googleapis.com itself, which no endpoint variable changes."""


emulator = on_both_executors()
"""Every test here is made twice: with processes and with containers."""


def config(folder: Path, **build: Any) -> str:
    """A build config file, in JSON, which YAML contains."""
    path = folder / "cloudbuild.json"
    path.write_text(json.dumps(build))
    return str(path)


def test_a_folder_is_submitted_and_built(gcloud: Gcloud, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "hello.txt").write_text("from the folder")
    made = config(
        tmp_path,
        steps=[{"name": NAME, "script": '[ "$(cat hello.txt) $_WHO" = "from the folder me" ]'}],
        substitutions={"_WHO": "nobody"},
        options={**QUIET, "automapSubstitutions": True},
    )
    words = ("builds", "submit", str(folder), f"--config={made}", "--substitutions=_WHO=me")
    build = gcloud.json(*words)
    assert (build["status"], build["substitutions"]) == ("SUCCESS", {"_WHO": "me"})


def test_a_build_without_source_goes_on_without_the_caller(
    gcloud: Gcloud, emulator: Emulator, tmp_path: Path
) -> None:
    """`--async` gives the build at once; describe and list find it."""
    made = config(tmp_path, steps=[{"name": NAME, "script": "true"}], tags=["by-gcloud"])
    begun = gcloud.json("builds", "submit", "--no-source", f"--config={made}", "--async")
    ended(emulator, begun["id"])
    assert gcloud.json("builds", "describe", begun["id"])["status"] == "SUCCESS"
    listed = gcloud.json("builds", "list", "--filter=tags=by-gcloud AND status=SUCCESS")
    assert begun["id"] in [build["id"] for build in listed]


def test_a_failed_build_is_a_failed_command(gcloud: Gcloud, tmp_path: Path) -> None:
    made = config(tmp_path, steps=[{"name": NAME, "script": "exit 3"}], options=QUIET)
    with pytest.raises(AssertionError, match=r'build .* completed with status "FAILURE"'):
        gcloud("builds", "submit", "--no-source", f"--config={made}")


def test_a_bad_build_is_refused_in_google_s_words(gcloud: Gcloud, tmp_path: Path) -> None:
    made = config(tmp_path, steps=[{"name": NAME, "args": ["$_NONE"]}])
    with pytest.raises(
        AssertionError, match="INVALID_ARGUMENT: generic::invalid_argument: key in the template"
    ):
        gcloud("builds", "submit", "--no-source", f"--config={made}")


def test_a_running_build_is_listed_and_cancelled(gcloud: Gcloud, emulator: Emulator, tmp_path: Path) -> None:
    made = config(tmp_path, steps=[{"name": NAME, "script": "sleep 120"}])
    begun = gcloud.json("builds", "submit", "--no-source", f"--config={made}", "--async")
    client = build_client(emulator)
    until(lambda: client.get_build(project_id=PROJECT, id=begun["id"]).status.name == "WORKING")
    assert begun["id"] in [build["id"] for build in gcloud.json("builds", "list", "--ongoing")]
    gcloud("builds", "cancel", begun["id"])
    assert ended(emulator, begun["id"]).status.name == "CANCELLED"


def test_a_trigger_is_imported_run_described_and_deleted(
    gcloud: Gcloud, emulator: Emulator, tmp_path: Path
) -> None:
    trigger = {
        "name": "by-gcloud",
        "build": {"steps": [{"name": NAME, "env": ["A=$_A"], "script": '[ "$A" = told ]'}], "options": QUIET},
        "substitutions": {"_A": "untold"},
    }
    path = tmp_path / "trigger.json"
    path.write_text(json.dumps(trigger))
    gcloud("builds", "triggers", "import", f"--source={path}")
    assert "by-gcloud" in [one["name"] for one in gcloud.json("builds", "triggers", "list")]
    described = gcloud.json("builds", "triggers", "describe", "by-gcloud")
    operation = gcloud.json("builds", "triggers", "run", "by-gcloud", "--substitutions=_A=told")
    done = ended(emulator, operation["metadata"]["build"]["id"])
    assert (done.status.name, done.build_trigger_id) == ("SUCCESS", described["id"])
    gcloud("builds", "triggers", "delete", "by-gcloud")
    assert "by-gcloud" not in [one["name"] for one in gcloud.json("builds", "triggers", "list")]


def test_a_manual_trigger_is_created_from_an_inline_build(
    gcloud: Gcloud, emulator: Emulator, tmp_path: Path
) -> None:
    """And deleted by its region's path, which this command names."""
    made = config(tmp_path, steps=[{"name": NAME, "script": "true"}], options=QUIET)
    region = "--region=us-central1"
    gcloud("builds", "triggers", "create", "manual", "--name=inline", f"--inline-config={made}", region)
    operation = gcloud.json("builds", "triggers", "run", "inline", region)
    build = operation["metadata"]["build"]
    client = build_client(emulator)

    def over() -> bool:
        return str(client.get_build(request={"name": build["name"]}).status.name) == "SUCCESS"

    until(over)
    gcloud("builds", "triggers", "delete", "inline", region)
    assert gcloud.json("builds", "triggers", "list", region) == []
