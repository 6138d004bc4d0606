"""Cloud Functions without a server: when a process begins and ends, and what a source asks for."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest

from headway_emulator.engine.clock import SystemClock
from headway_emulator.engine.functions import source
from headway_emulator.engine.functions.functions import KIND, Functions, NotServed, Revision
from headway_emulator.engine.functions.instance import Instance, NotStarted
from headway_emulator.engine.functions.log import FunctionLog
from headway_emulator.engine.objects import Objects
from headway_emulator.engine.store import Document, LogQuery, Store
from headway_emulator.errors import ApiError
from headway_emulator.services.cloudfunctions import rules
from tests.unit.emulator.test_killed_schedules import settings

NAME = "projects/headway-local/locations/us-central1/functions/tick"
CODE = "import os\ndef go(request):\n    return str(os.getpid())\n"


class Archive(Objects):
    """One object, whatever is asked for."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "headway-local")

    def fetch(self, bucket: str, name: str, generation: str, target: Path) -> str:
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("main.py", CODE)
        return "7"


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    given = settings(tmp_path)
    store, clock = Store(tmp_path / "state.sqlite3"), SystemClock()
    made = Functions(given, store, clock, Archive(), idle_seconds=0.5)
    yield made
    made.close()
    clock.close()
    store.close()


def checked(functions: Functions) -> Document:
    build = {"runtime": "python311", "entryPoint": "go"}
    build["source"] = {"storageSource": {"bucket": "b", "object": "o"}}  # type: ignore[assignment]
    function: Document = {"name": NAME, "buildConfig": build, "serviceConfig": {}}
    return rules.checked(functions._settings, function)


def deployed(functions: Functions) -> None:
    functions.create(checked(functions))
    until(lambda: (functions._store.get(KIND, NAME) or {})["state"] != "DEPLOYING")


def entered(functions: Functions) -> Instance:
    """As a call enters: it waits for an instance that is being started, and asks again."""
    for _ in range(3):
        _, found = functions.enter(NAME)
        if isinstance(found, Instance):
            return found
        found.result(60)
    raise AssertionError("its process ends again and again")


