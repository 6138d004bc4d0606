"""The variables that point programs at the local stack, asked of its emulator and written for a shell."""

from __future__ import annotations

import http.client
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from headway.errors import MachineError
from headway_launcher.stack.record import Record

Way = Literal["transparent", "explicit", "container"]
Syntax = Literal["shell", "fish", "docker"]
ANSWER_SECONDS = 10.0
NAMES = "HEADWAY_ENV"
"""Set with the others: their names, by which `--unset` finds them when the stack is down already."""


@dataclass(frozen=True)
class Variables:
    """What to set, what to take away, and files of this machine with their paths in a container."""

    set: Mapping[str, str]
    unset: tuple[str, ...] = ()
    mounts: Mapping[str, str] = field(default_factory=dict)


def fetch(record: Record | None, way: Way) -> Variables:
    """The emulator's and MLflow's. Raises MachineError where the stack is not up."""
    if record is None:
        raise _down("it was not started")
    found = _get(record.emulator_url, f"/emulator/env?way={way}")
    given = {**found["set"], "MLFLOW_TRACKING_URI": record.tracking_uri}
    marked = given if way == "container" else {**given, NAMES: " ".join(given)}
    return Variables(marked, tuple(found["unset"]), found["mounts"])


def lines(variables: Variables, syntax: Syntax, network: str | None = None) -> list[str]:
    """For `eval`; for Docker one line of options, to which the stack's network belongs."""
    if syntax == "docker":
        words = ["--network", network or "host"]
        words += [word for name, value in variables.set.items() for word in ("--env", f"{name}={value}")]
        words += [word for at, to in variables.mounts.items() for word in ("--volume", f"{at}:{to}:ro")]
        return [shlex.join(words)]
    form = "set -gx {} {}" if syntax == "fish" else "export {}={}"
    setting = [form.format(name, shlex.quote(value)) for name, value in variables.set.items()]
    return unset_lines(variables.unset, syntax) + setting


def unset_lines(names: tuple[str, ...], syntax: Syntax) -> list[str]:
    """To take them away."""
    return [f"{'set -e' if syntax == 'fish' else 'unset'} {name}" for name in names]


def names_set(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What `launch local env` has set in this environment."""
    names = tuple(environment.get(NAMES, "").split())
    return (*names, NAMES) if names else ()


def _get(url: str, path: str) -> dict[str, dict[str, str]]:
    """No proxy is used, whatever the environment says: this is an address of this machine."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise _down(f"its emulator does not answer at {url}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise MachineError(
            f"the emulator at {url} knows no variables (HTTP status {response.status})",
            hint="it is of another version: launch local down, then launch local up",
        )
    document: dict[str, dict[str, str]] = json.loads(body)
    return document


def _down(reason: str) -> MachineError:
    return MachineError(f"the local stack is not up: {reason}", hint="start it: launch local up")
