"""The variables that point programs at the local stack, asked of its emulator and written for a shell."""

from __future__ import annotations

import http.client
import json
import os
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
BEFORE = "HEADWAY_ENV"
"""Set with the others: what they were before, as JSON, so that `--unset` works when the stack is down."""


@dataclass(frozen=True)
class Variables:
    """What to set, what to take away, and files of this machine with their paths in a container."""

    set: Mapping[str, str]
    unset: tuple[str, ...] = ()
    mounts: Mapping[str, str] = field(default_factory=dict)


def fetch(record: Record | None, way: Way, environment: Mapping[str, str] = os.environ) -> Variables:
    """The emulator's and MLflow's, for this environment. Raises MachineError where the stack is not up."""
    if record is None:
        raise _down("it was not started")
    found = _get(record.emulator_url, f"/emulator/env?way={way}")
    given = {**found["set"], "MLFLOW_TRACKING_URI": record.tracking_uri}
    if way == "container":
        return Variables(given, tuple(found["unset"]), found["mounts"])
    here = {name: environment.get(name) for name in (*given, *found["unset"])}
    marked = {**given, BEFORE: json.dumps({**here, **_before(environment)})}
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
    return [f"{'set -e' if syntax == 'fish' else 'unset'} {name}" for name in variables.unset] + setting


def taken_back(environment: Mapping[str, str]) -> Variables:
    """What makes this environment as it was before `launch local env`; nothing where it was not there."""
    before = _before(environment)
    gone = [name for name, value in before.items() if value is None]
    kept = {name: value for name, value in before.items() if value is not None}
    return Variables(kept, (*gone, BEFORE) if before else ())


def _before(environment: Mapping[str, str]) -> Mapping[str, str | None]:
    found: Mapping[str, str | None] = json.loads(environment.get(BEFORE) or "{}")
    return found


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
