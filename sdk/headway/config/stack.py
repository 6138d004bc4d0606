"""The local stack as a Place: its record is read; where it does not run, it is started as a program.

The record and the start belong to the launcher, which this library does not import.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from headway.errors import (
    BuildFailed,
    DeadlinePassed,
    ExitCode,
    HeadwayError,
    InputError,
    Interrupted,
    MachineError,
    RemoteError,
)
from headway.spec.place import LOCAL, Place

_ANSWER_SECONDS = 24.0
"""On loopback a minute is long, even on a busy machine: so a killed submit's claim lapses sooner, too."""
_SERVICES = (
    *("aiplatform", "cloudbuild", "logging", "artifactregistry", "secretmanager"),
    *("cloudresourcemanager", "iam", "serviceusage", "cloudscheduler", "cloudfunctions"),
)
_HEALTH_PATH = "/"
_HEALTH_SECONDS = 10.0
"""Where no stack is up nobody listens, which is known at once: the rest is for a busy machine."""
_START_SECONDS = 180.0
_STOP_SECONDS = 10.0
_ERRORS: dict[int, type[HeadwayError]] = {
    kind.exit_code: kind
    for kind in (InputError, MachineError, RemoteError, BuildFailed, DeadlinePassed, Interrupted)
}


def read_local_place(state: Path) -> Place | None:
    """The local stack, or None where none is recorded or its emulator does not answer."""
    try:
        record = json.loads((state / "local" / "stack.json").read_bytes())
        place = _place(record)
        if not _answers(record["emulator_url"], record["nonce"]):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no record, or one of another version: to be started again
    _reach_directly(record["emulator_url"], record["tracking_uri"])
    return place


def local_executor(state: Path) -> str | None:
    """How the recorded local stack runs jobs, `docker` or `process`; None where none is recorded."""
    try:
        return str(json.loads((state / "local" / "stack.json").read_bytes())["executor"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def start(state: Path, *, deadline: float = _START_SECONDS) -> Place:
    """Start the stack with `launch local up`, which is idempotent; up to `deadline` seconds.

    Raises the error that the start reports, with its own exit code, or DeadlinePassed.
    """
    command = [sys.executable, "-m", "headway_launcher", "local", "up", "--json"]
    environment = {**os.environ, "HEADWAY_STATE": str(state.absolute())}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # Files, not pipes: the servers outlive the command, and may hold its output open.
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            code = process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise DeadlinePassed(
                f"the local stack did not start within {deadline:.0f} s",
                details=_text(err).splitlines()[-10:],
                hint="see how far it came: launch local status",
            ) from None
        except KeyboardInterrupt as error:
            raise Interrupted(
                "stopped while the local stack was starting: what was started for it is ended again",
                hint="see what is there: launch local status",
            ) from error
        finally:
            _end(process)
        if code != 0:
            raise _error(code, _text(out), _text(err))
        sys.stderr.write(_text(err))  # its remarks, such as that jobs run as plain processes
    place = read_local_place(state)
    if place is None:
        raise MachineError(
            "the local stack was started, but its emulator does not answer",
            hint="launch local status says more",
        )
    return place


def _place(record: Mapping[str, Any]) -> Place:
    emulator = record["emulator_url"].rstrip("/")
    return Place(
        profile=LOCAL,
        project=record["project"],
        region=record["region"],
        bucket=record["bucket"],
        dvc_remote=record["dvc_remote"],
        tracking_uri=record["tracking_uri"],
        endpoints={"storage": emulator, **{service: f"{emulator}/{service}" for service in _SERVICES}},
        credentials="anonymous",
        scheduler_service_account=f"headway-scheduler@{record['project']}.iam.gserviceaccount.com",
        answer_s=_ANSWER_SECONDS,
    )


def _answers(url: str, nonce: str) -> bool:
    """Whether the server there is the recorded one. No proxy: it is an address of this machine."""
    try:
        with build_opener(ProxyHandler({})).open(
            url.rstrip("/") + _HEALTH_PATH, timeout=_HEALTH_SECONDS
        ) as response:
            return bool(nonce) and nonce.encode() in response.read(65_536)
    except (OSError, HTTPException, ValueError):
        return False


def _reach_directly(*urls: str) -> None:
    """Keep every client of this process, and DVC's, from asking a proxy for addresses of this machine."""
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [*given.split(","), *(urlsplit(url).hostname or "" for url in urls)]
    direct = ",".join(dict.fromkeys(filter(None, (host.strip() for host in hosts))))
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = direct


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave no half-started start behind: after a deadline, or Ctrl-C here, it gets time to tidy up."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_SECONDS)


def _error(code: int, out: str, err: str) -> HeadwayError:
    try:
        told = json.loads(out)["error"]
        kind = _ERRORS.get(int(told["exit_code"]), MachineError)
        return kind(told["message"], hint=told.get("hint"), details=told.get("details") or ())
    except (ValueError, KeyError, TypeError):
        if code == ExitCode.INTERRUPTED:
            return Interrupted("the start of the local stack was interrupted", hint="launch local status")
        return MachineError(
            f"the local stack did not start (exit code {code})",
            details=(err or out).splitlines()[-10:],
            hint="run it by itself: launch local up",
        )


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
