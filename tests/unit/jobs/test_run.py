"""Following a run: waiting, logs, outputs, and what an outage does not do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headway.cloud.logs import LogLine
from headway.cloud.vertex import Job, render
from headway.errors import DeadlinePassed, Exhausted, InputError, NotFound, Refused, RemoteError
from headway.jobs import listing
from headway.jobs.run import Run, attach
from headway.spec.job import JobSpec, Resources
from headway.spec.plan import CodePin, ImagePin, make_plan
from headway.spec.status import ModelVersion, RunStatus
from tests.unit.jobs.fakes import PLACE, MemoryLog, MemoryPlace


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> MemoryPlace:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return MemoryPlace()


@pytest.fixture
def run(world: MemoryPlace) -> Run:
    plan = make_plan(
        JobSpec(name="tiny", entrypoint="train.py"),
        PLACE,
        code=CodePin(digest="c" * 64, files=1, size=1),
        image=ImagePin(digest="e" * 64, base="python:3.11-slim", uri="image"),
        data=[],
    )
    world.store.write(plan.layout.plan(plan.run_id), plan.model_dump_json().encode())
    return Run(plan, world.services, job=world.vertex.create(render(plan)))


def line(text: str) -> LogLine:
    return LogLine(datetime.now(UTC), "INFO", "workerpool0-0", text)


def test_waiting_hands_on_every_line_once_and_ends_with_the_job(run: Run, world: MemoryPlace) -> None:
    world.lines.append(line("one"))
    seen: list[str] = []

    def step() -> None:
        world.lines.append(line("two"))
        world.vertex.before_get = lambda: None
        world.vertex.end(world.vertex.jobs[0].name, "succeeded")

    world.vertex.before_get = step
    view = run.wait(on_log=lambda entry: seen.append(entry.text))
    assert seen == ["one", "two"]
    assert view.state == "succeeded"


def test_one_failing_look_does_not_end_a_wait(run: Run, world: MemoryPlace) -> None:
    failures = iter([RemoteError("503"), RemoteError("503")])

    def step() -> None:
        error = next(failures, None)
        if error:
            raise error
        world.vertex.end(world.vertex.jobs[0].name, "succeeded")

    world.vertex.before_get = step
    assert run.wait().state == "succeeded"


@pytest.mark.parametrize("at", range(1, 7))
def test_one_failing_look_does_not_end_a_wait_that_goes_on_to_the_next_region(
    world: MemoryPlace, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    plan = make_plan(
        JobSpec(
            name="tiny",
            entrypoint="train.py",
            resources=Resources(regions=("us-central1", "europe-west4")),
        ),
        PLACE,
        code=CodePin(digest="c" * 64, files=1, size=1),
        image=ImagePin(digest="e" * 64, base="python:3.11-slim", uri="image"),
        data=[],
    )
    world.store.write(plan.layout.plan(plan.run_id), plan.model_dump_json().encode())
    first = world.vertex.create(render(plan))
    world.vertex.jobs = [replace(first, state="failed", started=None, error_code=8, error="stockout")]
    looks, labelled = 0, world.vertex.labelled

    def flaky(label: str, value: str | None = None) -> Iterator[Job]:
        nonlocal looks
        looks += 1
        if looks == at:
            raise RemoteError("503 try later")
        return labelled(label, value)

    monkeypatch.setattr(world.vertex, "labelled", flaky)

    def end() -> None:
        if len(world.vertex.jobs) > 1:
            world.vertex.end(world.vertex.jobs[1].name, "succeeded")

    world.vertex.before_get = end
    assert Run(plan, world.services).wait().state == "succeeded"
    assert len(world.vertex.jobs) == 2


def test_a_wait_has_an_end_and_says_that_the_run_goes_on(run: Run) -> None:
    with pytest.raises(DeadlinePassed) as caught:
        run.wait(timeout=0)
    assert "launch logs -f --profile test tiny-" in str(caught.value.hint)


def test_a_refusal_that_lasts_ends_a_wait_long_before_an_outage_does(
    run: Run, world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def refuse() -> None:
        asked.append(now)
        raise Refused("permission denied")

    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.sleep", sleep)
    world.vertex.before_get = refuse
    with pytest.raises(Refused):
        run.wait()
    assert len(asked) > 3
    assert now <= 60


def test_a_wait_is_not_longer_for_an_outage(
    run: Run, world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def fail() -> None:
        raise RemoteError("503")

    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.sleep", sleep)
    world.vertex.before_get = fail
    with pytest.raises(RemoteError):
        run.wait(timeout=10)
    assert now <= 10


@pytest.mark.parametrize("state", ["expired", "partially_succeeded"])
def test_states_that_googles_client_waits_on_for_ever_end_our_wait(
    run: Run, world: MemoryPlace, state: str
) -> None:
    world.vertex.end(world.vertex.jobs[0].name, state)
    assert run.wait().state == state


def test_the_document_of_a_run_holds_what_the_container_said(run: Run, world: MemoryPlace) -> None:
    now = datetime.now(UTC)
    status = RunStatus(
        run_id=run.run_id,
        phase="done",
        started=now,
        updated=now,
        exit_code=0,
        metrics={"test_acc": 0.97},
        tracking_url="http://127.0.0.1/#/experiments/1/runs/2",
        registered=ModelVersion(name="tiny", version="3"),
    )
    world.store.write(run.plan.layout.status(run.run_id), status.model_dump_json().encode())
    document = run.view().document()
    assert {"run_id", "state", "metrics", "outputs", "tracking_url"} <= document.keys()
    assert document["metrics"] == {"test_acc": 0.97}
    assert document["registered"] == "models:/tiny/3"


def test_pull_fetches_what_the_run_left_and_keeps_what_is_there(
    run: Run, world: MemoryPlace, tmp_path: Path
) -> None:
    prefix = run.plan.layout.run(run.run_id)
    world.store.write(f"{prefix}/outputs/report.txt", b"fine")
    world.store.write(f"{prefix}/checkpoints/last.ckpt", b"weights")
    paths = run.pull(tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in paths) == [
        "checkpoints/last.ckpt",
        "outputs/report.txt",
    ]
    assert (tmp_path / "checkpoints/last.ckpt").read_bytes() == b"weights"


def test_pull_fetches_a_checkpoint_again_that_was_written_anew_with_its_old_size(
    run: Run, world: MemoryPlace, tmp_path: Path
) -> None:
    name = f"{run.plan.layout.run(run.run_id)}/checkpoints/last.ckpt"
    world.store.write(name, b"epoch 1")
    run.pull(tmp_path)
    world.store.write(name, b"epoch 2")
    world.store.written[name] += timedelta(seconds=1)
    run.pull(tmp_path)
    assert (tmp_path / "checkpoints/last.ckpt").read_bytes() == b"epoch 2"
    world.store.objects[name] = b"unseen!"  # the same time: it is not fetched
    run.pull(tmp_path)
    assert (tmp_path / "checkpoints/last.ckpt").read_bytes() == b"epoch 2"


def test_pull_takes_a_folders_own_object_for_no_file(run: Run, world: MemoryPlace, tmp_path: Path) -> None:
    """gcsfuse, through which training may write to /gcs, leaves one for each folder that it makes."""
    outputs = f"{run.plan.layout.run(run.run_id)}/outputs"
    for name, data in (("", b""), ("plots/", b""), ("plots/loss.png", b"png")):
        world.store.write(f"{outputs}/{name}", data)
    assert [path.relative_to(tmp_path).as_posix() for path in run.pull(tmp_path)] == [
        "outputs/plots/loss.png"
    ]


def test_pull_into_a_file_is_refused(run: Run, world: MemoryPlace, tmp_path: Path) -> None:
    world.store.write(f"{run.plan.layout.run(run.run_id)}/outputs/report.txt", b"fine")
    (tmp_path / "report").write_text("mine")
    with pytest.raises(InputError, match="report is a file, not a folder"):
        run.pull(tmp_path / "report")


def test_pull_writes_nothing_outside_its_folder(run: Run, world: MemoryPlace, tmp_path: Path) -> None:
    world.store.write(f"{run.plan.layout.run(run.run_id)}/outputs/../../../evil", b"x")
    with pytest.raises(RemoteError, match="outside"):
        run.pull(tmp_path / "here")


def test_cancel_leaves_an_ended_job_as_it_is(run: Run, world: MemoryPlace) -> None:
    world.vertex.end(world.vertex.jobs[0].name, "succeeded")
    assert run.cancel() is False
    assert run.state == "succeeded"


def test_cancel_of_a_job_that_ends_meanwhile_is_no_error(
    run: Run, world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(name: str) -> None:
        world.vertex.end(name, "succeeded")
        raise Refused("400 the job is not in a state to be cancelled")

    monkeypatch.setattr(world.vertex, "cancel", too_late)
    assert run.cancel() is False


def test_a_run_that_is_not_there_is_said_to_be_so(world: MemoryPlace) -> None:
    with pytest.raises(NotFound, match="no run nothing-1"):
        attach("nothing-1", PLACE, services=world.services)


def test_what_is_pulled_does_not_become_code_of_the_next_run(
    run: Run, world: MemoryPlace, tmp_path: Path
) -> None:
    world.store.write(f"{run.plan.layout.run(run.run_id)}/outputs/report.txt", b"fine")
    run.pull(tmp_path / run.run_id)
    assert (tmp_path / run.run_id / ".gitignore").read_text() == "*\n"


def test_following_a_log_outlives_an_outage_at_its_end(
    run: Run, world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.lines.append(line("one"))
    looks: list[int] = []
    new = MemoryLog.new

    def failing(log: MemoryLog) -> Iterator[LogLine]:
        looks.append(1)
        if len(looks) == 2:
            raise RemoteError("503")
        return new(log)

    monkeypatch.setattr(MemoryLog, "new", failing)
    world.vertex.end(world.vertex.jobs[0].name, "succeeded")
    assert [entry.text for entry in run.logs(follow=True)] == ["one"]
    assert len(looks) == 3


def test_a_log_that_may_not_be_read_is_told_once_and_ends_no_wait(run: Run, world: MemoryPlace) -> None:
    class Forbidden:
        def new(self) -> Iterator[LogLine]:
            raise Refused("cannot read the log of job 1: 403 permission denied")

    world.log = lambda job_id, trial=None: Forbidden()  # type: ignore[assignment,method-assign,return-value]
    looks = iter(range(3))

    def step() -> None:
        if next(looks, None) is None:
            world.vertex.end(world.vertex.jobs[0].name, "succeeded")

    world.vertex.before_get = step
    seen: list[str] = []
    assert run.wait(on_log=lambda entry: seen.append(entry.text)).state == "succeeded"
    assert len(seen) == 1
    assert "permission denied" in seen[0]


def test_a_log_that_too_many_read_at_once_is_shown_later(
    run: Run, world: MemoryPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloud Logging takes so many reads a minute of a project: several people follow, and one gets 429."""
    world.lines.append(line("one"))
    new, refusals = MemoryLog.new, iter([Exhausted("cannot read the log of job 1: 429 read requests")])

    def sometimes(log: MemoryLog) -> Iterator[LogLine]:
        if error := next(refusals, None):
            raise error
        return new(log)

    monkeypatch.setattr(MemoryLog, "new", sometimes)
    looks = iter(range(2))

    def step() -> None:
        if next(looks, None) is None:
            world.vertex.end(world.vertex.jobs[0].name, "succeeded")

    world.vertex.before_get = step
    seen: list[str] = []
    run.wait(on_log=lambda entry: seen.append(entry.text))
    assert seen == ["one"]


