"""A place in memory: the clients that `headway.jobs` speaks to, with the same few methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from headway.cloud.build import Build
from headway.cloud.functions import Function
from headway.cloud.logs import LogLine
from headway.cloud.scheduler import ClockJob
from headway.cloud.services import Services
from headway.cloud.storage import StoredObject, Version
from headway.cloud.tuning import Trial, TuningJob
from headway.cloud.vertex import Job
from headway.errors import NotFound
from headway.spec.place import Place

PLACE = Place(
    profile="test",
    project="acme",
    region="us-central1",
    bucket="acme",
    dvc_remote="gs://acme/dvc",
    tracking_uri="http://127.0.0.1:1",
    scheduler_service_account="scheduler@acme",
)


class MemoryStore:
    """A bucket as a dict; `age` makes what is written look older, in seconds."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.generations: dict[str, int] = {}
        self.metadata: dict[str, Mapping[str, str]] = {}
        self.written: dict[str, datetime] = {}
        self.uploads: list[str] = []
        self.before_write: Callable[[str], None] = lambda name: None

    def uri(self, name: str) -> str:
        return f"gs://acme/{name}"

    def exists(self, name: str) -> bool:
        return name in self.objects

    def read(self, name: str) -> bytes:
        if name not in self.objects:
            raise NotFound(f"cannot read {self.uri(name)}")
        return self.objects[name]

    def stream(self, name: str) -> Iterator[bytes]:
        data = self.read(name)
        yield from (data[at : at + 1000] for at in range(0, len(data), 1000))

    def read_from(self, name: str, offset: int) -> bytes:
        return self.objects.get(name, b"")[offset:]

    def write(self, name: str, data: bytes, *, only_if_absent: bool = False, content_type: str = "") -> bool:
        self.before_write(name)
        if only_if_absent and name in self.objects:
            return False
        self.objects[name] = data
        self.generations[name] = self.generations.get(name, 0) + 1
        self.written[name] = datetime.now(UTC)
        return True

    def version(self, name: str) -> Version:
        self.read(name)
        age_s = (datetime.now(UTC) - self.written[name]).total_seconds()
        return Version(self.generations[name], age_s, self.metadata.get(name, {}))

    def replace(self, name: str, data: bytes, *, generation: int, metadata: Mapping[str, str]) -> bool:
        if generation != (self.generations[name] if name in self.objects else 0):
            return False
        self.metadata[name] = metadata
        return self.write(name, data)

    def upload(self, name: str, path: Path, *, only_if_absent: bool = False) -> bool:
        self.uploads.append(name)
        return self.write(name, path.read_bytes(), only_if_absent=only_if_absent)

    def delete(self, name: str, *, generation: int | None = None) -> None:
        self.objects.pop(name, None)

    def download(self, name: str, path: Path) -> None:
        path.write_bytes(self.read(name))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for name in sorted(self.objects):
            if name.startswith(prefix):
                yield StoredObject(name, len(self.objects[name]), self.written[name])


class MemoryJobs:
    """Vertex AI in a list: jobs are created running, and a test moves them on."""

    def __init__(self, region: str = "us-central1") -> None:
        self.region = region
        self.jobs: list[Job] = []
        self.bodies: list[dict[str, Any]] = []
        self.before_create: Callable[[], None] = lambda: None
        self.before_get: Callable[[], None] = lambda: None

    def create(self, body: dict[str, Any]) -> Job:
        self.before_create()
        self.bodies.append(body)
        name = f"projects/1/locations/{self.region}/customJobs/{len(self.jobs) + 1}"
        pools = body["jobSpec"]["workerPoolSpecs"]
        machine = pools[0]["machineSpec"]
        now = datetime.now(UTC)
        job = Job(
            name=name,
            state="running",
            display_name=body["displayName"],
            labels=dict(body["labels"]),
            created=now,
            started=now,
            ended=None,
            error=None,
            machine=machine["machineType"],
            accelerator=machine.get("acceleratorType"),
            accelerator_count=machine.get("acceleratorCount", 0),
            nodes=sum(int(pool["replicaCount"]) for pool in pools),
            image="image",
            strategy=body["jobSpec"]["scheduling"]["strategy"],
        )
        self.jobs.append(job)
        return job

    def get(self, name: str) -> Job:
        self.before_get()
        return next(job for job in self.jobs if job.name == name)

    def labelled(self, label: str, value: str | None = None) -> Iterator[Job]:
        for job in reversed(self.jobs):
            if label in job.labels and value in (None, job.labels[label]):
                yield job

    def cancel(self, name: str) -> None:
        self.end(name, "cancelled")

    def end(self, name: str, state: str, error: str | None = None) -> None:
        self.jobs = [
            replace(job, state=state, ended=datetime.now(UTC), error=error) if job.name == name else job
            for job in self.jobs
        ]


