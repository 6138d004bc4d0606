"""An emulator for a test or a script: `with emulator(clock="virtual") as gcp:`.

Nothing heavy is imported here: the emulator is a process of its own, and Google's clients are the caller's.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode, urlsplit

from headway_emulator import record
from headway_emulator.asking import Refused, ask
from headway_emulator.hosts import prefix

START_SECONDS = 30.0
STOP_SECONDS = 20.0
METADATA_HOST = "metadata.google.internal"
"""Google's own, at which programs look where no variable says otherwise."""

C = TypeVar("C")
Way = Literal["transparent", "explicit"]
Document = Mapping[str, Any]


class DidNotStart(Exception):
    """The emulator ended, or did not answer in time; the message holds what it said."""


class Clock:
    """The emulated project's time."""

    def __init__(self, url: str) -> None:
        self._url = url

    def now(self) -> datetime:
        return _moment(ask(self._url, "GET", "/emulator/clock"))

    def advance(self, duration: str | float | timedelta) -> datetime:
        """Step by seconds, by a timedelta, or by text such as "90s", "36h" or "7d"; gives the new time.

        Returns when everything that came due on the way has been done. Programs live in real time, so that
        one that still computes is not waited for: see Emulator.wait. Refused on a real clock.
        """
        if isinstance(duration, timedelta):
            duration = duration.total_seconds()
        return _moment(ask(self._url, "POST", "/emulator/clock", {"advance": duration}))

    def to(self, moment: str | datetime) -> datetime:
        """Step to a time (RFC 3339, or a datetime with its zone)."""
        text = moment.isoformat() if isinstance(moment, datetime) else moment
        return _moment(ask(self._url, "POST", "/emulator/clock", {"to": text}))


class Faults:
    """What is to go wrong."""

    def __init__(self, url: str) -> None:
        self._url = url

    def add(self, kind: str, **fields: Any) -> str:
        """Arm a fault, such as `add("preempt", job="*")`; gives its id. Refused where it is not known."""
        return str(ask(self._url, "POST", "/emulator/faults", {"kind": kind, **fields})["id"])

    def remove(self, identity: str) -> None:
        ask(self._url, "DELETE", f"/emulator/faults/{identity}")

    def clear(self) -> None:
        """Disarm all."""
        ask(self._url, "DELETE", "/emulator/faults")

    def all(self) -> Sequence[Document]:
        """In the order they were armed, the spent ones too."""
        found: Sequence[Document] = ask(self._url, "GET", "/emulator/faults")["faults"]
        return found

    def fired(self) -> Sequence[Document]:
        """Each time one fired: `fault`, `kind`, `time`, and what it fell `on`."""
        found: Sequence[Document] = ask(self._url, "GET", "/emulator/faults")["fired"]
        return found


class Emulator:
    """One emulated project, as a test sees it."""

    location = "us-central1"
    """Used by `parent`; every region that Google has is there."""

    def __init__(self, url: str) -> None:
        page = ask(url, "GET", "/")
        self.url = url
        self.project = str(page["project"])
        self.state = Path(page["state"])
        self.clock = Clock(url)
        self.faults = Faults(url)

    @property
    def parent(self) -> str:
        """projects/PROJECT/locations/LOCATION."""
        return f"projects/{self.project}/locations/{self.location}"

    def endpoint(self, service: str) -> str:
        """The address for `client_options.api_endpoint`; `service` as in aiplatform.googleapis.com."""
        return self.url if service == "storage" else f"{self.url}/{service}"

    def client(self, cls: type[C], **options: Any) -> C:
        """Any client class of Google's, pointed here: over REST where it can, without credentials.

        `options` go to the class as they are.
        """
        if not hasattr(cls, "get_transport_class"):  # storage, logging: written by hand, with a project
            return cls(**(self._by_hand(cls.__module__) | options))
        return cls(**(self._generated(cls) | options))

    def _by_hand(self, module: str) -> dict[str, Any]:
        from google.auth.credentials import AnonymousCredentials

        service = module.removeprefix("google.cloud.").split(".")[0].split("_")[0]
        address = {"api_endpoint": self.endpoint(service)}
        given = {"project": self.project, "credentials": AnonymousCredentials(), "client_options": address}
        return given | ({"_use_grpc": False} if service == "logging" else {})

    def _generated(self, cls: Any) -> dict[str, Any]:
        from google.auth.aio.credentials import AnonymousCredentials as AsyncAnonymous
        from google.auth.credentials import AnonymousCredentials

        is_async = cls.__name__.endswith("AsyncClient")
        transport = "rest_asyncio" if is_async else "rest"
        if _has(cls, transport) is None:
            return {"transport": self._grpc_transport(cls, is_async=is_async)}
        host = str(cls.DEFAULT_ENDPOINT)
        found = prefix(host)
        return {
            "transport": transport,
            "credentials": AsyncAnonymous() if is_async else AnonymousCredentials(),
            "client_options": {
                "api_endpoint": f"{self.url}{f'/{host}'.split('.')[0] if found is None else found}"
            },
        }

    def _grpc_transport(self, cls: Any, *, is_async: bool) -> Any:
        """Of a class that only speaks gRPC: the emulator's port takes it without TLS as well."""
        import grpc

        place = urlsplit(self.url).netloc
        channel = grpc.aio.insecure_channel(place) if is_async else grpc.insecure_channel(place)
        return cls.get_transport_class("grpc_asyncio" if is_async else "grpc")(channel=channel)

    def bucket(self, name: str) -> str:
        """Make a bucket, or find it there; gives gs://NAME."""
        body = {"name": name, "location": self.location.upper(), "locationType": "region"}
        try:
            ask(self.url, "POST", f"/storage/v1/b?{urlencode({'project': self.project})}", body)
        except Refused as error:
            if error.status != 409:
                raise
        return f"gs://{name}"

    def requests(self, method: str = "*") -> Sequence[Document]:
        """What was asked, oldest first; `method` is a pattern such as "aiplatform.customJobs.*"."""
        from headway_emulator import request_report

        return request_report.requests(self.url, method=method, limit=10_000)

    def permissions(self) -> Sequence[str]:
        """Every IAM permission that what was asked would need, in alphabetical order."""
        found = ask(self.url, "GET", "/emulator/permissions")["permissions"]
        return sorted({str(row["permission"]) for row in found})

    def wait(self, seconds: float = 60.0) -> None:
        """Until no job and no build is at work, in real time, which their programs live in.

        Raises TimeoutError, naming those that are left: what waits for the clock does so until it is stepped.
        """
        deadline = time.monotonic() + seconds
        while left := ask(self.url, "GET", "/emulator/work")["work"]:
            if time.monotonic() > deadline:
                names = ", ".join(f"{one['displayName'] or one['name']} ({one['state']})" for one in left)
                raise TimeoutError(f"still at work after {seconds:g} s: {names}")
            time.sleep(0.02)

    def reset(self) -> None:
        """Forget everything: jobs, builds, objects, secrets, requests. Faults are as at the start."""
        ask(self.url, "POST", "/emulator/reset")

    def environ(self, way: Way = "transparent") -> Mapping[str, str]:
        """The variables that point programs here: as a proxy for Google's own addresses, or one by one."""
        found: Mapping[str, str] = ask(self.url, "GET", f"/emulator/env?way={way}")["set"]
        return found

    @contextlib.contextmanager
    def environment(self, way: Way = "transparent") -> Iterator[None]:
        """`os.environ` points here while the block runs, so that clients with default addresses come here."""
        wanted = ask(self.url, "GET", f"/emulator/env?way={way}")
        before = {name: os.environ.get(name) for name in (*wanted["set"], *wanted["unset"])}
        os.environ.update(wanted["set"])
        for name in wanted["unset"]:
            os.environ.pop(name, None)
        _tell_google_auth()
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            _tell_google_auth()


