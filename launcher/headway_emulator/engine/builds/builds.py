"""Builds as a collection: made, queued, approved, cancelled, and ended where a restart cut them off."""

from __future__ import annotations

import re
import shutil
import threading
import uuid
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from headway_emulator.engine.builds import rules as build_rules
from headway_emulator.engine.builds import substitutions
from headway_emulator.engine.builds.life import BuildLife
from headway_emulator.engine.builds.site import FINAL, KIND, REQUEST, Ended, Site, key
from headway_emulator.engine.builds.steps import StepRunner
from headway_emulator.engine.clock import SECOND, Alarm, Clock, parse_timestamp
from headway_emulator.engine.faults import Faults
from headway_emulator.engine.objects import ObjectError, Objects
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import ApiError, invalid, not_found, precondition
from headway_emulator.settings import Settings

DEFAULT_TIMEOUT = "3600s"
"""Build.timeout: 60 minutes; the same is kept for queueTtl, whose default Google's page gives as an hour."""
LEAVE_SECONDS = 15.0
AT_ONCE = 10
"""Builds of one location that run at the same time; a quota named concurrent_builds says otherwise."""
CONCURRENT = "concurrent_builds"
LOGS_BUCKET = re.compile(r"(gs://)?[a-z0-9][a-z0-9._-]+(/.*)?")


