"""Starting what of the stack does not run: addresses, processes, health, bucket, record."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from headway.errors import DeadlinePassed, MachineError, RemoteError
from headway_launcher.stack import health, ports, processes, servers
from headway_launcher.stack.engine import Engine, Network
from headway_launcher.stack.record import (
    BUCKET,
    PROJECT,
    PROJECT_NUMBER,
    REGION,
    REPOSITORY,
    Executor,
    Folder,
    Record,
    Server,
)

Say = Callable[[str], None]

_OURS_ALONE = ("PYDANTIC_DISABLE_PLUGINS",)
"""What `launch` sets for itself. Jobs that are processes of the stack are the user's code, and inherit."""
_FIRST_PORT, _PORT_RANGE = 20_000, 10_000  # below the ports that systems give to outgoing connections
_RACES = 3


class _PortLost(Exception):
    """Somebody else took the port between our look and our server's bind."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(f"{name}: {port}")
        self.port = port


def start(
    folder: Folder,
    record: Record | None,
    *,
    executor: Executor,
    engine: Engine | None,
    port: int | None,
    say: Say,
    deadline: float,
) -> Record:
    """Start the servers that are not healthy, wait for all of them, and publish the record.

    What runs well is left alone. What this call started is ended again where it fails. Raises MachineError
    where a server ends at once or a wished port is taken, DeadlinePassed after `deadline` seconds.
    """
    until = time.monotonic() + deadline
    name = network_name(folder)
    lost: set[int] = set()
    try:
        network = engine.ensure_network(name, folder.remembered().get("subnet")) if engine else None
        for _ in range(_RACES):
            try:
                return _Attempt(folder, record, executor, network, port, say, until, frozenset(lost)).run()
            except _PortLost as race:
                lost.add(race.port)
        raise MachineError(f"ports {sorted(lost)} were taken by others, one after the other; try again")
    except BaseException:
        if record is None:  # nothing ran before, so nothing may stay behind
            folder.forget()
            if engine is not None:
                engine.remove_network(name, say)
        raise


def network_name(folder: Folder) -> str:
    """One network a state folder, so that two stacks on a machine do not meet."""
    return f"headway-{_folder_hash(folder):08x}"


def _folder_hash(folder: Folder) -> int:
    return int(hashlib.sha256(str(folder.root.resolve()).encode()).hexdigest()[:8], 16)


@dataclass
class _Attempt:
    folder: Folder
    before: Record | None
    executor: Executor
    network: Network | None
    wished_port: int | None
    say: Say
    until: float
    lost: frozenset[int]

    def run(self) -> Record:
        nonce = self.before.nonce if self.before else secrets.token_hex(16)
        healthy = self._healthy(nonce)
        addresses = self._addresses(healthy)
        commands = servers.commands(
            self.folder,
            addresses,
            executor=self.executor,
            network=self.network.name if self.network else None,
            nonce=nonce,
        )
        kept = {c.name: healthy[c.name] for c in commands if self._may_stay(c, healthy)}
        self._end_others(kept)
        record = self._record(addresses, nonce)
        with self._undone_on_failure() as started:
            for command in commands:
                server = kept.get(command.name)
                if server is None:
                    server = _start(command, started)
                record = replace(record, servers=(*record.servers, server))
                self.folder.write(record, finished=False)
            _wait_until_healthy(record, started, self.until)
            _create_bucket(record)
            _create_repository(record)
            self.folder.remember(record)
            self.folder.write(record, finished=True)
        return record

    def _healthy(self, nonce: str) -> dict[str, Server]:
        found = self.before.servers if self.before else ()
        return {s.name: s for s in found if health.look(s, nonce, patient=True).state == "healthy"}

    def _addresses(self, healthy: Mapping[str, Server]) -> servers.Addresses:
        """Each server's port: its own while it runs, else the last one where that is free, else a new one."""
        public_host = self.network.gateway if self.network else "127.0.0.1"
        chosen: dict[str, int] = {name: server.port for name, server in healthy.items()}
        first = _FIRST_PORT + _folder_hash(self.folder) % _PORT_RANGE
        self._end_others(healthy)  # a server that hangs would hold its port
        for name in servers.NAMES:
            if name in chosen:
                continue
            hosts = servers.Addresses(public_host, {}).hosts(name)
            wished = self.wished_port if name == "emulator" else None
            chosen[name] = self._port(name, hosts, wished, first, {*chosen.values(), *self.lost})
        return servers.Addresses(public_host, chosen)

    def _port(
        self, name: str, hosts: tuple[str, ...], wished: int | None, first: int, taken: set[int]
    ) -> int:
        if wished is not None:
            if ports.is_free(wished, hosts) and wished not in taken:
                return wished
            raise MachineError(
                f"port {wished} is taken by {ports.holder(wished) or 'another program'}",
                hint="choose another --port, or leave it out to get a free one",
            )
        last = self.folder.remembered().get("ports", {}).get(name)
        if last is None:
            return ports.choose(first, hosts, taken)
        if last not in taken and ports.is_free(last, hosts):
            return int(last)
        port = ports.choose(first, hosts, {*taken, last})
        self.say(f"port {last} is taken by {ports.holder(last) or 'another program'}: {name} gets {port}")
        return port

    def _may_stay(self, command: servers.Command, healthy: Mapping[str, Server]) -> bool:
        server = healthy.get(command.name)
        return server is not None and server.command == command.digest

    def _end_others(self, kept: Mapping[str, Server]) -> None:
        """End servers of the last time that are not kept: hanging, or to be started otherwise."""
        doomed = [s for s in (self.before.servers if self.before else ()) if s.name not in kept]
        alive = [processes.find(server.pid, server.create_time) for server in doomed]
        processes.end([process for process in alive if process is not None])

    def _record(self, addresses: servers.Addresses, nonce: str) -> Record:
        return Record(
            project=PROJECT,
            project_number=PROJECT_NUMBER,
            region=REGION,
            bucket=BUCKET,
            dvc_remote=f"gs://{BUCKET}/dvc",
            tracking_uri=addresses.url("mlflow"),
            emulator_url=addresses.url("emulator"),
            mlflow_url=addresses.url("mlflow"),
            executor=self.executor,
            network=self.network.name if self.network else None,
            subnet=self.network.subnet if self.network else None,
            nonce=nonce,
            servers=(),
        )

    @contextmanager
    def _undone_on_failure(self) -> Iterator[dict[str, psutil.Process]]:
        """Collects what is started; ended again where the block does not end well (Ctrl-C included)."""
        started: dict[str, psutil.Process] = {}
        try:
            yield started
        except BaseException:
            processes.end(started.values())
            raise


