"""The file emulator.toml: what flags can say, and faults and quotas that are there from the start."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from headway_emulator.engine import faults
from headway_emulator.engine.builds.builds import CONCURRENT
from headway_emulator.engine.jobs import quotas
from headway_emulator.errors import ApiError

NAME = "emulator.toml"
NUMBER = (int, float)
TABLES: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "server": {
        "host": (str, list),
        "port": (int,),
        "state": (str,),
        "executor": (str,),
        "storage_url": (str,),
        "public_url": (str,),
        "project": (str,),
        "project_number": (str,),
        "network": (str,),
        "grace": NUMBER,
        "tunnel": (str,),
    },
    "clock": {"kind": (str,)},
}
QUOTA: Mapping[str, tuple[type, ...]] = {"region": (str,), "metric": (str,), "limit": (int,)}
CHOICES = {"executor": ("docker", "process"), "kind": ("real", "virtual"), "tunnel": ("pass", "refuse")}
EXPECTED = {str: "text", int: "a whole number", float: "a number", list: "a list of texts"}


class BadConfiguration(Exception):
    """The message names the file, the line and what to write instead."""


def read(path: Path) -> dict[str, Any]:
    """What the file says, by the names of the flags; `state` is taken from the file's own folder.

    Raises BadConfiguration where it cannot be read, is no TOML, or says something unknown.
    """
    try:
        text = path.read_text(encoding="utf-8")
        given = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfiguration(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise BadConfiguration(f"{path} is no TOML: {error}.") from error
    return _Reader(path, text).values(given)


class _Reader:
    """Checks one file; it keeps the text to say where a mistake is."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        for name in given:
            if name not in (*TABLES, "quota", "fault"):
                raise self._unknown("", 0, name, ("server", "clock", "quota", "fault"))
        server = self._table("server", given.get("server", {}))
        clock = self._table("clock", given.get("clock", {}))
        if isinstance(server.get("host"), str):
            server["host"] = [server["host"]]
        if "state" in server:
            server["state"] = str(self._path.parent / Path(server["state"]).expanduser())
        if "kind" in clock:
            server["clock"] = clock["kind"]
        server["quotas"] = tuple(self._quota(at, one) for at, one in self._tables("quota", given))
        server["faults"] = tuple(self._fault(at, one) for at, one in self._tables("fault", given))
        return server

    def _table(self, table: str, given: Any) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise self._wrong("", 0, table, f"{table} is a table: write [{table}]")
        self._check(table, 0, given, TABLES[table])
        return dict(given)

    def _tables(self, table: str, given: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
        found = given.get(table, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._wrong("", 0, table, f"there may be several: write [[{table}]]")
        return list(enumerate(found, start=1))

    def _quota(self, at: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        self._check("quota", at, given, QUOTA)
        if given.get("limit", -1) < 0:
            raise self._wrong("quota", at, "limit", "a quota has a limit, 0 or more")
        metric = str(given.get("metric", "*")).removeprefix(f"{quotas.SERVICE}/")
        known = (*quotas.names(), CONCURRENT)
        if not any(fnmatchcase(name, metric) for name in known):
            near = difflib.get_close_matches(metric, known, n=1, cutoff=0.4)
            meant = f"did you mean {near[0]!r}?" if near else f"they are like {known[0]!r}"
            raise self._wrong("quota", at, "metric", f"no metric that is counted fits {metric!r}; {meant}")
        return given

    def _fault(self, at: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            faults.check(given)
        except ApiError as error:
            key = next((name for name in given if repr(name) in str(error)), "kind")
            raise self._wrong("fault", at, key, str(error).rstrip(".")) from error
        return given

    def _check(
        self, table: str, at: int, given: Mapping[str, Any], known: Mapping[str, tuple[type, ...]]
    ) -> None:
        for key, value in given.items():
            if key not in known:
                raise self._unknown(table, at, key, tuple(known))
            fits = isinstance(value, known[key]) and not isinstance(value, bool)
            if isinstance(value, list):
                fits = fits and bool(value) and all(isinstance(one, str) for one in value)
            if not fits:
                expected = " or ".join(EXPECTED[one] for one in known[key])
                raise self._wrong(table, at, key, f"{key} is {expected}, not {value!r}")
            if value not in CHOICES.get(key, (value,)):
                raise self._wrong(table, at, key, f"{key} is {' or '.join(CHOICES[key])}, not {value!r}")

    def _unknown(self, table: str, at: int, key: str, known: tuple[str, ...]) -> BadConfiguration:
        where = f"[{table}]" if table else "the file"
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known)}"
        return self._wrong(table, at, key, f"{where} has no {key!r}; {hint}")

    def _wrong(self, table: str, at: int, key: str, text: str) -> BadConfiguration:
        line = self._line(table, at, key)
        end = "" if text.endswith("?") else "."
        return BadConfiguration(f"{self._path}{f', line {line}' if line else ''}: {text.rstrip('.')}{end}")

    def _line(self, table: str, at: int, key: str) -> int:
        """Of the key in the table, of the table's head where the key is not seen; 0 where neither is."""
        here, count, head = "", 0, 0
        for number, line in enumerate(self._lines, start=1):
            if found := re.match(r"\s*\[\[?\s*([\w.\"-]+)\s*\]", line):
                here = found[1].strip('"')
                count += here == table
                if here == (table or key) and count == (at or count):
                    head = number
            elif (
                here == table
                and (not at or count == at)
                and re.match(rf'\s*"?{re.escape(key)}"?\s*[.=]', line)
            ):
                return number
        return head
