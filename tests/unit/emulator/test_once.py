"""A table that many ask for at the same moment is loaded once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

from headway_emulator.once import once

CLIENTS = 20


def test_who_asks_while_it_is_loaded_waits_for_the_one_that_loads() -> None:
    loads: list[str] = []
    together = Barrier(CLIENTS, timeout=30)

    @once
    def table(name: str) -> dict[str, str]:
        loads.append(name)
        return {"name": name}

    def ask(_: int) -> dict[str, str]:
        together.wait()
        return table("a.json")

    with ThreadPoolExecutor(CLIENTS) as clients:
        found = list(clients.map(ask, range(CLIENTS)))

    assert loads == ["a.json"]
    assert all(one is found[0] for one in found)


def test_each_table_is_loaded_for_itself_and_may_ask_for_another() -> None:
    loads: list[str] = []

    @once
    def table(name: str) -> list[str]:
        loads.append(name)
        return [name, *(table(name[:-1]) if len(name) > 1 else [])]

    assert table("abc") == ["abc", "ab", "a"]
    assert table("ab") == ["ab", "a"]
    assert loads == ["abc", "ab", "a"]


def test_a_load_that_fails_is_tried_again_by_the_next_to_ask() -> None:
    tries: list[int] = []

    @once
    def table() -> int:
        tries.append(1)
        return 1 // (len(tries) - 1)

    with suppress(ZeroDivisionError):
        table()
    assert table() == 1
