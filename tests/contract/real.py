"""The same suite against a real project: HEADWAY_CONTRACT=gcp.

A relay on loopback takes the emulator's place: clients, addresses and assertions stay as they are, and each
request goes on to Google with the credentials of whoever runs the suite. What only an emulator can do (its
clock, its faults, being killed) is skipped, and says so.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

VARIABLES = {
    "project": "HEADWAY_CONTRACT_PROJECT",
    "number": "HEADWAY_CONTRACT_NUMBER",
    "region": "HEADWAY_CONTRACT_REGION",
    "bucket": "HEADWAY_CONTRACT_BUCKET",
    "image": "HEADWAY_CONTRACT_IMAGE",
}
PATIENCE = 40.0
"""How much longer than an emulator's a real machine's start takes."""
SERVICES = ("aiplatform", "artifactregistry", "cloudbuild", "cloudscheduler", "logging", "secretmanager")
STORAGE = ("storage", "upload", "download", "batch", "b")
"""First parts of paths that are Cloud Storage's."""
REGION = re.compile(r"/locations/([a-z]+-[a-z]+\d+)(?=/|$)")
DROPPED = ("host", "authorization", "connection", "content-length", "transfer-encoding", "accept-encoding")
ONLY_HERE = {
    "docker_emulator": "looks at the containers of this machine",
    "docker_jobs": "looks at the containers of this machine",
    "job_network": "looks at the containers of this machine",
    "mortal": "kills the emulator",
    "storage_server": "starts an emulator of its own, for its clock or to end it",
    "gcp": "is about the emulator's own fixture",
    "alone": "is about the emulator's own command",
    "running": "is about the emulator's own page",
}
"""Fixtures that no real project has, and what a test that takes one does."""

Answer = tuple[int, Mapping[str, str], bytes]
Send = Callable[[str, str, Mapping[str, str], bytes], Answer]
"""Verb, address, headers and body to status, headers and body."""


@dataclass(frozen=True)
class Place:
    """Where the suite runs: a project with the APIs enabled, a regional bucket, an image with python3."""

    project: str
    number: str
    region: str
    bucket: str
    image: str


def place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """None where the suite runs against the emulator. ValueError names what is missing."""
    wanted = environment.get("HEADWAY_CONTRACT", "")
    if wanted in ("", "emulator"):
        return None
    if wanted != "gcp":
        raise ValueError(f"HEADWAY_CONTRACT is emulator or gcp, not {wanted!r}")
    given = {name: environment.get(variable, "") for name, variable in VARIABLES.items()}
    if missing := [VARIABLES[name] for name, value in given.items() if not value]:
        raise ValueError(f"HEADWAY_CONTRACT=gcp needs {', '.join(missing)} as well")
    return Place(**given)


def chosen() -> Place | None:
    """The same for this run, which ends where it cannot be told."""
    try:
        return place()
    except ValueError as error:
        pytest.exit(str(error), returncode=4)


def reason(fixtures: list[str]) -> str:
    """Why a test that takes these fixtures cannot run against a real project; empty where it can."""
    return next((f"{why} ({name})" for name, why in ONLY_HERE.items() if name in fixtures), "")


def address(path: str) -> str | None:
    """Google's address for a path as the emulator has it, None for one that is the emulator's alone."""
    _, first, *_ = path.split("?")[0].split("/")
    if first in STORAGE:
        return f"https://storage.googleapis.com{path}"
    if first not in SERVICES:
        return None
    rest = path.removeprefix(f"/{first}")
    found = REGION.search(rest)
    region = f"{found[1]}-" if found and first == "aiplatform" else ""
    return f"https://{region}{first}.googleapis.com{rest}"


@dataclass
class Relay:
    """A server on loopback; its address holds a secret, because it lends its owner's credentials."""

    send: Send
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    refused: list[str] = field(default_factory=list)
    """Paths that were asked for and are the emulator's alone, since the list was last cleared."""
    url: str = ""

    def answer(self, verb: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if not path.startswith(f"/{self.secret}/"):
            return 403, {}, b"this relay is one test session's own"
        path = path.removeprefix(f"/{self.secret}")
        if (target := address(path)) is None:
            self.refused.append(f"{verb} {path}")
            return 501, {}, f"{path} is the emulator's alone".encode()
        kept = {name: value for name, value in headers.items() if name.lower() not in DROPPED}
        status, given, content = self.send(verb, target, kept, body)
        passed = {
            name: value for name, value in given.items() if name.lower() not in (*DROPPED, "content-encoding")
        }
        if "json" in given.get("content-type", given.get("Content-Type", "")):
            for host in (b"https://storage.googleapis.com/", b"https://www.googleapis.com/"):
                content = content.replace(b'Link": "' + host, b'Link": "' + self.url.encode() + b"/")
        return status, passed, content


@contextmanager
def serving(relay: Relay) -> Iterator[Relay]:
    """On a free port, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, headers, content = relay.answer(self.command, self.path, dict(self.headers), body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:
            """Not to the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    relay.url = f"http://127.0.0.1:{server.server_address[1]}/{relay.secret}"
    try:
        yield relay
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def with_own_credentials() -> Send:
    """To Google, as `gcloud auth application-default login` or a service account says."""
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    session = AuthorizedSession(credentials)

    def send(verb: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        assert urlsplit(url).hostname is not None
        reply = session.request(verb, url, data=body or None, headers=dict(headers), timeout=120)
        return reply.status_code, dict(reply.headers), reply.content

    return send


def only_here(what: str) -> NoReturn:
    """The running test is skipped."""
    pytest.skip(f"HEADWAY_CONTRACT=gcp: {what} is the emulator's alone")


@dataclass
class RealProject:
    """What a test gets in place of an emulator: the same address to ask, and nothing to start or to kill."""

    relay: Relay
    place: Place
    folder: Path

    @property
    def url(self) -> str:
        return self.relay.url

    def __getattr__(self, name: str) -> Any:
        only_here(f"emulator.{name}")
