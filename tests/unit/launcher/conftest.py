"""A stack of stand-in servers in a temporary folder, always ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway_launcher.stack import engine, health, lifecycle, processes, servers
from headway_launcher.stack.record import Executor, Folder, Record

NO_ENGINE = "no Docker engine answers"


class FakeStack:
    """The stack's verbs in a folder of their own; `said` is what was told to the user."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: list[str] = []

    def up(self, **wish: object) -> Record:
        return lifecycle.up(self.root, lifecycle.Wish(**wish), self.said.append, deadline=20)  # type: ignore[arg-type]

    def down(self) -> bool:
        return lifecycle.down(self.root, self.said.append)

    def states(self) -> dict[str, str]:
        return {server.name: server.state for server in lifecycle.status(self.root)[1]}

    def break_server(self, name: str) -> None:
        """The next start of the server ends with an error in its log."""
        (self.root / f"{name}.broken").write_text("")


@pytest.fixture
def fake_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStack]:
    monkeypatch.setattr(servers, "commands", _commands)
    monkeypatch.setattr(engine, "find", lambda: NO_ENGINE)
    monkeypatch.setattr(processes, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(health, "PATIENT_SECONDS", 3.0)
    stack = FakeStack(tmp_path / "local")
    yield stack
    stack.down()


def _commands(
    folder: Folder, addresses: servers.Addresses, *, executor: Executor, network: str | None, nonce: str
) -> tuple[servers.Command, ...]:
    script = str(Path(__file__).with_name("fake_server.py"))

    def one(name: str) -> servers.Command:
        port = addresses.ports[name]
        argv = (sys.executable, script, name, str(port), nonce, str(folder.root))
        peers = {"PEERS": " ".join(addresses.url(n) for n in servers.NAMES)}
        return servers.Command(name, argv, addresses.url(name), port, folder.log(name), peers)

    return tuple(one(name) for name in servers.NAMES)