def test_pull_takes_a_folder_as_text_and_a_run_shows_its_id(
    run: Run, world: MemoryPlace, tmp_path: Path
) -> None:
    world.store.write(f"{run.plan.layout.run(run.run_id)}/outputs/a.txt", b"a")
    assert run.pull(str(tmp_path / "here")) == [tmp_path / "here" / "outputs" / "a.txt"]
    assert repr(run) == f"<Run {run.run_id}>"


def test_the_cost_of_a_run_is_in_its_document(run: Run) -> None:
    document = run.view().document()["cost"]
    assert document["usd_hour"] == pytest.approx(0.19 * 1.15)
    assert document["spent_usd"] >= 0
    assert document["left_usd"] is None
    assert document["price_date"] == "2025-08"


@pytest.mark.parametrize("lost", ["plan.json", "status.json", "attempts.json"])
def test_one_run_of_another_version_hides_no_other_and_is_told_with_the_reason(
    world: MemoryPlace, lost: str
) -> None:
    other, run = (_several_candidates(world, name) for name in ("other", "tiny"))
    world.store.write(f"{other.plan.folder.prefix}/{lost}", b'{"version": 2}')
    newer, older = listing.runs(PLACE, services=world.services)
    assert (newer.run_id, newer.unreadable) == (run.run_id, None)
    assert (older.run_id, older.name, older.state) == (other.run_id, "other", "running")
    assert older.outputs == other.plan.layout.uri(other.plan.folder.outputs)
    assert older.machine == newer.machine
    assert older.unreadable is not None
    assert f"the {lost.removesuffix('.json')} of {other.run_id} cannot be read" in older.unreadable


def _several_candidates(world: MemoryPlace, name: str) -> Run:
    plan = make_plan(
        JobSpec.model_validate(
            {"name": name, "entrypoint": "train.py", "resources": {"gpu": ["a100", "l4"]}}
        ),
        PLACE,
        code=CodePin(digest="c" * 64, files=1, size=1),
        image=ImagePin(digest="e" * 64, base="python:3.11-slim", uri="image"),
        data=[],
    )
    world.store.write(plan.layout.plan(plan.run_id), plan.model_dump_json().encode())
    return Run(plan, world.services, job=world.vertex.create(render(plan)))
