"""Builds as a collection: made, found, cancelled, and ended where a restart cut them off."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from headway_emulator.engine import substitutions
from headway_emulator.engine.build_life import FINAL, KIND, BuildLife
from headway_emulator.engine.build_steps import StepRunner
from headway_emulator.engine.clock import Clock, timestamp
from headway_emulator.engine.objects import ObjectError, Objects
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import ApiError, invalid, not_found, precondition
from headway_emulator.settings import Settings

DEFAULT_TIMEOUT = "3600s"
"""Google's documentation of Cloud Build: 60 minutes."""
LEAVE_SECONDS = 15.0
NO_LOG_OBJECT = ("CLOUD_LOGGING_ONLY", "STACKDRIVER_ONLY", "NONE")


class Builds:
    """Every build of the project; each unfinished one has a thread that runs its steps."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, objects: Objects, runner: StepRunner
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._objects = objects
        self._runner = runner
        self._lives: dict[str, BuildLife] = {}
        self._lock = threading.Lock()

    def create(self, location: str, body: Mapping[str, Any]) -> Document:
        """Fill in substitutions, store the validated build as queued and start it."""
        build_id = str(uuid.uuid4())
        settings = self._settings
        built_ins = substitutions.built_in(
            settings.project, settings.project_number, build_id, location, body.get("serviceAccount", "")
        )
        build = {
            **substitutions.apply(body, built_ins),
            "id": build_id,
            "name": f"projects/{settings.project_number}/locations/{location}/builds/{build_id}",
            "projectId": settings.project,
            "status": "QUEUED",
            "createTime": timestamp(self._clock.now_ns()),
            "logUrl": _log_url(location, build_id, settings.project_number),
        }
        build.setdefault("timeout", DEFAULT_TIMEOUT)
        build.setdefault("queueTtl", "3600s")
        build["images"] = [*build.get("images", []), *build.get("artifacts", {}).get("images", [])]
        self._log_folder(build)
        self._store.put(KIND, build_id, build)
        life = BuildLife(
            build_id,
            settings.state / "builds" / build_id,
            self._store,
            self._clock,
            self._objects,
            self._runner,
            self._forget,
        )
        with self._lock:
            self._lives[build_id] = life
        life.start()
        return build

    def get(self, build_id: str) -> Document:
        build = self._store.get(KIND, build_id)
        if build is None:
            raise not_found(f"projects/{self._settings.project}/builds/{build_id}")
        return build

    def list(self, location: str) -> list[Document]:
        """Newest first."""
        part = f"/locations/{location}/"
        return [build for build in self._store.list(KIND) if part in build["name"]]

    def cancel(self, build_id: str) -> Document:
        """The build when it has ended."""
        build = self.get(build_id)
        with self._lock:
            life = self._lives.get(build_id)
        if build["status"] in FINAL or life is None:
            raise precondition(f"Build {build_id} has already ended with status {build['status']}.")
        life.stop("CANCELLED", "Build cancelled by user")
        life.join(LEAVE_SECONDS)
        return self.get(build_id)

    def recover(self) -> None:
        """A build cannot be picked up again: the command that ran it is gone, and its workspace goes too."""
        for build in self._store.list(KIND):
            if build["status"] not in FINAL:
                self._runner.sweep(build["id"])
                ended = {
                    "status": "INTERNAL_ERROR",
                    "statusDetail": "The emulator stopped while the build was running. Submit it again.",
                    "finishTime": timestamp(self._clock.now_ns()),
                }
                self._store.put(KIND, build["id"], {**build, **ended})
        shutil.rmtree(self._settings.state / "builds", ignore_errors=True)

    def close(self) -> None:
        with self._lock:
            lives = list(self._lives.values())
        for life in lives:
            life.stop("INTERNAL_ERROR", "The emulator was stopped while the build was running.")
        for life in lives:
            life.join(LEAVE_SECONDS)
        self._objects.close()

    def _log_folder(self, build: Document) -> None:
        """Settle where log-ID.txt goes; UNAVAILABLE where storage does not answer."""
        try:
            self._settle_log_folder(build)
        except ObjectError as error:
            raise ApiError("UNAVAILABLE", str(error)) from error

    def _settle_log_folder(self, build: Document) -> None:
        """The named bucket must exist, the default one is made."""
        if build.get("options", {}).get("logging") in NO_LOG_OBJECT:
            build.pop("logsBucket", None)
            return
        if given := build.get("logsBucket"):
            bucket = given.removeprefix("gs://").split("/")[0]
            if not self._objects.bucket_exists(bucket):
                raise invalid(f'invalid bucket "{bucket}": the logs bucket does not exist')
            return
        bucket = f"{self._settings.project_number}.cloudbuild-logs.googleusercontent.com"
        self._objects.make_bucket(bucket)
        build["logsBucket"] = f"gs://{bucket}"

    def _forget(self, build_id: str) -> None:
        with self._lock:
            self._lives.pop(build_id, None)


def _log_url(location: str, build: str, project_number: str) -> str:
    region = "" if location == "global" else f";region={location}"
    return f"https://console.cloud.google.com/cloud-build/builds{region}/{build}?project={project_number}"
