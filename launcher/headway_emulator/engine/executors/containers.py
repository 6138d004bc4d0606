"""Replicas as containers of a Docker engine, on the job network under the host names of CLUSTER_SPEC."""

from __future__ import annotations

import io
import platform
import sys
import tarfile
import threading
import time
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import DeviceRequest
from requests import RequestException
from urllib3.exceptions import HTTPError

from headway_emulator.engine.clock import nano_timestamp
from headway_emulator.engine.executors.container_logs import Output, created, seconds_to_take_in
from headway_emulator.engine.executors.process_groups import gone
from headway_emulator.engine.executors.protocol import (
    Events,
    Executor,
    ExecutorError,
    Exited,
    Handle,
    Line,
    Replica,
)
from headway_emulator.engine.executors.sizes import GB, Size, share
from headway_emulator.engine.images.images import local

LABEL = "headway-emulator"
"""Labels: LABEL is the state's own id, LABEL.job and LABEL.task name the replica."""
PORT = 2222
"""The port of CLUSTER_SPEC on Vertex AI."""
ENGINE_DEADLINE = 30
PULL_DEADLINE = 20
SHARED_MEMORY = "1g"
"""The engine's default of 64 MB is too small for PyTorch's data loaders."""
GPU_RUNTIME = "nvidia"
"""What NVIDIA's container toolkit adds to an engine."""
LOG_RETRIES = 5
SIGNAL_WAITS = (0.2, 1.0, 0.0)
"""Seconds after each time that the engine did not answer: without its signal a replica may never end."""


