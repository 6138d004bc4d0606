"""The environment image: context to the bucket, Cloud Build, its log until the end."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from headway.cloud.build import RUNNING, Build, Builds, render
from headway.cloud.services import Services
from headway.cloud.storage import ObjectStore
from headway.errors import BuildFailed, DeadlinePassed, RemoteError, interruptible
from headway.jobs.patience import patiently
from headway.jobs.preparing import Prepared
from headway.jobs.progress import Progress
from headway.source import assets
from headway.spec.place import Place

BUILD_DEADLINE_S = 2 * 3600.0
"""The spec's own timeout is an hour; the rest is for waiting in Cloud Build's queue."""

_LAST_LINES = 12


def build_image(prepared: Prepared, services: Services, progress: Progress) -> None:
    """Build the plan's image, or wait for a build of it that runs already. Raises BuildFailed."""
    plan, store, builds = prepared.plan, services.store, services.builds
    tag = f"headway-{plan.image.digest[:20]}"
    build = builds.tagged(tag)
    if build is None:
        context = plan.layout.build_context(plan.image.digest)
        _send_context(prepared, store, context, progress)
        build = _start(prepared, builds, context, tag)
    progress.step("image", f"build {plan.image.uri.rpartition('/')[2]} (Cloud Build {build.build_id})")
    with interruptible(
        f"stopped waiting: the image build {build.build_id} goes on, and a next submit uses its image",
        f"to stop it: {_cancel_command(build, prepared)}",
    ):
        _wait(builds, build, prepared, store, progress)


def _start(prepared: Prepared, builds: Builds, context: str, tag: str) -> Build:
    with interruptible(
        "stopped while the image build was being started: it may have been",
        "submit again: it waits for that build, and names it",
    ):
        return builds.create(_body(prepared, context, tag))


def _cancel_command(build: Build, prepared: Prepared) -> str:
    return f"launch cancel{prepared.place.words} --build {build.build_id}"


def cancel_build(build_id: str, place: Place) -> None:
    """Stop an image build. Raises NotFound."""
    Services(place).builds.cancel(build_id)


def _send_context(prepared: Prepared, store: ObjectStore, name: str, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(prefix="headway-") as folder:
        path = Path(folder) / "context.tar.gz"
        prepared.environment.write_context(path)
        progress.step("image", f"send the build context ({path.stat().st_size:,} bytes)")
        store.upload(name, path)


def _body(prepared: Prepared, context: str, tag: str) -> dict[str, object]:
    import yaml

    plan = prepared.plan
    return render(
        yaml.safe_load(assets.read("trainer.yaml")),
        substitutions={"_IMAGE": plan.image.uri, "_BASE": plan.image.base},
        bucket=plan.bucket,
        context=context,
        logs=plan.layout.build_logs,
        tags=["headway", tag],
        project=plan.project,
        service_account=prepared.place.build_service_account,
    )


def _wait(builds: Builds, build: Build, prepared: Prepared, store: ObjectStore, progress: Progress) -> None:
    log = _Log(store, f"{prepared.plan.layout.build_logs}/log-{build.build_id}.txt", progress)
    deadline = time.monotonic() + BUILD_DEADLINE_S
    asked = build.build_id
    while build.status in RUNNING:
        if time.monotonic() > deadline:
            raise DeadlinePassed(
                f"the image build {build.build_id} still reads {build.status} after two hours",
                hint=f"to stop it: {_cancel_command(build, prepared)}",
            )
        time.sleep(1)
        log.follow()
        build = patiently(lambda: builds.get(asked), until=deadline)
    log.end()
    if build.status != "SUCCESS":
        environment = prepared.loaded.spec.environment
        raise BuildFailed(
            f"the image build {build.build_id} (base {environment.base}, lockfile"
            f" {environment.requirements}) ended {build.status}"
            + (f": {build.detail}" if build.detail else ""),
            details=log.last,
            hint=f"the whole log is {store.uri(log.name)}",
        )


class _Log:
    """A build's log in the bucket, handed on line by line as it grows."""

    def __init__(self, store: ObjectStore, name: str, progress: Progress) -> None:
        self.name = name
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        self._store = store
        self._progress = progress
        self._offset = 0
        self._rest = b""

    def follow(self) -> None:
        """Hand on what is new; a log that cannot be read ends no build: the next look makes up for it."""
        data = b""
        with suppress(RemoteError):
            data = self._store.read_from(self.name, self._offset)
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._tell(line)

    def end(self) -> None:
        """Hand on what is left, a last line without its end too."""
        self.follow()
        if self._rest:
            self._tell(self._rest)

    def _tell(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        self.last.append(text)
        self._progress.line(text)