def _start(command: servers.Command, started: dict[str, psutil.Process]) -> Server:
    environment = _environment(command)
    with processes.undisturbed():
        process = processes.start(command.argv, environment, command.log)
        started[command.name] = process
    return Server(
        name=command.name,
        pid=process.pid,
        create_time=process.create_time(),
        url=command.url,
        port=command.port,
        log=str(command.log),
        command=command.digest,
    )


def _environment(command: servers.Command) -> dict[str, str]:
    """Ours, the command's own, and no proxy between the servers: they are addresses of this machine."""
    hosts = {urlsplit(url).hostname or "" for url in (command.url, *command.env.values()) if "://" in url}
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    direct = ",".join([*filter(None, [given]), "127.0.0.1", "localhost", *sorted(hosts)])
    inherited = {name: value for name, value in os.environ.items() if name not in _OURS_ALONE}
    return {**inherited, **command.env, "no_proxy": direct, "NO_PROXY": direct}


def _wait_until_healthy(record: Record, started: Mapping[str, psutil.Process], until: float) -> None:
    waiting = {server.name: server for server in record.servers if server.name in started}
    while waiting:
        for name, server in list(waiting.items()):
            found = health.look_at(started[name], server, record.nonce)
            if found.state == "healthy":
                del waiting[name]
            elif found.state == "crashed":
                raise _why_it_ended(server)
            elif time.monotonic() > until:
                raise DeadlinePassed(
                    f"{name} did not become healthy in time: {found.reason}",
                    details=processes.tail(Path(server.log)),
                    hint=f"its log is {server.log}",
                )
        time.sleep(0.05)


def _why_it_ended(server: Server) -> Exception:
    host = urlsplit(server.url).hostname or "127.0.0.1"
    if not ports.is_free(server.port, (host,)):
        return _PortLost(server.name, server.port)
    return MachineError(
        f"{server.name} ended while it was starting",
        details=processes.tail(Path(server.log)),
        hint=f"its whole log is {server.log}",
    )


def _create_bucket(record: Record) -> None:
    """Create the stack's bucket, regional as training buckets must be; one that is there is left as it is."""
    body = {"name": record.bucket, "location": record.region.upper(), "locationType": "region"}
    _create(record, f"the bucket {record.bucket}", f"/storage/v1/b?project={record.project}", body)


def _create_repository(record: Record) -> None:
    """Create the Artifact Registry repository of the images, as Terraform does in a real project."""
    parent = f"projects/{record.project}/locations/{record.region}"
    path = f"/artifactregistry/v1/{parent}/repositories?repositoryId={REPOSITORY}"
    _create(record, f"the repository {REPOSITORY}", path, {"format": "DOCKER"})


def _create(record: Record, what: str, path: str, document: dict[str, str]) -> None:
    """Raises RemoteError; what is there already is left as it is."""
    address = urlsplit(record.emulator_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise RemoteError(f"the emulator did not create {what}: {error}") from error
    finally:
        connection.close()
    if response.status not in (200, 409):
        raise RemoteError(
            f"the emulator did not create {what}: HTTP {response.status}",
            details=answer.splitlines()[:5],
        )
