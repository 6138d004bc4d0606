"""The stack's verbs, over stand-in servers that start in a moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import threading
import time
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from headway.errors import DeadlinePassed, MachineError
from headway_launcher.stack import lifecycle, lock, processes, start
from headway_launcher.stack.record import Folder, Record, Server

from .conftest import FakeStack


def server_of(record: Record, name: str) -> Server:
    server = record.server(name)
    assert server is not None
    return server


def kill(record: Record, name: str) -> None:
    process = psutil.Process(server_of(record, name).pid)
    process.kill()
    process.wait(5)


def test_up_starts_three_healthy_servers_and_publishes_the_record(fake_stack: FakeStack) -> None:
    record = fake_stack.up()

    assert fake_stack.states() == {"storage": "healthy", "emulator": "healthy", "mlflow": "healthy"}
    document = json.loads((fake_stack.root / "stack.json").read_text())
    assert document == json.loads(json.dumps(record.document()))
    assert document["emulator_url"] == f"http://127.0.0.1:{server_of(record, 'emulator').port}"
    assert document["executor"] == "process"
    assert not (fake_stack.root / "starting.json").exists()


def test_up_creates_the_bucket_in_its_region_through_the_emulator(fake_stack: FakeStack) -> None:
    fake_stack.up()

    path, _, body = posted(fake_stack)[0].partition(" ")
    assert path == "/storage/v1/b?project=headway-local"
    assert json.loads(body)["location"] == "US-CENTRAL1"


def test_up_creates_the_repository_of_the_images(fake_stack: FakeStack) -> None:
    fake_stack.up()

    path, _, body = posted(fake_stack)[1].partition(" ")
    assert path.endswith("/locations/us-central1/repositories?repositoryId=headway")
    assert json.loads(body) == {"format": "DOCKER"}


def posted(stack: FakeStack) -> list[str]:
    return (stack.root / "posted.log").read_text().splitlines()


def test_jobs_inherit_nothing_that_launch_sets_for_its_own_quick_start(
    fake_stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "__all__")
    emulator = server_of(fake_stack.up(), "emulator")

    assert "PYDANTIC_DISABLE_PLUGINS" not in psutil.Process(emulator.pid).environ()


def test_without_an_engine_it_says_in_one_line_that_jobs_are_processes(fake_stack: FakeStack) -> None:
    fake_stack.up()

    assert fake_stack.said == [
        "no Docker engine answers: jobs run as plain processes on this machine, not in containers"
    ]


def test_a_required_engine_that_is_missing_is_an_error(fake_stack: FakeStack) -> None:
    with pytest.raises(MachineError, match="no Docker engine answers"):
        fake_stack.up(require_docker=True)
    assert not (fake_stack.root / "stack.json").exists()


def test_up_again_starts_nothing_and_is_quick(fake_stack: FakeStack) -> None:
    first = fake_stack.up()
    began = time.monotonic()

    assert fake_stack.up() == first
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("name", ["storage", "emulator", "mlflow"])
def test_a_crashed_server_is_named_and_restarted_alone_on_its_port(fake_stack: FakeStack, name: str) -> None:
    before = fake_stack.up()
    kill(before, name)
    assert fake_stack.states()[name] == "crashed"

    after = fake_stack.up()

    assert set(fake_stack.states().values()) == {"healthy"}
    assert server_of(after, name).port == server_of(before, name).port
    assert server_of(after, name).pid != server_of(before, name).pid
    others = {"storage", "emulator", "mlflow"} - {name}
    assert all(server_of(after, other) == server_of(before, other) for other in others)


def test_status_shows_the_last_lines_of_a_crashed_server(fake_stack: FakeStack) -> None:
    kill(fake_stack.up(), "mlflow")

    crashed = next(s for s in lifecycle.status(fake_stack.root)[1] if s.name == "mlflow")
    assert crashed.last_lines[0] == "mlflow begins"


def test_a_server_that_hangs_is_seen_and_replaced(fake_stack: FakeStack) -> None:
    before = fake_stack.up()
    os.kill(server_of(before, "storage").pid, signal.SIGSTOP)
    assert fake_stack.states()["storage"] == "unhealthy"

    fake_stack.up()
    assert set(fake_stack.states().values()) == {"healthy"}


def test_a_server_that_is_only_slow_is_left_running(fake_stack: FakeStack) -> None:
    """A busy machine: to restart the emulator would break the submits of all the others."""
    before = fake_stack.up()
    slow = server_of(before, "emulator").pid
    os.kill(slow, signal.SIGSTOP)
    assert fake_stack.states()["emulator"] == "unhealthy"

    awake = threading.Timer(1.0, os.kill, (slow, signal.SIGCONT))
    awake.start()
    after = fake_stack.up()
    awake.join()
    assert after == before


def test_down_ends_all_servers_and_keeps_data_and_ports(fake_stack: FakeStack) -> None:
    before = fake_stack.up()
    (fake_stack.root / "storage" / "object").write_text("kept")

    assert fake_stack.down()
    assert not any(processes.find(s.pid, s.create_time) for s in before.servers)
    assert set(fake_stack.states().values()) == {"stopped"}
    assert not fake_stack.down()

    after = fake_stack.up()
    assert (fake_stack.root / "storage" / "object").read_text() == "kept"
    assert after.emulator_url == before.emulator_url
    assert after.nonce != before.nonce


def test_down_leaves_a_stranger_with_a_recorded_pid_alone(fake_stack: FakeStack) -> None:
    record = fake_stack.up()
    folder = Folder(fake_stack.root)
    stranger = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    stranger.start()
    try:
        emulator = server_of(record, "emulator")
        forged = Server(**{**vars(emulator), "pid": stranger.pid, "create_time": 1.0})
        servers = (forged, *(s for s in record.servers if s.name != "emulator"))
        folder.write(Record(**{**vars(record), "servers": servers}), finished=True)

        fake_stack.down()
        assert stranger.is_alive()
        processes.end([psutil.Process(emulator.pid)])
    finally:
        stranger.terminate()
        stranger.join()


def test_a_port_taken_meanwhile_is_said_and_another_one_chosen(fake_stack: FakeStack) -> None:
    before = fake_stack.up()
    fake_stack.down()
    port = server_of(before, "mlflow").port
    with socket.create_server(("127.0.0.1", port)):
        after = fake_stack.up()

    assert server_of(after, "mlflow").port != port
    assert f"port {port} is taken by {psutil.Process().name()} (pid {os.getpid()}): mlflow gets" in "\n".join(
        fake_stack.said
    )


def test_a_wished_port_that_is_taken_is_an_error_naming_the_holder(fake_stack: FakeStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(MachineError, match=rf"port {port} is taken by .* \(pid {os.getpid()}\)"):
            fake_stack.up(port=port)
    assert set(fake_stack.states().values()) == {"stopped"}


def test_a_wished_port_moves_the_emulator(fake_stack: FakeStack) -> None:
    port = server_of(fake_stack.up(), "emulator").port
    other = port + 1000

    assert fake_stack.up(port=other).emulator_url.endswith(f":{other}")
    assert set(fake_stack.states().values()) == {"healthy"}


def test_a_server_that_ends_at_once_is_an_error_with_its_last_lines(fake_stack: FakeStack) -> None:
    fake_stack.root.mkdir()
    fake_stack.break_server("mlflow")

    with pytest.raises(MachineError, match="mlflow ended while it was starting") as caught:
        fake_stack.up()

    assert caught.value.details[-1] == "mlflow: cannot open its database"
    assert set(fake_stack.states().values()) == {"stopped"}
    children = psutil.Process().children()
    assert not [child for child in children if "fake_server.py" in " ".join(child.cmdline())]


def test_a_port_lost_between_look_and_bind_is_replaced(
    fake_stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = start._start
    thieves: list[socket.socket] = []

    def steal_first(command: object, started: object) -> Server:
        if not thieves:
            thieves.append(socket.create_server(("127.0.0.1", command.port)))  # type: ignore[attr-defined]
        return begin(command, started)  # type: ignore[arg-type]

    monkeypatch.setattr(start, "_start", steal_first)
    record = fake_stack.up()
    assert server_of(record, "storage").port != thieves[0].getsockname()[1]
    thieves[0].close()


def test_an_unwritable_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(MachineError, match="file/local cannot be written"):
        lifecycle.up(tmp_path / "file" / "local", lifecycle.Wish(), print)


def test_a_nearly_full_disk_is_an_error_that_says_how_full(
    fake_stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**10, 10**10, 40 * 2**20))

    with pytest.raises(MachineError, match="the disk is nearly full: 40 MB free"):
        fake_stack.up()


def test_reset_deletes_everything(fake_stack: FakeStack) -> None:
    record = fake_stack.up()

    assert lifecycle.reset(fake_stack.root, fake_stack.said.append)
    assert not fake_stack.root.exists()
    assert not any(processes.find(s.pid, s.create_time) for s in record.servers)


def test_a_second_command_waits_for_the_first_up_to_a_deadline(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "local.lock"
    with (
        lock.held(path, said.append),
        pytest.raises(DeadlinePassed, match="another `launch local` command"),
        lock.held(path, said.append, deadline=0.2),
    ):
        raise AssertionError("both hold the lock")
    assert said == ["waiting for another `launch local` command to finish"]


def test_an_up_that_was_killed_midway_is_continued(fake_stack: FakeStack) -> None:
    record = fake_stack.up()
    folder = Folder(fake_stack.root)
    (fake_stack.root / "stack.json").unlink()
    partial = Record(**{**vars(record), "servers": record.servers[:2]})
    folder.write(partial, finished=False)
    processes.end([psutil.Process(server_of(record, "mlflow").pid)])

    after = fake_stack.up()
    assert after.servers[:2] == record.servers[:2]
    assert set(fake_stack.states().values()) == {"healthy"}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'{"half', b"[]"])
def test_a_record_that_is_torn_is_no_stack_and_no_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stack.json").write_bytes(content)
    assert Folder(tmp_path).read() is None
