"""The Docker network of an emulator that was given none: its gateway is known to host and containers."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient

DEADLINE = 30
LABEL = "headway-emulator.state"
"""On the network: MACHINE:FOLDER of the state that it belongs to; a container is a machine of its own."""


class NoEngine(Exception):
    """No Docker engine answers, or it makes no network; the message says what to do."""


@dataclass(frozen=True)
class Network:
    """`gateway` is empty where it is no address of this machine, as with Docker Desktop."""

    name: str
    gateway: str


@contextmanager
def own(state: Path) -> Iterator[Network]:
    """One network for a state folder; it stays where containers go on running on it. Raises NoEngine."""
    from docker import DockerClient
    from docker.errors import APIError, DockerException

    name = f"headway-emulator-{hashlib.sha256(str(state).encode()).hexdigest()[:8]}"
    try:
        client = DockerClient.from_env(timeout=DEADLINE)
        _end_forsaken(client)
        network = _ensured(client, name, state)
    except (DockerException, OSError) as error:  # the errors of requests are OSErrors
        raise NoEngine(_no_engine(error)) from error
    try:
        yield network
    finally:
        with suppress(APIError, OSError):  # in use still, or the engine has gone
            client.networks.get(name).remove()
        client.close()


def named(name: str) -> Network:
    """One that somebody has made. Raises NoEngine where it is not there."""
    from docker import DockerClient
    from docker.errors import DockerException, NotFound

    try:
        client = DockerClient.from_env(timeout=DEADLINE)
        try:
            return _described(name, client.networks.get(name).attrs)
        finally:
            client.close()
    except NotFound as error:
        raise NoEngine(f"There is no Docker network {name}: docker network create {name}") from error
    except (DockerException, OSError) as error:  # the errors of requests are OSErrors
        raise NoEngine(_no_engine(error)) from error


def _no_engine(error: Exception) -> str:
    return f"No Docker engine answers ({error}). Start one, or use --executor process."


def _end_forsaken(client: DockerClient) -> None:
    """What emulators that were killed have left, whose state folder is gone: nobody comes back for it."""
    from docker.errors import APIError

    for network in client.networks.list(filters={"label": LABEL}):
        machine, _, folder = network.attrs["Labels"][LABEL].partition(":")
        if machine != socket.gethostname() or Path(folder).is_dir():
            continue
        with suppress(APIError):  # another emulator does the same at this moment
            network.reload()
            for container in network.containers:
                container.remove(force=True)
            network.remove()


def _ensured(client: DockerClient, name: str, state: Path) -> Network:
    from docker.errors import APIError

    found = client.networks.list(names=[f"^{name}$"])
    if not found:
        try:
            client.networks.create(
                name, driver="bridge", labels={LABEL: f"{socket.gethostname()}:{state}"}, check_duplicate=True
            )
        except APIError as error:
            raise NoEngine(f"Docker could not make the network {name}: {error.explanation}") from error
        found = client.networks.list(names=[f"^{name}$"])
    return _described(name, found[0].attrs)


def _described(name: str, attributes: Mapping[str, Any]) -> Network:
    configs = attributes["IPAM"]["Config"]
    if not configs:  # such as the engine's networks `host` and `none`
        return Network(name, "")
    gateway = configs[0].get("Gateway") or str(ip_network(configs[0]["Subnet"])[1])
    return Network(name, gateway if _is_ours(gateway) else "")


def _is_ours(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
