"""Cloud Functions: deployed by threads, kept in the state, and run as processes when they are called.

A deployment fetches the source, checks it and starts the function once, as Google's health check does; only
then is the revision served. What the end of the emulator cut off is deployed again by the next one.
"""

from __future__ import annotations

import random
import secrets
import shutil
import string
import sys
import threading
import traceback
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway_emulator.engine.builds.site import Ended
from headway_emulator.engine.clock import Clock, Hold, timestamp
from headway_emulator.engine.functions import source
from headway_emulator.engine.functions.environment import of_instance
from headway_emulator.engine.functions.instance import END_SECONDS, Instance, NotStarted
from headway_emulator.engine.functions.log import FunctionLog
from headway_emulator.engine.functions.source import BuildFailed
from headway_emulator.engine.objects import Objects
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import RPC_CODE, ApiError
from headway_emulator.settings import Settings

KIND = "function"
SERVED = "functionServed"
"""By a function's name: the revision that answers, with the function as it was deployed."""
OPERATION = "functionOperation"
FOLDER = "functions"
"""Of the state folder: the unpacked sources."""
IDLE_SECONDS = 300.0
"""Real time, also on a virtual clock: stepping a month must not start a process for each tick."""
DEPLOYERS = 4
PACKAGE = "type.googleapis.com/google.cloud.functions.v2"
EMPTY: Document = {"@type": "type.googleapis.com/google.protobuf.Empty"}
CALLS = "/run/functions"
"""Below it are the addresses of functions."""


@dataclass(frozen=True)
class Revision:
    """What answers for a function."""

    name: str
    number: int
    function: Document

    @property
    def timeout(self) -> float:
        """Seconds that a call may take."""
        return float(self.function["serviceConfig"]["timeoutSeconds"])


class NotServed(Exception):
    """No function of that name answers."""


