"""Run: what a job became. State, logs, metrics and outputs, read from where they are kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from headway.cloud import vertex
from headway.cloud.logs import JobLog, LogLine
from headway.cloud.services import Services
from headway.cloud.storage import ObjectStore, StoredObject, split_uri
from headway.errors import Exhausted, InputError, NotFound, Refused, RemoteError, Unreadable
from headway.jobs.claim import read_plan
from headway.jobs.followed import Followed
from headway.jobs.patience import patiently
from headway.jobs.progress import Progress, Silent
from headway.jobs.tried import Attempt, read_attempts
from headway.spec.cost import Cost, cost
from headway.spec.layout import LABEL_NAME, LABEL_RUN, BucketLayout
from headway.spec.place import Place
from headway.spec.plan import Plan
from headway.spec.promotion import Promoted
from headway.spec.status import RunStatus

if TYPE_CHECKING:
    import pandas

_LOG_GRACE_S = 5.0
"""Log entries may come so much later than the job's end."""


class RunView(BaseModel):
    """The stable JSON document of a run (`launch status --json`). Times are UTC; None where not known yet."""

    run_id: str
    name: str
    state: str
    phase: str | None
    metrics: dict[str, float]
    step: int | None
    epoch: int | None
    outputs: str
    checkpoints: tuple[str, ...]
    model: str | None
    registered: str | None
    promotion: Promoted | None = None
    tracking_url: str | None
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    region: str
    machine: str
    image: str
    job: str
    exit_code: int | None
    error: str | None
    warnings: tuple[str, ...]
    attempts: tuple[Attempt, ...] = ()
    cost: Cost | None = None
    unreadable: str | None = None

    def document(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Output:
    """A file that the run left: its path below the run, size in bytes, address and last change (UTC)."""

    path: str
    size: int
    uri: str
    updated: datetime


class Run(Followed[vertex.Job]):
    """A submitted run, followed from the laptop. Every call asks Google; nothing is kept here."""

    def __init__(self, plan: Plan, services: Services, *, job: vertex.Job | None = None) -> None:
        super().__init__(plan, services, job)
        self._store = services.store

    def __repr__(self) -> str:
        return f"<Run {self.run_id}>"

    @property
    def run_id(self) -> str:
        return self.plan.run_id

    @property
    def status(self) -> RunStatus | None:
        """What the container says of itself; None before it has said anything."""
        try:
            return RunStatus.model_validate_json(self._store.read(self.plan.folder.status))
        except NotFound:
            return None
        except ValidationError as error:
            raise Unreadable(
                f"the status of {self.run_id} cannot be read: it was written by another version of headway",
                hint="upgrade headway here",
            ) from error

    def _found(self, job: vertex.Job | None) -> vertex.Job:
        if job is None:
            raise NotFound(
                f"{self.run_id} is claimed, but Vertex AI has no job of it",
                hint="submit the same config again: that repairs it",
            )
        return job

    @property
    def _later(self) -> str:
        return f"it goes on; follow it with: launch logs -f{self.services.place.words} {self.run_id}"

    def view(self) -> RunView:
        """Everything about the run in one document."""
        tried = read_attempts(self.services, self.plan) if len(self.plan.candidates) > 1 else ()
        return _view(self.plan, self.job(), self.status, tried)

    def wait(
        self,
        timeout: float | None = None,
        *,
        on_log: Callable[[LogLine], None] | None = None,
        on_poll: Callable[[vertex.Job], None] | None = None,
        progress: Progress | None = None,
    ) -> RunView:
        """Wait until the job has ended, whatever the end; `on_log` gets its lines, `on_poll` each look.

        Where there were no machines for it, the plan's next candidate is tried, and `progress` told.
        `timeout` is in seconds. Raises DeadlinePassed (the run goes on), RemoteError after a long outage.
        """
        deadline = time.monotonic() + timeout if timeout is not None else None
        follower: _Follower | None = None
        for job in self._polls(deadline, progress or Silent()):
            if on_log and (follower is None or follower.job_id != job.job_id):
                follower = _Follower(job.job_id, self.services.log(job.job_id), on_log)
            if follower:
                follower.look()
            if on_poll:
                on_poll(job)
        if follower:
            follower.drain()
        return self.view()

    def logs(self, follow: bool = False) -> Iterator[LogLine]:
        """The lines of all replicas; with `follow` until the job has ended."""
        log = self.services.log(self._first_job().job_id)
        if not follow:
            yield from log.new()
            return
        job_id = self._first_job().job_id
        for job in self._polls(None, Silent()):
            if job.job_id != job_id:  # another attempt
                job_id, log = job.job_id, self.services.log(job.job_id)
            yield from patiently(partial(_lines, log))
        yield from patiently(partial(_lines, log))  # what came with the job's end

    def metrics(self) -> pandas.DataFrame:
        """The history: one row a step, one column a metric, NaN where it was not logged at that step."""
        from headway.jobs.history import metric_history

        return metric_history(self.services.place, self.status)

    def outputs(self) -> list[Output]:
        """The files that the run left: outputs, checkpoints and model."""
        prefix = self.plan.folder.prefix + "/"
        kept = ("outputs/", "checkpoints/", "model/", "logs/")
        return [
            _output(entry, prefix, self._store)
            for entry in self._store.list(prefix)
            # `outputs/plots/` is no file but a folder, as gcsfuse and the console leave one
            if entry.name.removeprefix(prefix).startswith(kept) and not entry.name.endswith("/")
        ]

    def pull(self, folder: str | Path) -> list[Path]:
        """Fetch the run's files below a folder; one that is there as it was fetched (size, time) is kept.

        The folder ignores itself in git, so that what is pulled into a project is not code of its next run.
        Raises InputError where the folder is a file.
        """
        folder, outputs = Path(folder), self.outputs()
        own_folder(folder, wanted=bool(outputs))
        return [self._fetch(output, folder) for output in outputs]

    def _fetch(self, output: Output, folder: Path) -> Path:
        path = folder / output.path
        if not path.resolve().is_relative_to(folder.resolve()):
            raise RemoteError(f"{output.uri} would be written outside {folder}")
        written = output.updated.timestamp()
        if not _is_there(path, output.size, written):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.download(split_uri(output.uri)[1], path)
            # a checkpoint written anew has its old size: only the object's own time tells that it is another
            os.utime(path, (written, written))
        return path

    def _first_job(self) -> vertex.Job:
        return self._job or self.job()


def attach(run_id: str, place: Place, *, services: Services | None = None) -> Run:
    """The run of that id. Raises NotFound where the bucket holds no plan of it."""
    services = services or Services(place)
    return Run(read_plan(run_id, services), services)


class _Follower:
    """Hands a job's lines on. A look that fails is made up for by the next; a refusal is told once."""

    def __init__(self, job_id: str, log: JobLog, on_log: Callable[[LogLine], None]) -> None:
        self.job_id = job_id
        self._log = log
        self._on_log = on_log
        self._refused = False

    def look(self) -> bool:
        """Whether there were new lines."""
        told = False
        try:
            for line in () if self._refused else self._log.new():
                told = True
                self._on_log(line)
        except Exhausted:
            return told  # too many look at once: a limit of the minute
        except Refused as error:
            self._refused = True
            text = f"headway: the log is not shown, the run goes on: {error.message}"
            self._on_log(LogLine(datetime.now(UTC), "WARNING", "", text))
        except RemoteError:
            return told
        return told

    def drain(self) -> None:
        """Lines that came with the job's end: until a look brings none, for some seconds at most."""
        deadline = time.monotonic() + _LOG_GRACE_S
        while self.look() and time.monotonic() < deadline:
            time.sleep(0.2)


def _lines(log: JobLog) -> list[LogLine]:
    return list(log.new())


def _output(entry: StoredObject, prefix: str, store: ObjectStore) -> Output:
    return Output(entry.name.removeprefix(prefix), entry.size, store.uri(entry.name), entry.updated)


def _is_there(path: Path, size: int, written: float) -> bool:
    if not path.is_file():
        return False
    found = path.stat()
    return found.st_size == size and abs(found.st_mtime - written) < 1e-3


def own_folder(folder: Path, *, wanted: bool = True) -> None:
    """Make a folder that ignores itself in git: what is fetched into a project is no code of its next run.

    Raises InputError where it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder", hint="name another folder, or one to be made")
    if wanted and not folder.exists():
        folder.mkdir(parents=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")


def bare_view(job: vertex.Job, place: Place, why: Unreadable) -> RunView:
    """A run of whose documents one cannot be read here: what Vertex AI says of it."""
    run_id, layout = job.labels[LABEL_RUN], BucketLayout(place.bucket)
    return RunView(
        run_id=run_id,
        name=job.labels.get(LABEL_NAME, ""),
        state=job.state,
        phase=None,
        metrics={},
        step=None,
        epoch=None,
        outputs=layout.uri(layout.outputs(run_id)),
        checkpoints=(),
        model=None,
        registered=None,
        tracking_url=None,
        created=job.created,
        started=job.started,
        ended=job.ended,
        region=job.region,
        machine=job.machines,
        image=job.image,
        job=job.name,
        exit_code=None,
        error=job.error,
        warnings=(),
        unreadable=why.message,
    )


def _view(plan: Plan, job: vertex.Job, status: RunStatus | None, attempts: tuple[Attempt, ...]) -> RunView:
    registered = status.registered if status else None
    return RunView(
        run_id=plan.run_id,
        name=plan.name,
        state=job.state,
        phase=status.phase if status else None,
        metrics=status.metrics if status else {},
        step=status.step if status else None,
        epoch=status.epoch if status else None,
        outputs=plan.layout.uri(plan.folder.outputs),
        checkpoints=status.checkpoints if status else (),
        model=status.model_uri if status else None,
        registered=f"models:/{registered.name}/{registered.version}" if registered else None,
        promotion=status.promotion if status else None,
        tracking_url=status.tracking_url if status else None,
        created=job.created,
        started=job.started,
        ended=job.ended,
        region=job.region,
        machine=job.machines,
        image=job.image,
        job=job.name if job.job_id else "",
        exit_code=status.exit_code if status else None,
        error="; ".join(filter(None, (status.error if status else None, job.error))) or None,
        warnings=status.warnings if status else (),
        attempts=attempts,
        cost=cost(
            plan,
            region=job.region,
            machine=job.machine,
            accelerator=job.accelerator,
            count=job.accelerator_count,
            started=job.started,
            ended=job.ended,
        ),
    )
