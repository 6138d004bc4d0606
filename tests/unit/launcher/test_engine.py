"""An engine that fails while it is used: told in our words, whatever its client raises."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError, NotFound

from headway.errors import MachineError
from headway_launcher.stack.engine import Engine


class Networks:
    """The engine's networks: each call raises the next error, or succeeds where that is None."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.created: list[Any] = []
        self.removed = 0
        self.here = False

    def list(self, names: list[str]) -> list[Any]:
        self._fail()
        return [self] if self.here else []

    def create(self, name: str, **options: Any) -> Any:
        self._fail()
        self.created.append(options["ipam"])
        self.attrs = {"IPAM": {"Config": [{"Subnet": "127.0.0.0/30"}]}}
        return self

    def reload(self) -> None:
        pass

    def remove(self) -> None:
        self._fail()
        self.removed += 1

    def _fail(self) -> None:
        if self.errors and (error := self.errors.pop(0)):
            raise error


def engine(networks: Networks, containers: list[Any] | None = None) -> Engine:
    listed = SimpleNamespace(list=lambda **_: containers or [])
    return Engine(SimpleNamespace(networks=networks, containers=listed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (requests.ConnectionError("Connection refused"), "no Docker engine answers"),
        (requests.ReadTimeout("read timed out"), "no Docker engine answers (read timed out)"),
        (APIError("500", explanation="all predefined address pools are used"), "address pools are used"),
    ],
)
def test_an_engine_that_fails_is_told_with_what_it_was_asked(error: Exception, said: str) -> None:
    with pytest.raises(MachineError) as caught:
        engine(Networks(error)).ensure_network("headway-1", None)
    assert caught.value.message.startswith("Docker could not make the network headway-1: ")
    assert said in caught.value.message
    with pytest.raises(MachineError, match="could not remove the network headway-1"):
        engine(Networks(error)).remove_network("headway-1", lambda _: None)


def test_a_subnet_that_is_taken_by_now_is_given_up() -> None:
    networks = Networks(None, APIError("pool overlaps"), None)
    made = engine(networks).ensure_network("headway-1", "10.9.0.0/24")
    assert made.gateway == "127.0.0.1"
    assert networks.created == [None]


def test_containers_are_ended_before_their_network_and_one_that_goes_by_itself_is_no_error() -> None:
    def gone(**_: Any) -> None:
        raise NotFound("gone")

    said: list[str] = []
    networks = Networks()
    networks.here = True
    engine(networks, [SimpleNamespace(name="job", stop=gone)]).remove_network("headway-1", said.append)
    assert said == ["ending container job"]
    assert networks.removed == 1
