"""Foreign errors end at one border: whatever a client raises, a person reads what failed and what to do."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from headway.cloud import registry, secrets
from headway.cloud.build import Builds
from headway.cloud.logs import JobLog
from headway.cloud.session import Session, translated
from headway.cloud.storage import ObjectStore
from headway.cloud.vertex import CustomJobs
from headway.errors import Exhausted, InputError, MachineError, NotFound, Refused, RemoteError

IMAGE = "us-central1-docker.pkg.dev/acme/headway/trainer:abc"


def session_at(url: str) -> Session:
    services = ("aiplatform", "cloudbuild", "logging", "artifactregistry", "secretmanager", "storage")
    return Session("acme", "us-central1", endpoints=dict.fromkeys(services, url), anonymous=True)


@pytest.fixture
def nobody() -> Session:
    """A session with a place whose port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return session_at(f"http://127.0.0.1:{probe.getsockname()[1]}")


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], Session]]:
    """A place that gives every question the same answer."""
    body = b""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def start(answer: bytes) -> Session:
        nonlocal body
        body = answer
        return session_at(f"http://127.0.0.1:{server.server_port}")

    yield start
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "call",
    [
        lambda session: CustomJobs(session, "us-central1").get("projects/p/locations/r/customJobs/1"),
        lambda session: list(CustomJobs(session, "us-central1").labelled("headway-run")),
        lambda session: CustomJobs(session, "us-central1").create({"displayName": "x"}),
        lambda session: Builds(session, "us-central1").tagged("headway"),
        lambda session: Builds(session, "us-central1").cancel("b1"),
        lambda session: registry.digest_of(session, IMAGE),
        lambda session: list(JobLog(session, "1").new()),
        lambda session: list(ObjectStore(session, "acme").stream("object")),
    ],
    ids=["job", "jobs", "create", "builds", "cancel", "image", "log", "object"],
)
def test_a_server_that_is_gone_is_named_by_every_client(
    nobody: Session, call: Callable[[Session], object]
) -> None:
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1:\d+ does not answer \(ConnectionError\)"):
        call(nobody)


@pytest.mark.parametrize(
    "call",
    [
        lambda session: registry.digest_of(session, IMAGE),
        lambda session: CustomJobs(session, "us-central1").get("projects/p/locations/r/customJobs/1"),
        lambda session: CustomJobs(session, "us-central1").create({"displayName": "x"}),
        lambda session: list(CustomJobs(session, "us-central1").labelled("headway-run")),
    ],
    ids=["image", "job", "create", "jobs"],
)
def test_an_answer_that_is_no_json_is_told_as_such(
    answering: Callable[[bytes], Session], call: Callable[[Session], object]
) -> None:
    with pytest.raises(RemoteError, match="the answer is no JSON"):
        call(answering(b"<html>please log in</html>"))


@pytest.mark.parametrize(
    ("status", "ours", "hint"),
    [
        (400, Refused, None),
        (401, Refused, "run: gcloud auth application-default login"),
        (403, Refused, None),
        (429, Exhausted, None),
        (500, RemoteError, None),
    ],
)
def test_a_plain_requests_refusal_is_of_the_kind_that_a_clients_is(
    status: int, ours: type[RemoteError], hint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: object, **__: object) -> requests.Response:
        reply = requests.Response()
        reply.status_code, reply.reason, reply._content = status, "no", b"no"
        return reply

    session = session_at("http://127.0.0.1:1")
    monkeypatch.setattr(session.http, "request", answer)
    with pytest.raises(RemoteError, match=f"cannot do it: {status} no") as caught:
        session.call("POST", "http://127.0.0.1:1", "cannot do it")
    assert (type(caught.value), caught.value.hint) == (ours, hint)


def test_a_server_that_asks_for_long_patience_is_not_waited_for() -> None:
    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.send_header("Retry-After", "5")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(RemoteError, match="503"):
        registry.digest_of(session_at(f"http://127.0.0.1:{server.server_port}"), IMAGE)
    assert time.monotonic() - began < 5
    server.shutdown()
    server.server_close()


def test_a_secret_that_is_not_text_cannot_be_a_variable(answering: Callable[[bytes], Session]) -> None:
    data = base64.b64encode(b"\xff\xfe").decode()
    with pytest.raises(InputError, match="the secret wandb-key is not text"):
        secrets.access(answering(f'{{"payload": {{"data": "{data}"}}}}'.encode()), "wandb-key")


@pytest.mark.parametrize(
    ("foreign", "ours", "said"),
    [
        (api.NotFound("no such job"), NotFound, "no such job"),
        (api.Forbidden("aiplatform.customJobs.create"), Refused, "permission denied"),
        (api.TooManyRequests("a100 quota"), Exhausted, "a100 quota"),
        (api.Unauthorized("expired"), Refused, "gcloud auth application-default login"),
        (api.ServiceUnavailable("try later"), RemoteError, "503 try later"),
        (api.RetryError("gave up", TimeoutError()), RemoteError, "no answer in time (TimeoutError)"),
        (auth.TransportError("no route"), RemoteError, "Google's login does not answer"),
        (auth.RefreshError("revoked"), Refused, "gcloud auth application-default login"),
        (requests.ReadTimeout("slow"), RemoteError, "the server does not answer (ReadTimeout)"),
    ],
)
def test_what_a_client_raises_is_told_in_our_words(
    foreign: Exception, ours: type[RemoteError], said: str
) -> None:
    with pytest.raises(RemoteError) as caught, translated("cannot do it"):
        raise foreign
    assert type(caught.value) is ours
    assert str(caught.value).startswith("cannot do it: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_are_not_there_are_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, "/nowhere/ca.pem")
    with pytest.raises(MachineError, match=f"{variable} names /nowhere/ca.pem, which is not there"):
        _ = session_at("https://127.0.0.1:1").http


def test_a_key_file_that_is_none_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(MachineError) as caught:
        _ = Session("p", "us-central1").credentials
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(caught.value.hint)