class Builds:
    """Every build of the project; each one that works has a thread, the others wait in the state."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        objects: Objects,
        runner: StepRunner,
        faults: Faults,
    ) -> None:
        self._settings = settings
        self._store = store
        self._site = Site(store, clock, objects, runner, faults, settings.state / "builds")
        self._lives: dict[str, BuildLife] = {}
        self._waiting: dict[str, Alarm] = {}
        """In the order they came, each with the alarm of its queueTtl."""
        self._closed = False
        self._lock = threading.RLock()

    def create(
        self, location: str, body: Mapping[str, Any], triggered: Mapping[str, Any] | None = None
    ) -> Document:
        """Check the request, fill in substitutions, store the build and let it start when its turn comes.

        `triggered` is what a trigger adds: `fields` of the build, and `builtIns` that it knows.
        """
        build_rules.check(body)
        triggered = triggered or {}
        build_id = str(uuid.uuid4())
        built_ins = self._built_ins(build_id, location, body) | dict(triggered.get("builtIns", {}))
        build: Document = {
            **_completed(substitutions.apply(body, built_ins)),
            **triggered.get("fields", {}),
            "id": build_id,
            "name": f"projects/{self._settings.project_number}/locations/{location}/builds/{build_id}",
            "projectId": self._settings.project,
            "createTime": self._site.now(),
            "logUrl": _log_url(location, build_id, self._settings.project_number),
        }
        build["status"] = "PENDING" if "approval" in build else "QUEUED"
        build_rules.check_filled(build)
        self._log_folder(location, build)
        request = {
            "location": location,
            "body": dict(body),
            "triggered": dict(triggered),
            "builtIns": built_ins,
        }
        with self._lock:  # or a cancel in between would be overrun
            with self._store.transaction():
                self._store.put(REQUEST, build_id, request)
                self._store.put(KIND, key(build), build)
            if build["status"] == "QUEUED":
                self._queue(build)
        return build

    def get(self, location: str, build_id: str) -> Document:
        build = self._store.get(KIND, f"{location}/{build_id}")
        if build is None:
            raise not_found(f"projects/{self._settings.project}/locations/{location}/builds/{build_id}")
        return build

    def anywhere(self, build_id: str) -> Document:
        """Of any location: an operation names its build alone."""
        request = self._store.get(REQUEST, build_id) or {}
        return self.get(request.get("location", "global"), build_id)

    def retry(self, location: str, build_id: str) -> Document:
        """A new build of the request that the old one was made from."""
        self.get(location, build_id)
        request = self._store.get(REQUEST, build_id) or {}
        return self.create(location, request["body"], request["triggered"])

    def approve(self, location: str, build_id: str, result: Mapping[str, Any]) -> Document:
        """Let a pending build go on, or end it."""
        with self._lock:
            build = self.get(location, build_id)
            if build["status"] != "PENDING":
                raise precondition(
                    f"Build {build_id} is not pending approval: its status is {build['status']}."
                )
            decision = result["decision"]
            shown = {**result, "approvalTime": self._site.now()}
            build["approval"] = {**build["approval"], "state": decision, "result": shown}
            build["status"] = "QUEUED"
            if decision == "REJECTED":
                return self._close_build(build, Ended("CANCELLED", "Build was rejected."))
            self._store.put(KIND, key(build), build)
            self._queue(build)
        return build

    def cancel(self, location: str, build_id: str) -> Document:
        """The build when it has ended."""
        reason = Ended("CANCELLED", "Build cancelled by user")
        with self._lock:
            build = self.get(location, build_id)
            if build["status"] in FINAL:
                raise precondition(f"Build {build_id} has already ended with status {build['status']}.")
            if build["status"] == "PENDING":
                build["approval"] = {**build["approval"], "state": "CANCELLED"}
            life = self._lives.get(key(build))
            if life is None:
                return self._close_build(build, reason)
        life.stop(reason)
        life.join(LEAVE_SECONDS)
        return self.get(location, build_id)

    def recover(self) -> None:
        """A build that was cut off cannot be picked up again; one that had not begun waits again."""
        shutil.rmtree(self._site.folder, ignore_errors=True)
        for build in reversed(self._store.list(KIND)):
            if build["status"] == "WORKING":
                self._site.runner.sweep(build["id"])
                text = "The emulator stopped while the build was running. Submit it again."
                self._close_build(build, Ended("INTERNAL_ERROR", text))
            elif build["status"] == "QUEUED":
                self._queue(build)

    def close(self) -> None:
        """Running builds end; waiting ones go on waiting in the state."""
        with self._lock:
            self._closed = True
            lives = list(self._lives.values())
            for alarm in self._waiting.values():
                alarm.cancel()
        for life in lives:
            life.stop(Ended("INTERNAL_ERROR", "The emulator was stopped while the build was running."))
        for life in lives:
            life.join(LEAVE_SECONDS)
        self._site.objects.close()

    def _queue(self, build: Document) -> None:
        """TTL in the queue starts ticking from the build's creation (Build.queue_ttl)."""
        age = (self._site.clock.now_ns() - parse_timestamp(build["createTime"])) / SECOND
        left = float(build["queueTtl"].removesuffix("s")) - age
        name = key(build)
        with self._lock:
            if left <= 0:
                self._waiting[name] = self._site.clock.after(0, lambda: None)
                self._expire(name)
                return
            self._waiting[name] = self._site.clock.after(left, lambda: self._expire(name))
            self._start_next(name.split("/")[0])

    def _start_next(self, location: str) -> None:
        with self._lock:
            here = [name for name in self._waiting if name.startswith(f"{location}/")]
            running = sum(name.startswith(f"{location}/") for name in self._lives)
            if self._closed:
                return
            for name in here[: max(0, self._at_once(location) - running)]:
                self._waiting.pop(name).cancel()
                life = BuildLife(name, self._settings, self._site, self._ended)
                self._lives[name] = life
                life.start()

    def _ended(self, name: str) -> None:
        with self._lock:
            self._lives.pop(name, None)
            self._start_next(name.split("/")[0])

    def _expire(self, name: str) -> None:
        with self._lock:
            build = self._store.get(KIND, name)
            if name in self._waiting and build is not None and not self._closed:
                ttl = build["queueTtl"]
                self._close_build(
                    build, Ended("EXPIRED", f"Build was queued for longer than its queue_ttl of {ttl}.")
                )

    def _close_build(self, build: Document, reason: Ended) -> Document:
        """End a build that no thread works on."""
        with self._lock:
            if (alarm := self._waiting.pop(key(build), None)) is not None:
                alarm.cancel()
            ended = {"status": reason.status, "statusDetail": reason.detail, "finishTime": self._site.now()}
            build = {**build, **ended}
            self._store.put(KIND, key(build), build)
        return build

    def _at_once(self, location: str) -> int:
        for quota in self._settings.quotas:
            if fnmatchcase(CONCURRENT, str(quota.get("metric", "*"))) and fnmatchcase(
                location, str(quota.get("region", "*"))
            ):
                return int(quota["limit"])
        return AT_ONCE

    def _built_ins(self, build_id: str, location: str, body: Mapping[str, Any]) -> dict[str, str]:
        project, number = self._settings.project, self._settings.project_number
        default = f"projects/{project}/serviceAccounts/{number}-compute@developer.gserviceaccount.com"
        account = body.get("serviceAccount") or default
        return substitutions.built_in(project, number, build_id, location, account)

    def _log_folder(self, location: str, build: Document) -> None:
        """Settle where log-ID.txt goes; UNAVAILABLE where storage does not answer."""
        try:
            self._settle_log_folder(location, build)
        except ObjectError as error:
            raise ApiError("UNAVAILABLE", str(error)) from error

    def _settle_log_folder(self, location: str, build: Document) -> None:
        """The named bucket must exist, the default one is made."""
        options = build.get("options", {})
        if options.get("logging") in build_rules.NO_LOG_OBJECT:
            build.pop("logsBucket", None)
            return
        if given := build.get("logsBucket"):
            if not LOGS_BUCKET.fullmatch(given):
                raise invalid(f'invalid logs bucket "{given}"')
            bucket = given.removeprefix("gs://").split("/")[0]
            if not self._site.objects.bucket_exists(bucket):
                raise invalid(f'invalid bucket "{bucket}": the logs bucket does not exist')
            return
        number = self._settings.project_number
        bucket = f"{number}.cloudbuild-logs.googleusercontent.com"
        if options.get("defaultLogsBucketBehavior") == "REGIONAL_USER_OWNED_BUCKET":
            bucket = f"{number}-{location}-cloudbuild-logs"
        self._site.objects.make_bucket(bucket)
        build["logsBucket"] = f"gs://{bucket}"


def _completed(build: Document) -> Document:
    """What the service fills in: times, the one list of images in both places, tags without doubles."""
    completed = dict(build)
    for field in ("timeout", "queueTtl"):
        if not float(completed.get(field, "0s").removesuffix("s")):
            completed[field] = DEFAULT_TIMEOUT
    if names := build_rules.images(build):
        completed["images"] = names
        completed["artifacts"] = {**build.get("artifacts", {}), "images": names}
    if "tags" in build:
        completed["tags"] = list(dict.fromkeys(tag for tag in build["tags"] if tag))
    return completed


def _log_url(location: str, build: str, project_number: str) -> str:
    region = "" if location == "global" else f";region={location}"
    return f"https://console.cloud.google.com/cloud-build/builds{region}/{build}?project={project_number}"