class MemoryTuning:
    """Vertex AI's tuning jobs in a list: created running and without trials, which a test adds."""

    def __init__(self, region: str = "us-central1") -> None:
        self.region = region
        self.all: list[TuningJob] = []
        self.bodies: list[dict[str, Any]] = []
        self.before_create: Callable[[], None] = lambda: None

    def create(self, body: dict[str, Any]) -> TuningJob:
        self.before_create()
        self.bodies.append(body)
        custom = MemoryJobs(self.region)
        made = custom.create({**body, "jobSpec": body["trialJobSpec"]})
        name = f"projects/1/locations/{self.region}/hyperparameterTuningJobs/{len(self.all) + 1}"
        job = TuningJob(**{**vars(made), "name": name})
        self.all.append(job)
        return job

    def get(self, name: str) -> TuningJob:
        return next(job for job in self.all if job.name == name)

    def labelled(self, label: str, value: str | None = None) -> Iterator[TuningJob]:
        for job in reversed(self.all):
            if label in job.labels and value in (None, job.labels[label]):
                yield job

    def cancel(self, name: str) -> None:
        self.end("cancelled", name)

    def end(self, state: str, name: str | None = None, error: str | None = None) -> None:
        """The job of that name, or the last one, is over."""
        name = name or self.all[-1].name
        now = datetime.now(UTC)
        self.all = [
            replace(job, state=state, ended=now, error=error) if job.name == name else job for job in self.all
        ]

    def add(self, *trials: Trial) -> None:
        """Trials of the last job."""
        last = self.all[-1]
        self.all[-1] = replace(last, trials=(*last.trials, *trials))


class MemoryBuilds:
    """Cloud Build that needs no time: a build ends as `ending` says, and writes `log`."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.ending = "SUCCESS"
        self.log = "Step 1/2 : FROM base\n"
        self.created: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.before_get: Callable[[], None] = lambda: None
        self.before_create: Callable[[], None] = lambda: None

    def create(self, body: dict[str, Any]) -> Build:
        self.before_create()
        self.created.append(body)
        self.store.objects[f"headway/build-logs/log-b{len(self.created)}.txt"] = self.log.encode()
        return Build(f"b{len(self.created)}", "QUEUED", "", "")

    def get(self, build_id: str) -> Build:
        self.before_get()
        return Build(build_id, self.ending, "", "")

    def tagged(self, tag: str) -> Build | None:
        return None

    def cancel(self, build_id: str) -> None:
        self.cancelled.append(build_id)


class MemoryLog:
    """A job's log: lines that a test put there, each told once."""

    def __init__(self, lines: list[LogLine]) -> None:
        self._lines = lines
        self._told = 0

    def new(self) -> Iterator[LogLine]:
        fresh, self._told = self._lines[self._told :], len(self._lines)
        yield from fresh


class MemoryClock:
    """Cloud Scheduler's jobs as they were put; nothing ticks."""

    def __init__(self) -> None:
        self.bodies: dict[str, dict[str, Any]] = {}
        self.paused: set[str] = set()

    def put(self, body: Mapping[str, Any]) -> ClockJob:
        self.bodies[body["name"]] = dict(body)
        return self.get(body["name"])

    def get(self, job_id: str) -> ClockJob:
        if job_id not in self.bodies:
            raise NotFound(f"cannot read the Cloud Scheduler job {job_id}")
        body = self.bodies[job_id]
        return ClockJob(
            job_id=job_id,
            state="paused" if job_id in self.paused else "enabled",
            cron=body["schedule"],
            zone=body["timeZone"],
            uri=body["httpTarget"]["uri"],
            next=None,
            last=None,
            code=0,
        )

    def list(self) -> list[ClockJob]:
        return [self.get(job_id) for job_id in self.bodies]

    def pause(self, job_id: str) -> None:
        assert self.get(job_id).state == "enabled"
        self.paused.add(job_id)

    def resume(self, job_id: str) -> None:
        assert self.get(job_id).state == "paused"
        self.paused.discard(job_id)

    def delete(self, job_id: str) -> None:
        self.get(job_id)
        del self.bodies[job_id]


class MemoryFunctions:
    """Cloud Functions as they were deployed."""

    def __init__(self) -> None:
        self.deployed: list[dict[str, Any]] = []

    def get(self, function_id: str) -> Function:
        for body in reversed(self.deployed):
            if body["name"] == function_id:
                return Function(function_id, f"https://{function_id}.run.app", "active", body["labels"])
        raise NotFound(f"cannot read the function {function_id}")

    def deploy(self, body: Mapping[str, Any]) -> Function:
        self.deployed.append(dict(body))
        return self.get(body["name"])


class MemoryPlace:
    """All of them, as `Services` gives them."""

    def __init__(self) -> None:
        self.place = PLACE
        self.store = MemoryStore()
        self.vertex = MemoryJobs()
        self.sweeps = MemoryTuning()
        self.other_sweeps: dict[str, MemoryTuning] = {}
        """Of regions that are not the place's."""
        self.builds = MemoryBuilds(self.store)
        self.lines: list[LogLine] = []
        self.logs_asked: list[tuple[str, str | None]] = []
        self.images: set[str] = set()
        self.clock_jobs = MemoryClock()
        self.functions = MemoryFunctions()

    def bucket(self, name: str) -> MemoryStore:
        return self.store

    def jobs(self, region: str) -> MemoryJobs:
        return self.vertex

    def tuning(self, region: str) -> MemoryTuning:
        return self.other_sweeps.get(region, self.sweeps)

    def log(self, job_id: str, trial: str | None = None) -> MemoryLog:
        self.logs_asked.append((job_id, trial))
        return MemoryLog(self.lines)

    def image_digest(self, uri: str) -> str | None:
        built = [body["substitutions"]["_IMAGE"] for body in self.builds.created]
        return "sha256:0" if uri in self.images or uri in built else None

    @property
    def services(self) -> Services:
        return cast(Services, self)


class Told:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []
        self.lines: list[str] = []

    def step(self, name: str, detail: str) -> None:
        self.steps.append((name, detail))

    def line(self, text: str) -> None:
        self.lines.append(text)