def until(question: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_an_idle_process_is_ended_and_the_next_call_starts_another(functions: Functions) -> None:
    deployed(functions)
    first = entered(functions)
    assert entered(functions) is first
    first.leave()
    time.sleep(0.8)
    assert first.alive, "somebody is still calling"
    assert httpx.get(f"http://127.0.0.1:{first.port}/").status_code == 200
    first.leave()
    until(lambda: not first.alive)
    second = entered(functions)
    assert second is not first
    functions.close()
    assert not second.alive
    with pytest.raises(NotStarted):
        entered(functions)


def test_a_process_that_is_being_started_beside_another_is_ended_with_the_emulator(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One begins its process only when another is known already."""
    first, second = (Revision(f"tick-0000{n}-abc", n, checked(functions)) for n in (1, 2))
    for revision in (first, second):
        functions._folder(revision).mkdir(parents=True)
    started: list[Instance] = []

    def start(instance: Instance, *_: object) -> None:
        started.append(instance)
        if len(started) == 1:
            functions._start(NAME, second)

    monkeypatch.setattr(Instance, "start", start)
    functions._start(NAME, first)
    assert functions._all == set(started)


@pytest.mark.parametrize("deleted", [False, True], ids=["replaced", "deleted"])
def test_an_instance_that_began_while_its_revision_was_replaced_or_deleted_is_ended(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    deployed(functions)
    old, first = functions.enter(NAME)
    assert isinstance(first, Instance)
    first.kill()
    until(lambda: first.over)
    begun, go_on = threading.Event(), threading.Event()
    real = Instance.start

    def start(instance: Instance, folder: Path, *more: Any) -> None:
        if folder.name == old.name:
            real(instance, folder, *more)
            begun.set()
            assert go_on.wait(60)
            return
        real(instance, folder, *more)

    monkeypatch.setattr(Instance, "start", start)
    _, coming = functions.enter(NAME)
    assert isinstance(coming, Future)
    assert functions.enter(NAME)[1] is coming, "it is started once for all that wait"
    assert begun.wait(60)
    if deleted:
        functions.delete(NAME)
    else:
        functions.update(checked(functions))
        until(lambda: functions.revision(NAME).name != old.name)
        until(lambda: not functions._folder(old).exists())
    go_on.set()
    coming.result(60)
    until(lambda: not [one for one in functions._all if one.alive] or not deleted)
    if not deleted:
        new, second = functions.enter(NAME)
        assert isinstance(second, Instance)
        assert new.name != old.name
        until(lambda: [one for one in functions._all if one.alive] == [second])
    assert old.name not in functions._instances


def test_a_function_that_was_never_deployed_is_not_served(functions: Functions) -> None:
    with pytest.raises(NotServed):
        functions.revision(NAME)


def test_requirements_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("pytest\n-r requirements.txt\n")
    (tmp_path / "requirements.txt").write_text(
        "# packages\n--index-url https://example.com\nhttpx >= 0.1 # why\n"
        "not-there==1 ; python_version < '3'\n"
        "psutil \\\n  >= 1\n\n-r more.txt\n-r ../elsewhere.txt\nnowhere[extra]>=2 --hash=sha256:00\n"
    )
    wanted = list(source.requirements(tmp_path))
    assert wanted == [
        "httpx >= 0.1",
        "not-there==1 ; python_version < '3'",
        "psutil >= 1",
        "nowhere[extra]>=2",
        "pytest",
    ]
    (tmp_path / "main.py").write_text(CODE)
    with pytest.raises(source.BuildFailed, match=r"does not have: nowhere\[extra\]>=2 \(not installed\)\."):
        source.check(tmp_path)


class Given(Archive):
    """These bytes, whatever is asked for."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content

    def fetch(self, bucket: str, name: str, generation: str, target: Path) -> str:
        target.write_bytes(self.content)
        return "7"


def test_an_archive_that_is_damaged_or_locked_is_the_build_s_failure(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("main.py", CODE * 20)
    content = whole.getvalue()
    at = 30 + len("main.py")
    damaged = content[:at] + b"\xff" * 20 + content[at + 20 :]
    locked = bytearray(content)
    locked[6] |= 1
    locked[content.index(b"PK\x01\x02") + 8] |= 1
    strange = bytearray(content)
    strange[8] = strange[content.index(b"PK\x01\x02") + 10] = 97
    for each in (damaged, bytes(locked), bytes(strange)):
        with pytest.raises(source.BuildFailed, match="gs://b/o cannot be unpacked"):
            source.fetch(Given(each), {"bucket": "b", "object": "o"}, tmp_path / "source")


@pytest.mark.parametrize(
    "line",
    [
        '{"message": "hello", "logging.googleapis.com/labels": "red"}',
        '{"message": "hello", "logging.googleapis.com/labels": {"colour": 1}}',
        '{"message": "hello", "logging.googleapis.com/trace": 5}',
        '{"message": "hello", "logging.googleapis.com/sourceLocation": "main.py:3"}',
        '{"a":' * 20000,
    ],
)
def test_a_line_with_fields_of_other_kinds_is_logged_as_it_is(functions: Functions, line: str) -> None:
    FunctionLog(functions._store, functions._clock, NAME, "tick-00001-abc").line("stdout", line)
    (entry,) = functions._store.logs(LogQuery(), 9)
    assert "hello" in json.dumps(entry.more) or entry.more["textPayload"] == line
    assert entry.more["labels"] == {"goog-managed-by": "cloudfunctions"}
    assert not {"trace", "sourceLocation"} & entry.more.keys()


@pytest.mark.parametrize(
    "mask", ["description.x", "buildConfig.runtime.x", "labels.a.b", "serviceConfig.uri.a.b"]
)
def test_a_mask_that_goes_on_below_a_value_is_refused(functions: Functions, mask: str) -> None:
    function = {**checked(functions), "description": "x", "labels": {"a": "b"}}
    with pytest.raises(ApiError, match="Invalid update mask"):
        rules.changed(function, {"labels": {"c": "d"}}, mask)
    assert rules.changed(function, {"labels": {"c": "d"}}, "labels.c")["labels"] == {"a": "b", "c": "d"}