class DockerExecutor:
    """Executor over a Docker engine; `owner` tells this emulator's containers from another's."""

    note = ""

    def __init__(self, network: str, owner: str) -> None:
        self._client = DockerClient.from_env(timeout=ENGINE_DEADLINE)
        self._network = network
        self._owner = owner
        self._networks: set[str] = set()
        """Jobs whose own network is there."""
        self._network_lock = threading.Lock()
        self._unreleased: set[str] = set()
        """Jobs that are over, and of which something may be left."""
        engine = self._client.info()
        self._same_machine = engine.get("Name") == platform.node()
        self._here = Size(float(engine["NCPU"]), engine["MemTotal"] / GB)
        self.accelerators = "all GPUs of this machine" if GPU_RUNTIME in engine.get("Runtimes", {}) else ""

    def _handle(self, container: str, task: str, events: Events) -> ContainerHandle:
        return ContainerHandle(self._client, container, task, events, same_machine=self._same_machine)

    def limits(self, machine: str) -> str:
        return str(share(machine, self._here) or "")

    def prepare(self, image: str) -> None:
        try:
            if self.digest(image):
                return
            puller = DockerClient.from_env(timeout=PULL_DEADLINE)
        except (DockerException, RequestException) as error:
            raise ExecutorError(
                "UNAVAILABLE",
                f"The Docker engine does not answer: {_reason(error)}. Start it and submit again.",
            ) from error
        try:
            puller.images.pull(image)
        except (DockerException, RequestException) as error:
            raise ExecutorError(
                "NOT_FOUND",
                f'Image "{image}" is not on the Docker engine and could not be pulled within '
                f"{PULL_DEADLINE} s: {_reason(error)}. Build it first, or check its name.",
            ) from error
        finally:
            puller.close()

    def digest(self, name: str) -> str:
        """The digest under which the engine holds the image, or an empty string."""
        try:
            found = self._client.images.get(local(name))
        except ImageNotFound:
            return ""
        except APIError as error:
            if error.is_client_error():
                return ""
            raise
        return str(found.id)

    def addresses(self, job: str, tasks: Sequence[str]) -> Mapping[str, str]:
        """Names such as cmle-training-workerpool0-3f9a2b1c-0, unique for each job on the network."""
        suffix = f"{int(job) & 0xFFFFFFFF:08x}"
        return {task: f"cmle-training-{_split(task)[0]}-{suffix}-{_split(task)[1]}:{PORT}" for task in tasks}

    def start(self, replica: Replica, events: Events) -> Handle:
        api = self._client.api
        try:
            container = api.create_container(**self._creation(replica))["Id"]
        except (DockerException, RequestException) as error:
            raise ExecutorError("INTERNAL", f"{replica.task}: no container: {_reason(error)}") from error
        handle = self._handle(container, replica.task, events)
        try:
            api.start(container)
        except (DockerException, RequestException) as error:
            handle.discard()
            raise ExecutorError(
                "INVALID_ARGUMENT", f"{replica.task}: its container did not start: {_reason(error)}"
            ) from error
        handle.follow(0)
        return handle

    def reattach(
        self,
        job: str,
        launches: Mapping[str, int],
        events: Events,
    ) -> Mapping[str, Handle]:
        filters = {"label": [f"{LABEL}={self._owner}", f"{LABEL}.job={job}"]}
        handles: dict[str, Handle] = {}
        for container in self._client.api.containers(all=True, filters=filters):
            task = container["Labels"][f"{LABEL}.task"]
            handle = self._handle(container["Id"], task, events)
            launch = container["Labels"].get(f"{LABEL}.launch", "1")
            if container["State"] == "created" or launch != str(launches.get(task)):
                handle.discard()
                continue
            handle.follow(events.taken(task, created(self._client.api, container["Id"])))
            handles[task] = handle
        return handles

    def sweep(self, keep: Collection[str]) -> None:
        """Remove what earlier emulators on this state left of jobs that are not in `keep`."""
        self._remove_all([f"{LABEL}={self._owner}"], keep)

    def release(self, job: str) -> None:
        """Also what an emulator before this one made, and what an engine that did not answer has kept."""
        self._networks.discard(job)
        self._unreleased.add(job)
        for one in self._unreleased.copy():
            self._remove_all([f"{LABEL}={self._owner}", f"{LABEL}.job={one}"], ())
            self._unreleased.discard(one)

    def _remove_all(self, labels: Sequence[str], keep: Collection[str]) -> None:
        mine = {"label": list(labels)}
        for container in self._client.api.containers(all=True, filters=mine):
            if container["Labels"].get(f"{LABEL}.job") not in keep:
                _remove(self._client, container["Id"])
        for network in self._client.api.networks(filters=mine):
            if network["Labels"].get(f"{LABEL}.job") not in keep:
                self._remove_network(network["Name"])

    def _remove_network(self, name: str) -> None:
        try:
            self._client.api.remove_network(name)
        except (DockerException, RequestException):
            return  # gone already, or still in use: the next start of the emulator sweeps it

    def close(self) -> None:
        """Containers go on running: the next emulator on this state attaches to them again."""
        self._client.close()

    def _creation(self, replica: Replica) -> dict[str, Any]:
        api = self._client.api
        host = replica.env["HOSTNAME"]
        labels = {
            LABEL: self._owner,
            f"{LABEL}.job": replica.job,
            f"{LABEL}.task": replica.task,
            f"{LABEL}.launch": str(replica.launch),
        }
        options: dict[str, Any] = {
            "image": local(replica.image),
            "command": list(replica.args) or None,
            "entrypoint": list(replica.command) or None,
            "environment": dict(replica.env),
            "hostname": host,
            "name": _name(replica),
            "labels": labels,
        }
        host_options: dict[str, Any] = {
            "binds": {host: {"bind": inside, "mode": "ro"} for host, inside in replica.mounts.items()},
            "shm_size": SHARED_MEMORY,
            "log_config": {"type": "json-file", "config": {}},
        }
        if (limit := share(replica.machine, self._here)) is not None:
            host_options["nano_cpus"] = round(limit.given.cpus * 1e9)
            host_options["mem_limit"] = host_options["memswap_limit"] = round(limit.given.memory * GB)
        if self.accelerators and replica.accelerators:
            host_options["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
        if self._network:
            network = self._job_network(replica) if replica.companions else self._network
            host_options["network_mode"] = network
            endpoint = api.create_endpoint_config(aliases=[host])
            options["networking_config"] = api.create_networking_config(
                {network: endpoint}  # type: ignore[arg-type]  # the published stub takes one endpoint, the code a mapping
            )
        return {**options, "host_config": api.create_host_config(**host_options)}

    def _job_network(self, replica: Replica) -> str:
        """Replicas of one job see each other and no other job's; the emulator is reached by its address."""
        name = f"headway-job-{replica.job}"
        with self._network_lock:
            if replica.job not in self._networks:
                if not self._client.api.networks(names=[name]):
                    labels = {LABEL: self._owner, f"{LABEL}.job": replica.job}
                    self._client.api.create_network(
                        name, driver="bridge", labels=labels, check_duplicate=True
                    )
                self._networks.add(replica.job)
        return name


class ContainerHandle:
    """One container, whose output a thread follows until it ends."""

    def __init__(
        self, client: DockerClient, container: str, task: str, events: Events, *, same_machine: bool = False
    ) -> None:
        """`same_machine` where the engine's process numbers are this machine's."""
        self._client = client
        self._same_machine = same_machine
        self._container = container
        self._task = task
        self._events = events
        self._output = Output(client.api, container)
        self._finished = ""
        """When it ended, by the engine."""

    def follow(self, taken: int) -> None:
        """Hand over the lines after the first `taken` and then the exit, from a thread."""
        self._output.taken = taken
        name = f"logs-{self._container[:12]}"
        threading.Thread(target=self._pump, name=name, daemon=True).start()

    def terminate(self) -> None:
        self._signal("SIGTERM")

    def kill(self) -> None:
        self._signal("SIGKILL")

    def discard(self) -> None:
        _remove(self._client, self._container)

    def read(self, path: str) -> bytes | None:
        try:
            pieces, _ = self._client.api.get_archive(self._container, path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
                file = archive.extractfile(archive.getmembers()[0])
                return None if file is None else file.read()
        except (DockerException, RequestException, tarfile.TarError):
            return None

    def ended(self) -> bool:
        """An engine on this machine says so a tenth of a second late: its process is asked as well."""
        try:
            state = self._client.api.inspect_container(self._container)["State"]
        except (DockerException, RequestException):
            return False  # what becomes of it is found out by the thread that follows it
        return not state["Running"] or (self._same_machine and gone(state["Pid"]))

    def _signal(self, signal: str) -> None:
        for wait in SIGNAL_WAITS:
            try:
                self._client.api.kill(self._container, signal)
            except APIError:
                return  # it has ended already; its exit is reported by the thread that follows it
            except (DockerException, RequestException):
                time.sleep(wait)
            else:
                return

    def _pump(self) -> None:
        """Hand over every line, then the exit; one comes whatever happens here, for the job waits for it."""
        try:
            event = self._followed()
        except Exception as error:  # noqa: BLE001 - a bug must not leave the job running for ever; it is printed and recorded
            traceback.print_exc(file=sys.stderr)
            event = Exited(self._task, code=-1, lost=f"its output could not be followed ({error})")
        self._events.exited(event)

    def _followed(self) -> Exited:
        """How the container ended; a broken stream is opened again where it stopped."""
        failures = 0
        while failures < LOG_RETRIES:
            before = self._output.taken
            try:
                self._report(self._output.follow())
                if (event := self._exit()) is not None:
                    self._report(self._output.rest())
                    self._warn(self._finished)
                    return event
            except NotFound:
                break
            except (DockerException, RequestException, HTTPError, OSError):
                time.sleep(0.2 * 2**failures)
            failures = failures + 1 if self._output.taken == before else 1
        return Exited(self._task, code=-1, lost="its container is gone from the Docker engine")

    def _report(self, batches: Iterable[Sequence[Line]]) -> None:
        for lines in batches:
            self._events.lines(self._task, lines)

    def _warn(self, finished: str) -> None:
        """Into the replica's log, where its end may be missing."""
        if (seconds := seconds_to_take_in(self._client.api, self._container, finished)) > 0:
            text = (
                f"headway-emulator: the Docker engine took {seconds:.0f} s to take in the end of the output. "
                "It drops what it has not written by then: lines may be missing. Give the machine less work."
            )
            self._events.lines(self._task, [Line(nano_timestamp(time.time_ns()), "stderr", text)])

    def _exit(self) -> Exited | None:
        """None while it is still running, which is how a cut stream looks."""
        for _ in range(20):
            state = self._client.api.inspect_container(self._container)["State"]
            if not state["Running"]:
                self._finished = str(state["FinishedAt"])
                return Exited(self._task, int(state["ExitCode"]), out_of_memory=bool(state["OOMKilled"]))
            time.sleep(0.02)
        return None


def _remove(client: DockerClient, container: str) -> None:
    try:
        client.api.remove_container(container, force=True, v=True)
    except (DockerException, RequestException):
        return  # gone already, or the engine is: the next start of the emulator sweeps it


def _name(replica: Replica) -> str:
    again = f"-{replica.launch}" if replica.launch > 1 else ""
    return f"headway-job-{replica.job}-{replica.task}{again}"


def _split(task: str) -> tuple[str, str]:
    pool, _, index = task.rpartition("-")
    return pool, index


def _reason(error: Exception) -> str:
    text = error.explanation if isinstance(error, APIError) and error.explanation else str(error)
    return str(text).strip()


def _satisfies(executor: DockerExecutor) -> Executor:
    """Checked by mypy alone: the class keeps to the protocol."""
    return executor
