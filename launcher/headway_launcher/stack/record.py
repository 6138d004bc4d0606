"""What a stack is: its record on disk, which `headway` and the commands read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Executor = Literal["docker", "process"]

PROJECT = "headway-local"
PROJECT_NUMBER = "123456789012"
REGION = "us-central1"
BUCKET = "headway-local"
REPOSITORY = "headway"


@dataclass(frozen=True)
class Server:
    """A server that was started: `pid` with `create_time` (epoch s) names one process for ever.

    `command` is the digest of the command and environment it was started with, so that a server
    that would be started differently today is seen.
    """

    name: str
    pid: int
    create_time: float
    url: str
    port: int
    log: str
    command: str


@dataclass(frozen=True)
class Record:
    """The stack as it runs. `nonce` is what its emulator answers with, and no stranger on that port does."""

    project: str
    project_number: str
    region: str
    bucket: str
    dvc_remote: str
    tracking_uri: str
    emulator_url: str
    mlflow_url: str
    executor: Executor
    network: str | None
    subnet: str | None
    nonce: str
    servers: tuple[Server, ...]

    def server(self, name: str) -> Server | None:
        return next((server for server in self.servers if server.name == name), None)

    def document(self) -> dict[str, Any]:
        """The stable JSON document of `launch local up --json`."""
        return {"version": 1, **asdict(self)}


@dataclass(frozen=True)
class Folder:
    """The stack's folder: its record, logs and data.

    While servers start, the record is `starting.json`; once all are healthy it becomes `stack.json`, which is
    all that others read. What outlives a `down` (ports, subnet) is in `memory.json`.
    """

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "stack.json"

    @property
    def starting(self) -> Path:
        return self.root / "starting.json"

    @property
    def memory(self) -> Path:
        return self.root / "memory.json"

    @property
    def lock(self) -> Path:
        return self.root.parent / "local.lock"

    @property
    def storage(self) -> Path:
        return self.root / "storage"

    @property
    def emulator(self) -> Path:
        return self.root / "emulator"

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def read(self) -> Record | None:
        """The stack that was last started, finished or not; None where there is none."""
        for path in (self.starting, self.record):
            if (document := _read_json(path)) is not None:
                return _record(document)
        return None

    def write(self, record: Record, *, finished: bool) -> None:
        """Note what was started; `finished` publishes it."""
        _write_json(self.starting, record.document())
        if finished:
            self.starting.replace(self.record)

    def forget(self) -> None:
        """Nothing of the stack runs any more."""
        self.starting.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)

    def remembered(self) -> dict[str, Any]:
        """Ports by server name under `ports`, and `subnet`, from the last time; empty at first."""
        return _read_json(self.memory) or {}

    def remember(self, record: Record) -> None:
        ports = {server.name: server.port for server in record.servers}
        subnet = record.subnet or self.remembered().get("subnet")  # kept over a time without an engine
        _write_json(self.memory, {"ports": ports, "subnet": subnet})


def _record(document: Mapping[str, Any]) -> Record | None:
    fields = {key: value for key, value in document.items() if key != "version"}
    try:
        servers = tuple(Server(**server) for server in fields.pop("servers"))
        return Record(**fields, servers=servers)
    except (KeyError, TypeError):
        return None  # of another version: its servers are found by nobody, its ports are seen as taken


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):  # ValueError: torn, or no text at all
        return None
    return document if isinstance(document, dict) else None


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all: a reader never sees half a record."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)
