"""Why a run is another: the files, packages, data versions and keys that differ, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headway.errors import NotFound
from headway.jobs import submission
from headway.jobs.why import Why, why_anew, why_two
from tests.unit.jobs.fakes import PLACE, MemoryPlace

DVC = "outs:\n- md5: {md5}\n  size: 3\n  hash: md5\n  path: data\n"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> MemoryPlace:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("headway.data.remote.missing", lambda *_: [])
    return MemoryPlace()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "model.py").write_text("LAYERS = 2\n")
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\nnumpy==2.2.0\n")
    (tmp_path / "data.dvc").write_text(DVC.format(md5="a" * 32))
    path = tmp_path / "config.yaml"
    path.write_text("name: tiny\nentrypoint: train.py\nargs: {lr: 0.1}\ndata: [data]\n")
    return path


def submit(config: Path, world: MemoryPlace, *words: str) -> str:
    return submission.submit(config, overrides=words, place=PLACE, services=world.services).run_id


def between(world: MemoryPlace, before: str, after: str) -> list[tuple[str, str, str | None, str | None]]:
    told = why_two(before, after, PLACE, services=world.services)
    return [(d.what, d.name, d.before, d.after) for d in told.differences]


def test_a_key_of_the_config_is_named_with_both_values(config: Path, world: MemoryPlace) -> None:
    one, other = submit(config, world), submit(config, world, "args.lr=0.2", "args.depth=3")
    assert between(world, one, other) == [
        ("config", "args.depth", None, "3"),
        ("config", "args.lr", "0.1", "0.2"),
    ]


def test_a_key_that_the_older_run_could_not_have_and_that_is_not_set_is_no_difference(
    config: Path, world: MemoryPlace
) -> None:
    run = submit(config, world)
    name = f"headway/runs/{run}/plan.json"
    plan = json.loads(world.store.objects[name])
    del plan["config"]["resources"]["gpu"]
    world.store.objects[name] = json.dumps(plan).encode()
    assert between(world, run, submit(config, world, "args.lr=0.2")) == [("config", "args.lr", "0.1", "0.2")]


def test_files_are_named_that_were_added_changed_and_removed(config: Path, world: MemoryPlace) -> None:
    one = submit(config, world)
    (config.parent / "train.py").write_text("print('edited')\n")
    (config.parent / "more.py").write_text("\n")
    (config.parent / "model.py").unlink()
    told = between(world, one, submit(config, world))
    assert [(what, name, before is None, after is None) for what, name, before, after in told] == [
        ("code", "model.py", False, True),
        ("code", "more.py", True, False),
        ("code", "train.py", False, False),
    ]


def test_entries_of_the_lockfile_are_named_with_their_versions(config: Path, world: MemoryPlace) -> None:
    one = submit(config, world)
    (config.parent / "requirements.txt").write_text("# locked\ntorch==2.12.0\npandas==2.3.1\n")
    told = between(world, one, submit(config, world))
    assert [row for row in told if row[0] == "lock"] == [
        ("lock", "numpy", "2.2.0", None),
        ("lock", "pandas", None, "2.3.1"),
        ("lock", "torch", "2.13.0", "2.12.0"),
    ]


def test_a_version_of_the_data_is_named(config: Path, world: MemoryPlace) -> None:
    one = submit(config, world)
    (config.parent / "data.dvc").write_text(DVC.format(md5="b" * 32))
    ((what, name, before, after), *others) = between(world, one, submit(config, world))[-1:]
    assert (what, name) == ("data", "data")
    assert str(before).startswith("aaaaaaaaaaaa,")
    assert str(after).startswith("bbbbbbbbbbbb,")
    assert others == []


def test_between_a_run_and_itself_nothing_differs(config: Path, world: MemoryPlace) -> None:
    run = submit(config, world)
    assert between(world, run, run) == []


def test_a_run_that_is_not_there_is_told(world: MemoryPlace) -> None:
    with pytest.raises(NotFound, match="there is no run tiny-00000000"):
        between(world, "tiny-00000000", "tiny-00000001")


def anew(config: Path, world: MemoryPlace, *words: str) -> Why:
    return why_anew(config, overrides=words, place=PLACE, services=world.services)


def test_a_config_is_compared_with_the_last_run_of_its_name(config: Path, world: MemoryPlace) -> None:
    submit(config, world)
    last = submit(config, world, "args.lr=0.2")
    (config.parent / "train.py").write_text("print('edited')\n")
    told = anew(config, world, "args.lr=0.3")
    assert told.before == last
    assert [(d.what, d.name) for d in told.differences] == [("config", "args.lr"), ("code", "train.py")]
    assert [(step.what, step.action) for step in told.steps] == [
        ("image", "reuse"),
        ("bundle", "upload"),
        ("data", "reuse"),
        ("job", "create"),
    ]


def test_a_config_that_was_submitted_so_differs_in_nothing(config: Path, world: MemoryPlace) -> None:
    run = submit(config, world)
    submit(config, world, "args.lr=0.2")
    told = anew(config, world)
    assert (told.before, told.after, told.differences) == (run, run, ())
    assert told.steps[-1].action == "attach"


def test_a_first_run_of_a_name_has_nothing_to_be_compared_with(config: Path, world: MemoryPlace) -> None:
    told = anew(config, world)
    assert told.before is None
    assert told.document()["differences"] == []
    assert [step.action for step in told.steps] == ["build", "upload", "reuse", "create"]
