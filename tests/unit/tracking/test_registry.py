"""The model registry over REST: what a server's answers mean, and what is asked again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from headway.errors import InputError, NotFound, Refused, RemoteError
from headway.tracking import registry as module
from headway.tracking.mlflow_server import login
from headway.tracking.registry import Registry

NOBODY = "http://127.0.0.1:9"


class Server:
    """Answers requests with what it is given, one after the other; the last one for good."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                status, body = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def gives(self, *answers: tuple[int, Any]) -> Registry:
        self.answers = [
            (status, body if isinstance(body, bytes) else json.dumps(body).encode())
            for status, body in answers
        ]
        return Registry(self.uri, {})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "_PAUSES_S", (0.01, 0.01))
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


MODEL = {
    "name": "digits",
    "aliases": [{"alias": "champion", "version": "2"}],
    "latest_versions": [{"version": "10"}, {"version": "9"}],
    "last_updated_timestamp": 1_790_000_000_000,
}


def test_a_model_has_its_aliases_and_its_newest_version_by_number(server: Server) -> None:
    registry = server.gives((200, {"registered_model": MODEL}))
    model = registry.model("digits")
    assert (model.aliases, model.newest) == ({"champion": "2"}, "10")
    assert registry.holder("digits", "staging") is None


def test_a_server_that_fails_is_asked_again(server: Server) -> None:
    registry = server.gives((503, {"message": "busy"}), (200, {"registered_model": MODEL}))
    assert registry.holder("digits", "champion") == "2"
    assert len(server.asked) == 2


def test_a_list_is_read_page_by_page_up_to_the_limit(server: Server) -> None:
    def page(*numbers: int, token: str = "") -> dict[str, Any]:
        return {
            "model_versions": [{"name": "m", "version": str(n)} for n in numbers],
            "next_page_token": token,
        }

    registry = server.gives((200, page(5, 4, token="more")), (200, page(3, 2, 1)))
    assert [one.version for one in registry.versions("m", 4)] == ["5", "4", "3", "2"]
    assert "page_token=more" in server.asked[1]


def test_a_list_whose_next_page_is_always_the_same_comes_to_an_end(server: Server) -> None:
    page = {"model_versions": [{"name": "m", "version": "1"}], "next_page_token": "more"}
    registry = server.gives((200, page))
    assert [one.version for one in registry.versions("m", 100)] == ["1", "1"]


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ((404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"}), NotFound, "no such"),
        ((403, {"error_code": "PERMISSION_DENIED", "message": "not yours"}), Refused, "not yours"),
        ((500, {"message": "broken"}), RemoteError, "broken"),
        ((200, b"<html>sign in</html>"), RemoteError, "and no JSON"),
        ((401, "sign in"), RemoteError, "answered 401, and no JSON object"),
        ((200, []), RemoteError, "answered 200, and no JSON object"),
        ((200, {}), RemoteError, "answered registered-models/get otherwise than MLflow does"),
        ((200, {"registered_model": [1]}), RemoteError, "otherwise than MLflow does"),
        ((200, {"registered_model": {**MODEL, "last_updated_timestamp": "?"}}), RemoteError, "otherwise"),
    ],
)
def test_what_a_server_says_is_one_of_our_errors(
    server: Server, answer: tuple[int, Any], kind: type[RemoteError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        server.gives(answer).model("digits")
    assert type(caught.value) is kind


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSES_S", (0.01,))
    with pytest.raises(RemoteError, match="does not answer"):
        Registry(NOBODY, {}).model("digits")


def test_a_name_that_would_break_the_search_is_refused() -> None:
    with pytest.raises(InputError, match="a quote"):
        Registry(NOBODY, {}).versions("a' or '1'='1", 5)


def test_the_login_and_the_certificates_are_those_of_mlflows_own_client() -> None:
    assert login({}) == {}
    assert login({"MLFLOW_TRACKING_TOKEN": "t"}) == {"headers": {"Authorization": "Bearer t"}}
    named = {"MLFLOW_TRACKING_USERNAME": "a", "MLFLOW_TRACKING_PASSWORD": "b"}
    own = {**named, "MLFLOW_TRACKING_SERVER_CERT_PATH": "/ca.pem"}
    assert login(own) == {"auth": ("a", "b"), "verify": "/ca.pem"}
    assert login({"MLFLOW_TRACKING_INSECURE_TLS": "true"}) == {"verify": False}
    assert login({"MLFLOW_TRACKING_CLIENT_CERT_PATH": "/me.pem"}) == {"cert": "/me.pem"}