@contextlib.contextmanager
def emulator(
    *,
    clock: Literal["real", "virtual"] = "real",
    executor: Literal["docker", "process"] = "process",
    project: str = record.DEFAULT_PROJECT,
    faults: Sequence[Document] = (),
    quotas: Sequence[Document] = (),
    grace: float = 1.0,
    flags: Sequence[str] = (),
) -> Iterator[Emulator]:
    """A fresh emulator on a free port, with storage, in a folder that is gone afterwards.

    Takes about half a second to start. It ends with the block, and also when this process is killed.
    `grace` is the time in seconds from SIGTERM to SIGKILL for a cancelled job; `flags` are more of serve's.
    Raises DidNotStart.
    """
    with tempfile.TemporaryDirectory(prefix="headway-emulator-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        config = home / "emulator.toml"
        config.write_text(_tables("fault", faults) + _tables("quota", quotas), encoding="utf-8")
        words = ["--clock", clock, "--executor", executor, "--project", project, "--grace", str(grace)]
        words += ["--config", str(config), "--ca", str(_authority()), *flags]
        child = _start(home, words)
        try:
            yield Emulator(_url(child, home))
        finally:
            _end(child)


@cache
def _authority() -> Path:
    """One for all emulators of this process, because gRPC reads the roots that it trusts only once."""
    folder = tempfile.TemporaryDirectory(prefix="headway-emulator-ca-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _start(home: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C is for the tests, which end it when they have finished."""
    command = [sys.executable, "-m", "headway_emulator.main", "serve", "--ephemeral", "--port", "0"]
    command += [
        "--end-with-stdin",
        "--nonce",
        secrets.token_hex(8),
        "--port-file",
        str(home / "port"),
        *words,
    ]
    # its temporary folder lies in ours, which is deleted in any case
    environment = {**os.environ, "TMPDIR": str(home)}
    with (home / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _url(child: subprocess.Popen[bytes], home: Path) -> str:
    """Its address, once requests are answered: the file is written by this very child."""
    deadline = time.monotonic() + START_SECONDS
    while not (home / "port").exists():
        if child.poll() is not None or time.monotonic() > deadline:
            said = (home / "log").read_text(errors="replace").strip()
            raise DidNotStart(said or f"the emulator did not answer within {START_SECONDS:g} s")
        time.sleep(0.01)
    greeting = (home / "log").read_text(errors="replace")
    return next(
        line.split()[1] for line in greeting.splitlines() if line.startswith("headway-emulator: http")
    )


def _tell_google_auth() -> None:
    """It reads the metadata server's address when it is imported, once in a process's life."""
    if (read := sys.modules.get("google.auth.compute_engine._metadata")) is not None:
        found = os.environ.get("GCE_METADATA_HOST") or os.environ.get("GCE_METADATA_ROOT")
        read.__dict__["_GCE_METADATA_HOST"] = found or METADATA_HOST


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    with contextlib.suppress(OSError):
        child.stdin.close()
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(STOP_SECONDS)


def _has(cls: Any, transport: str) -> Any:
    """The class's transport of that name, or None."""
    try:
        return cls.get_transport_class(transport)
    except KeyError:
        return None


def _tables(name: str, documents: Sequence[Document]) -> str:
    """As [[name]] tables of TOML; texts, numbers and booleans are all that they hold."""
    return "".join(
        f"[[{name}]]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in document.items())
        for document in documents
    )


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _moment(clock: Document) -> datetime:
    return datetime.fromisoformat(str(clock["now"])).astimezone(UTC)
