"""The data's last version: noted after a push, kept where nothing changed, and left to a later push."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from headway.config import Loaded, load
from headway.data import transfer
from headway.errors import RemoteError
from headway.jobs.pushing import push_data
from headway.jobs.versions import brought_up_to_date, last_version
from headway.spec.plan import DataPin
from tests.unit.jobs.fakes import PLACE, MemoryPlace


@pytest.fixture
def world() -> MemoryPlace:
    return MemoryPlace()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Loaded]:
    """The project with its data at that version; sending it takes nothing."""
    monkeypatch.setattr(transfer, "push", lambda root, paths, place: None)
    (tmp_path / "config.yaml").write_text("name: tiny\nentrypoint: train.py\ndata: [data]\n")

    def at(md5: str) -> Loaded:
        (tmp_path / "data.dvc").write_text(
            f"outs:\n- md5: {md5 * 32}\n  size: 3\n  hash: md5\n  path: data\n"
        )
        return load(tmp_path / "config.yaml")

    return at


def test_what_was_pushed_last_is_the_last_version(
    world: MemoryPlace, project: Callable[[str], Loaded]
) -> None:
    assert last_version("tiny", world.services) is None
    for md5 in "ab":
        push_data(project(md5), PLACE, services=world.services)
        found = last_version("tiny", world.services)
        assert found is not None
        assert [pin.md5 for pin in found.pins] == [md5 * 32]
    assert list(world.store.objects) == ["headway/data/tiny/pins.json"]


def test_a_push_of_what_is_there_already_keeps_the_time(
    world: MemoryPlace, project: Callable[[str], Loaded]
) -> None:
    first = push_data(project("a"), PLACE, services=world.services)
    assert push_data(project("a"), PLACE, services=world.services) == first


def test_an_older_version_that_is_sent_again_is_the_last_one_again(
    world: MemoryPlace, project: Callable[[str], Loaded]
) -> None:
    for md5 in "aba":
        push_data(project(md5), PLACE, services=world.services)
    found = last_version("tiny", world.services)
    assert found is not None
    assert found.pins[0].md5 == "a" * 32


def test_of_two_pushes_at_the_same_time_the_one_that_began_later_wins(
    world: MemoryPlace, project: Callable[[str], Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = project("a"), "b"

    def other_meanwhile(*_: object) -> None:
        monkeypatch.setattr(transfer, "push", lambda root, paths, place: None)
        push_data(project(quick), PLACE, services=world.services)

    push_data(project("c"), PLACE, services=world.services)
    project("a")
    monkeypatch.setattr(transfer, "push", other_meanwhile)
    told = push_data(slow, PLACE, services=world.services)
    found = last_version("tiny", world.services)
    assert found is not None
    assert found.pins[0].md5 == "b" * 32
    assert told == found


def test_a_push_that_began_later_wins_also_where_the_one_before_ends_first(
    world: MemoryPlace, project: Callable[[str], Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    push_data(project("c"), PLACE, services=world.services)
    later_began, earlier_done = threading.Event(), threading.Event()

    def later_is_sent(*_: object) -> None:
        later_began.set()
        assert earlier_done.wait(10)

    later = threading.Thread(target=lambda: push_data(newer, PLACE, services=world.services))

    def earlier_is_sent(*_: object) -> None:
        monkeypatch.setattr(transfer, "push", later_is_sent)
        project("b")
        later.start()
        assert later_began.wait(10)

    newer = project("a")
    monkeypatch.setattr(transfer, "push", earlier_is_sent)
    push_data(newer, PLACE, services=world.services)
    earlier_done.set()
    later.join(10)
    found = last_version("tiny", world.services)
    assert found is not None
    assert found.pins[0].md5 == "b" * 32


def test_a_push_that_failed_notes_nothing(
    world: MemoryPlace, project: Callable[[str], Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RemoteError("no")

    monkeypatch.setattr(transfer, "push", fail)
    with pytest.raises(RemoteError):
        push_data(project("a"), PLACE, services=world.services)
    assert world.store.objects == {}


def test_paths_that_were_never_pushed_stay_at_the_version_of_the_plan(
    world: MemoryPlace, project: Callable[[str], Loaded]
) -> None:
    version = push_data(project("b"), PLACE, services=world.services)
    pins = [DataPin(path=path, md5="a" * 32, size=1, files=1) for path in ("data", "labels.csv")]
    found = brought_up_to_date(pins, version)
    assert [(pin.path, pin.md5[0]) for pin in found] == [("data", "b"), ("labels.csv", "a")]
    assert brought_up_to_date(pins, None) == tuple(pins)
