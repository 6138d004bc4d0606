"""A world for the runtime without servers: a bucket in memory, a project in a folder, a plan of it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headway.cloud.storage import StoredObject
from headway.errors import NotFound, RemoteError
from headway.runtime.job import Container
from headway.spec.candidates import Candidate
from headway.spec.layout import PLAN_VARIABLE, BucketLayout, ContainerLayout
from headway.spec.plan import CodePin, DataPin, ImagePin, MachinePin, Plan, TrackingPin
from headway.spec.promotion import PromotePin
from headway.spec.status import RunStatus

BUCKET = "bucket"
RUN = "digits-0123abcd"
NOBODY = "http://127.0.0.1:9"
"""Nothing listens on the discard port: a connection is refused at once."""


class MemoryStore:
    """The store's protocol over a dict; each write is later than the one before."""

    def __init__(self, bucket: str = BUCKET) -> None:
        self.bucket = bucket
        self.objects: dict[str, bytes] = {}
        self.updated: dict[str, datetime] = {}
        self.asked: list[str] = []
        self.down_for: set[str] = set()

    def uri(self, name: str) -> str:
        return f"gs://{self.bucket}/{name}"

    def exists(self, name: str) -> bool:
        return name in self.objects

    def read(self, name: str) -> bytes:
        self.asked.append(name)
        if name not in self.objects:
            raise NotFound(f"cannot read {self.uri(name)}")
        return self.objects[name]

    def stream(self, name: str) -> Iterator[bytes]:
        yield self.read(name)

    def write(
        self,
        name: str,
        data: bytes,
        *,
        only_if_absent: bool = False,
        content_type: str = "application/octet-stream",
    ) -> bool:
        if any(part in name for part in self.down_for):
            raise RemoteError(f"cannot write {self.uri(name)}: Cloud Storage does not answer")
        if only_if_absent and name in self.objects:
            return False
        self.objects[name] = data
        self.updated[name] = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=len(self.updated))
        return True

    def upload(self, name: str, path: Path, *, only_if_absent: bool = False) -> bool:
        return self.write(name, path.read_bytes(), only_if_absent=only_if_absent)

    def download(self, name: str, path: Path) -> None:
        path.write_bytes(self.read(name))

    def delete(self, name: str) -> None:
        self.objects.pop(name, None)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for name in sorted(self.objects):
            if name.startswith(prefix):
                yield StoredObject(name, len(self.objects[name]), self.updated[name])


def tar(files: Mapping[str, str]) -> bytes:
    """A plain tar of text files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def put_folder(store: MemoryStore, path: str, files: Mapping[str, str], prefix: str = "dvc") -> DataPin:
    """Push a folder as DVC 3 keeps it; its pin."""
    entries = [{"md5": put_file(store, text, prefix), "relpath": name} for name, text in files.items()]
    manifest = json.dumps(entries)
    digest = hashlib.md5(manifest.encode()).hexdigest()
    store.write(f"{prefix}/files/md5/{digest[:2]}/{digest[2:]}.dir", manifest.encode())
    size = sum(len(text) for text in files.values())
    return DataPin(path=path, md5=f"{digest}.dir", size=size, files=len(files))


def put_file(store: MemoryStore, text: str, prefix: str = "dvc") -> str:
    """Push a file's content as DVC 3 keeps it; its md5."""
    digest = hashlib.md5(text.encode()).hexdigest()
    store.write(f"{prefix}/files/md5/{digest[:2]}/{digest[2:]}", text.encode())
    return digest


def make_plan(
    bundle: bytes,
    *,
    entrypoint: str = "train.py",
    argv: Sequence[str] = (),
    args: Mapping[str, object] | None = None,
    data: Sequence[DataPin] = (),
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    tracking_uri: str = NOBODY,
    register: str | None = None,
    artifacts: Sequence[str] = (),
    wandb: bool = False,
    promote: PromotePin | None = None,
) -> Plan:
    return Plan(
        run_id=RUN,
        claim="0123abcd" * 8,
        name="digits",
        entrypoint=entrypoint,
        argv=tuple(argv),
        env=dict(env or {}),
        secrets=dict(secrets or {}),
        code=CodePin(digest=hashlib.sha256(bundle).hexdigest(), files=1, size=len(bundle)),
        image=ImagePin(digest="1" * 64, base="python:3.11-slim", uri="r-docker.pkg.dev/p/headway/trainer:1"),
        data=tuple(data),
        data_remote=f"gs://{BUCKET}/dvc",
        machine=MachinePin(
            type="n1-standard-4", accelerator=None, accelerator_count=0, nodes=1, disk_gb=100, spot=False
        ),
        regions=("us-central1",),
        candidates=(Candidate(region="us-central1", gpu=None, type="n1-standard-4"),),
        timeout_s=600,
        tracking=TrackingPin(
            uri=tracking_uri,
            experiment="digits",
            wandb=wandb,
            register_as=register,
            artifacts=tuple(artifacts),
        ),
        promote=promote,
        project="p",
        bucket=BUCKET,
        service_account=None,
        config={"name": "digits", "args": dict(args or {}), "resources": {"gpu": "a100:1"}},
    )


class World:
    """A bucket that holds one run's plan and bundle, and the container that runs it."""

    def __init__(self, root: Path) -> None:
        self.store = MemoryStore()
        self.folders = ContainerLayout(root / "run")
        self.secrets: dict[str, str] = {}
        self.words: list[str] = []
        self.cancelled: list[Plan] = []
        self.layout = BucketLayout(BUCKET)

    def submit(self, files: Mapping[str, str], **plan: object) -> Plan:
        """Put a project's bundle and its plan into the bucket."""
        bundle = tar(files)
        made = make_plan(bundle, **plan)  # type: ignore[arg-type]
        self.store.write(self.layout.bundle(made.code.digest), bundle)
        self.store.write(self.layout.plan(RUN), made.model_dump_json().encode())
        return made

    def container(self, **variables: str) -> Container:
        import os

        platform = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folders.root.parent),
            PLAN_VARIABLE: self.layout.uri(self.layout.plan(RUN)),
            "AIP_CHECKPOINT_DIR": f"gs://{BUCKET}/headway/runs/{RUN}/checkpoints/",
            "AIP_MODEL_DIR": f"gs://{BUCKET}/headway/runs/{RUN}/model/",
            **variables,
        }
        return Container(
            platform,
            lambda _: self.store,
            lambda _, name: self.secrets[name],
            self.folders,
            cancel=self.cancelled.append,
            words=self.words,
        )

    @property
    def status(self) -> RunStatus:
        return RunStatus.model_validate_json(self.store.objects[self.layout.status(RUN)])

    def objects(self, below: str) -> dict[str, bytes]:
        """Objects below the run's prefix, by the rest of their names."""
        prefix = f"{self.layout.run(RUN)}/{below}"
        found = self.store.objects.items()
        return {name.removeprefix(prefix): data for name, data in found if name.startswith(prefix)}
