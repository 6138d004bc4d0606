"""Plain HTTP: what is tried again, which proxy is taken, and who signs.

Certificates of one's own are seen to be trusted where the emulator answers as Google: in the contract tests.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from urllib3.exceptions import MaxRetryError

from headway.cloud.transport import Transport
from headway.errors import MachineError

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Server(HTTPServer):
    """Answers in turn with the statuses given, then with 200; keeps what it was asked."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.asked: list[tuple[str, str, Message]] = []
        asked, answers = self.asked, self.statuses

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.command, self.path, self.headers))
                self.send_response(answers.pop(0) if answers else 200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.asked]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Starts servers; no proxy of this machine is in the way to them."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    servers: list[Server] = []

    def start(*statuses: int) -> Server:
        server = Server(*statuses)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(url: str, method: str = "GET", **how: Any) -> int:
    return Transport(None).request(method, url, timeout=5, **how).status


def test_a_get_is_tried_again_while_the_server_is_busy(serve: Callable[..., Server]) -> None:
    server = serve(503, 429, 502)
    assert ask(server.url) == 200
    assert len(server.asked) == 4


def test_the_last_answer_is_what_a_get_ends_with(serve: Callable[..., Server]) -> None:
    server = serve(*[503] * 9)
    assert ask(server.url) == 503
    assert len(server.asked) == 4


def test_a_post_is_sent_once(serve: Callable[..., Server]) -> None:
    """What it asked for may have been done, whatever the answer."""
    server = serve(503)
    assert ask(server.url, "POST", json={}) == 503
    assert len(server.asked) == 1


def test_a_parameter_may_have_many_values(serve: Callable[..., Server]) -> None:
    server = serve()
    ask(f"{server.url}/x", params={"names": ["a/b", "c d"], "view": "FULL"})
    assert server.paths() == ["/x?names=a%2Fb&names=c+d&view=FULL"]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_proxy_that_the_environment_names_is_taken(
    variable: str, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve()
    monkeypatch.setenv(variable, proxy.url)
    assert ask("http://nowhere.invalid/x") == 200
    assert proxy.paths() == ["http://nowhere.invalid/x"]


def test_a_proxy_may_be_named_without_its_scheme_and_want_a_login(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve()
    monkeypatch.setenv("HTTP_PROXY", f"me:p%40ss@127.0.0.1:{proxy.server_port}")
    ask("http://nowhere.invalid/")
    ((_, _, headers),) = proxy.asked
    assert headers["Proxy-Authorization"] == "Basic bWU6cEBzcw=="  # me:p@ss


@pytest.mark.parametrize("exempt", ["127.0.0.1", "other.example,127.0.0.1", "*"])
def test_what_no_proxy_names_is_asked_straight(
    exempt: str, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = serve(), serve()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", exempt)
    ask(server.url)
    assert (len(server.asked), len(proxy.asked)) == (1, 0)


def test_a_proxy_that_is_gone_ends_in_an_error_and_not_in_a_way_round_it(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with pytest.raises(MaxRetryError):
        ask(server.url)
    assert server.asked == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_are_not_there_are_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, "/nowhere/ca.pem")
    with pytest.raises(MachineError, match=f"{variable} names /nowhere/ca.pem, which is not there"):
        Transport(None)


def test_a_socks_proxy_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", None)
    with pytest.raises(MachineError, match="needs PySocks"):
        ask("http://nowhere.invalid/")


def test_requests_are_signed_by_the_credentials(serve: Callable[..., Server]) -> None:
    class Signing(AnonymousCredentials):  # type: ignore[misc]  # google-auth has no types
        def before_request(self, request: Any, method: str, url: str, headers: Any) -> None:
            headers["Authorization"] = "Bearer token"

    server = serve()
    Transport(Signing()).request("GET", server.url, timeout=5)
    ((_, _, headers),) = server.asked
    assert headers["Authorization"] == "Bearer token"