class Functions:
    """Every function of the project."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        objects: Objects,
        *,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._objects = objects
        self._idle_seconds = idle_seconds
        self._deployers = ThreadPoolExecutor(DEPLOYERS, thread_name_prefix="deploy")
        self._lock = threading.Lock()
        """Of the three below."""
        self._instances: dict[str, Instance] = {}
        self._starting: dict[str, Future[None]] = {}
        self._all: set[Instance] = set()
        self._closed = False

    # -- what the API asks

    def create(self, function: Document) -> Document:
        """The operation; the function is there at once, DEPLOYING."""
        with self._store.transaction():
            if self._store.get(KIND, function["name"]) is not None:
                raise ApiError("ALREADY_EXISTS", f"Resource '{function['name']}' already exists.")
            now = self._now()
            made = {**function, "createTime": now, "updateTime": now, "state": "DEPLOYING"}
            self._store.put(KIND, made["name"], made)
            operation = self._begin("CREATE_FUNCTION", made)
        self._deploy_soon(operation)
        return operation

    def update(self, function: Document) -> Document:
        """The operation; the revision before goes on answering until the new one does."""
        with self._store.transaction():
            self._check_idle(function["name"])
            changed = {**function, "updateTime": self._now(), "state": "DEPLOYING"}
            changed.pop("stateMessages", None)
            if self._store.get(SERVED, function["name"]) is not None:
                changed = self._addressed(changed)
            self._store.put(KIND, changed["name"], changed)
            operation = self._begin("UPDATE_FUNCTION", changed)
        self._deploy_soon(operation)
        return operation

    def delete(self, name: str) -> Document:
        """The operation, which is done: the function is gone, and its process with it."""
        with self._store.transaction():
            self._check_idle(name)
            operation = self._begin("DELETE_FUNCTION", self._store.get(KIND, name) or {"name": name})
            served = self._store.get(SERVED, name)
            self._store.delete(SERVED, name)
            self._store.delete(KIND, name)
            self._end(operation, {"response": EMPTY})
        if served is not None:
            self._discard(served["revision"])
        return operation

    # -- what answers

    def revision(self, name: str) -> Revision:
        """NotServed where there is none: never deployed, or deleted."""
        served = self._store.get(SERVED, name)
        if served is None:
            raise NotServed
        return Revision(served["revision"], served["number"], served["function"])

    def enter(self, name: str) -> tuple[Revision, Instance | Future[None]]:
        """For one call: the revision that answers now, and its running instance, which `leave` ends.

        Where none runs, one is being started: the future is done when it listens, or has NotStarted, and then
        it is entered by asking again. Nothing waits here, in a thread that other services need. NotServed.
        """
        revision = self.revision(name)
        with self._lock:
            instance = self._instances.get(revision.name)
            if instance is not None and instance.enter():
                return revision, instance
            coming = self._starting.get(revision.name)
            if coming is None:
                coming = self._starting[revision.name] = Future()
                coming.set_running_or_notify_cancel()  # it is everybody's: no caller can cancel it
                words = (name, revision, coming)
                threading.Thread(target=self._start_for_calls, args=words, daemon=True).start()
        return revision, coming

    def log(self, name: str, revision: Revision) -> FunctionLog:
        return FunctionLog(self._store, self._clock, name, revision.name)

    # -- the emulator's beginning and end

    def recover(self) -> None:
        """Deploy what was being deployed, and tell the address that this emulator has."""
        self._end_leftovers()
        for operation in reversed(self._store.list(OPERATION)):
            if not operation.get("done"):
                self._deploy_soon(operation)
        for served in self._store.list(SERVED):
            name = served["function"]["name"]
            with self._store.transaction():
                if (function := self._store.get(KIND, name)) is not None:
                    self._store.put(KIND, name, self._addressed(function))

    def close(self) -> None:
        """Every process is ended; what is being deployed is deployed again by the next emulator."""
        with self._lock:
            self._closed = True
            instances, starting = list(self._all), list(self._starting.values())
        self._deployers.shutdown(wait=False, cancel_futures=True)
        for instance in instances:
            instance.kill()
        for instance in instances:
            instance.wait()
        wait(starting, END_SECONDS)
        self._deployers.shutdown(wait=True)
        self._objects.close()

    # -- deploying

    def _deploy_soon(self, operation: Document) -> None:
        hold = self._clock.working()
        try:
            self._deployers.submit(self._deploy, operation, hold)
        except RuntimeError:  # the emulator is ending
            hold.release()

    def _deploy(self, operation: Document, hold: Hold) -> None:
        name = operation["metadata"]["target"]
        with hold:
            try:
                function = self._store.get(KIND, name)
                if function is not None:
                    self._deployed(operation, function)
            except (BuildFailed, NotStarted) as error:
                self._failed(operation, name, str(error))
            except Exception as error:  # noqa: BLE001 - a bug in one deployment is the end of that one alone
                if not self._closed:
                    traceback.print_exc(file=sys.stderr)
                    self._failed(operation, name, f"internal error of the emulator: {error}")

    def _deployed(self, operation: Document, function: Document) -> None:
        name = function["name"]
        before = self._store.get(SERVED, name)
        number = (before["number"] if before else 0) + 1
        short = name.rsplit("/", 1)[1]
        revision = Revision(f"{short}-{number:05d}-{_letters(3)}", number, function)
        folder = self._folder(revision)
        try:
            given = function["buildConfig"]["source"]["storageSource"]
            try:
                generation = source.fetch(self._objects, given, folder)
                source.check(folder)
            except BuildFailed as error:
                raise BuildFailed(f"Build failed with status: FAILURE and message: {error}.") from error
            resolved = {**given, **({"generation": generation} if generation else {})}
            function["buildConfig"]["sourceProvenance"] = {"resolvedStorageSource": resolved}
            location = name.rsplit("/", 2)[0]
            config = function["serviceConfig"]
            config |= {"revision": revision.name, "service": f"{location}/services/{short}"}
            try:
                instance = self._start(name, revision)
            except NotStarted as error:
                raise NotStarted(
                    f"Could not create or update Cloud Run service {short}, Container Healthcheck failed. "
                    f"Revision '{revision.name}' is not ready and cannot serve traffic: {error}. "
                    "Logs for this revision might contain more information."
                ) from error
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._serve(operation, function, revision)
        instance.rest()
        if before:
            self._retire(before["revision"])

    def _serve(self, operation: Document, function: Document, revision: Revision) -> None:
        name = function["name"]
        kept = {"revision": revision.name, "number": revision.number, "function": function}
        active = self._addressed({**function, "state": "ACTIVE", "updateTime": self._now()})
        with self._store.transaction():
            self._store.put(SERVED, name, kept)
            self._store.put(KIND, name, active)
            self._end(operation, {"response": {"@type": f"{PACKAGE}.Function", **active}})

    def _failed(self, operation: Document, name: str, why: str) -> None:
        """A function that was served before goes on as it was, with the failure told."""
        if self._closed:
            return
        told = {"severity": "ERROR", "type": "DeploymentFailed", "message": why}
        status = {"code": RPC_CODE["INVALID_ARGUMENT"], "message": why}
        with self._store.transaction():
            served = self._store.get(SERVED, name)
            function = served["function"] if served else (self._store.get(KIND, name) or {})
            state = "ACTIVE" if served else "FAILED"
            function = {**function, "state": state, "stateMessages": [told], "updateTime": self._now()}
            self._store.put(KIND, name, self._addressed(function) if served else function)
            self._end(operation, {"error": status})

    def _addressed(self, function: Document) -> Document:
        _, _, _, location, _, short = function["name"].split("/")
        address = f"{self._settings.public_url}{CALLS}/{location}/{short}"
        return {
            **function,
            "serviceConfig": {**function["serviceConfig"], "uri": address},
            "url": address,
        }

    # -- instances

    def _start(self, name: str, revision: Revision) -> Instance:
        """A new one in the place of the last; in any thread, it takes a second or two."""
        log = self.log(name, revision)
        try:
            env = of_instance(
                self._settings, self._store, name, revision.name, revision.function, self._now()
            )
        except Ended as error:  # a secret that it asks for is not there
            raise NotStarted(str(error)) from error
        instance = Instance(self._store, log, idle_seconds=self._idle_seconds)
        folder = self._folder(revision)
        if not folder.is_dir():
            raise NotStarted(f"its source folder {folder} is gone: deploy the function again")
        with self._lock:
            if self._closed:
                raise NotStarted("the emulator is ending")
            self._all = {one for one in self._all if not one.over} | {instance}
        target = revision.function["buildConfig"]["entryPoint"]
        instance.start(folder, target, env, lambda: not self._closed)
        with self._lock:
            self._instances[revision.name] = instance
            closed = self._closed
        if closed:
            instance.kill()
            raise NotStarted("the emulator is ending")
        return instance

    def _start_for_calls(self, name: str, revision: Revision, coming: Future[None]) -> None:
        failure: NotStarted | None = None
        try:
            self._start(name, revision).rest()
            self._settle(name, revision)
        except NotStarted as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - else its callers would wait for ever
            if not self._closed:
                traceback.print_exc(file=sys.stderr)
            failure = NotStarted(f"internal error of the emulator: {error}")
        with self._lock:
            self._starting.pop(revision.name, None)
        if failure is None:
            coming.set_result(None)
        else:
            coming.set_exception(failure)

    def _settle(self, name: str, revision: Revision) -> None:
        """Whoever replaced or deleted the revision while its instance began did not see the instance."""
        try:
            if self.revision(name).name != revision.name:
                self._retire(revision.name)
        except NotServed:
            self._discard(revision.name)

    def _retire(self, revision: str) -> None:
        with self._lock:
            instance = self._instances.pop(revision, None)
        if instance is not None:
            instance.retire()
            threading.Thread(target=self._remove, args=(instance, revision), daemon=True).start()
        else:
            shutil.rmtree(self._settings.state / FOLDER / revision, ignore_errors=True)

    def _remove(self, instance: Instance, revision: str) -> None:
        """Its folder goes when its last call has ended."""
        if instance.wait(3600.0):
            shutil.rmtree(self._settings.state / FOLDER / revision, ignore_errors=True)

    def _discard(self, revision: str) -> None:
        with self._lock:
            instance = self._instances.pop(revision, None)
        if instance is not None:
            instance.kill()
            instance.wait()
        shutil.rmtree(self._settings.state / FOLDER / revision, ignore_errors=True)

    def _end_leftovers(self) -> None:
        """Folders of revisions that are not served: of a deployment or a deletion that was cut off."""
        kept = {served["revision"] for served in self._store.list(SERVED)}
        folder = self._settings.state / FOLDER
        for found in folder.iterdir() if folder.is_dir() else ():
            if found.name not in kept:
                shutil.rmtree(found, ignore_errors=True) if found.is_dir() else found.unlink(missing_ok=True)

    def _folder(self, revision: Revision) -> Path:
        return self._settings.state / FOLDER / revision.name

    # -- operations

    def _check_idle(self, name: str) -> None:
        function = self._store.get(KIND, name)
        if function is not None and function["state"] == "DEPLOYING":
            raise ApiError("ABORTED", f"unable to queue the operation: {name} is being deployed.")

    def _begin(self, kind: str, function: Document) -> Document:
        location = function["name"].rsplit("/", 2)[0]
        now = self._now()
        identity = f"operation-{self._clock.now_ns() // 1_000_000}-{secrets.token_hex(8)}"
        metadata: dict[str, Any] = {
            "@type": f"{PACKAGE}.OperationMetadata",
            "apiVersion": "v2",
            "createTime": now,
            "operationType": kind,
            "target": function["name"],
            "verb": kind.split("_")[0].lower(),
        }
        if kind != "DELETE_FUNCTION":
            metadata["stages"] = _stages("NOT_STARTED")
            metadata["requestResource"] = {"@type": f"{PACKAGE}.Function", **function}
        operation: Document = {"name": f"{location}/operations/{identity}", "metadata": metadata}
        self._store.put(OPERATION, operation["name"], operation)
        return operation

    def _end(self, operation: Document, outcome: Document) -> None:
        operation |= {"done": True, **outcome}
        metadata = operation["metadata"] = {**operation["metadata"], "endTime": self._now()}
        if "stages" in metadata:
            metadata["stages"] = _stages("COMPLETE")
        self._store.put(OPERATION, operation["name"], operation)

    def _now(self) -> str:
        return timestamp(self._clock.now_ns())


def _stages(state: str) -> list[Document]:
    return [{"name": name, "state": state} for name in ("BUILD", "SERVICE")]


def _letters(count: int) -> str:
    return "".join(random.choices(string.ascii_lowercase, k=count))
