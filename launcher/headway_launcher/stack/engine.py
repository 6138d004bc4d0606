"""The Docker engine and the job network on it: one user-defined bridge a stack."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from headway.errors import MachineError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network as DockerNetwork

_PING_SECONDS = 3
_CALL_SECONDS = 60
_STOP_SECONDS = 5


@dataclass(frozen=True)
class Network:
    """A bridge network; servers on its `gateway` are reached by the same URL from host and containers."""

    name: str
    gateway: str
    subnet: str


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answered."""

    client: DockerClient

    def ensure_network(self, name: str, subnet: str | None) -> Network:
        """The network of that name, made where it is missing: with `subnet` if that is still free.

        Raises MachineError where its gateway is no address of this machine, or the engine fails.
        """
        with _answering(f"make the network {name}"):
            existing = self._network(name) or self._create(name, subnet)
        config = existing.attrs["IPAM"]["Config"][0]
        # Where the subnet was ours to say, the engine does not tell the gateway: it is the first address.
        gateway = config.get("Gateway") or str(ip_network(config["Subnet"])[1])
        network = Network(name, gateway, config["Subnet"])
        if not _is_ours(network.gateway):
            raise MachineError(
                f"the gateway {network.gateway} of the Docker network {name} is no address of this machine",
                hint="the engine runs elsewhere (Docker Desktop, rootless or remote): "
                "launch local up --executor process",
            )
        return network

    def remove_network(self, name: str, say: Callable[[str], None]) -> None:
        """Remove the network, and before that end the containers on it. Raises MachineError."""
        from docker.errors import NotFound

        with _answering(f"remove the network {name}"):
            network = self._network(name)
            if network is None:
                return
            for container in self.client.containers.list(all=True, filters={"network": name}):
                say(f"ending container {container.name}")
                _end(container)
            with suppress(NotFound):
                network.remove()

    def _network(self, name: str) -> DockerNetwork | None:
        found: list[DockerNetwork] = self.client.networks.list(names=[f"^{name}$"])
        return found[0] if found else None

    def _create(self, name: str, subnet: str | None) -> DockerNetwork:
        from docker.errors import APIError
        from docker.types import IPAMConfig, IPAMPool

        def create(ipam: IPAMConfig | None) -> DockerNetwork:
            made = self.client.networks.create(name, driver="bridge", ipam=ipam, labels={"headway": "stack"})
            made.reload()
            return made

        if subnet is not None:
            with suppress(APIError):  # taken by another network meanwhile: the engine chooses
                return create(IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)]))
        return create(None)


def _end(container: Container) -> None:
    from docker.errors import APIError, NotFound

    try:
        container.stop(timeout=_STOP_SECONDS)
        container.remove(force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if error.response is None or error.response.status_code != 409:  # being removed already
            raise


@contextmanager
def _answering(what: str) -> Iterator[None]:
    """The engine's errors, and its silence, in our words."""
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError as error:
        raise MachineError(
            f"Docker could not {what}: {error.explanation or error}",
            hint="docker network ls lists networks; docker network prune removes unused ones",
        ) from error
    except (DockerException, OSError) as error:  # requests' errors are OSErrors
        raise MachineError(
            f"Docker could not {what}: {_reason(error)}",
            hint="is it being restarted? try again, or launch local up --executor process",
        ) from error


def find() -> Engine | str:
    """The engine that the environment names (DOCKER_HOST, else the usual socket), or why there is none."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(version="1.41", timeout=_PING_SECONDS)
        client.ping()
    except (DockerException, OSError) as error:  # requests' errors are OSErrors
        return _reason(error)
    client.api.timeout = _CALL_SECONDS
    return Engine(client)


def _reason(error: Exception) -> str:
    text = str(error)
    if "Permission denied" in text:
        return "this user may not use the Docker engine (Permission denied on its socket)"
    if "No such file" in text or "Connection refused" in text:
        return "no Docker engine answers"
    return f"no Docker engine answers ({text.splitlines()[0] if text else type(error).__name__})"


def _is_ours(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
