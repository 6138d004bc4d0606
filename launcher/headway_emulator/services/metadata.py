"""The metadata server of a machine, and the token endpoint of a service account key file.

With it, Google's clients find "default credentials" inside a replica: the tokens are worthless anywhere else.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.scheduling.calls import identity_token
from headway_emulator.world import World

TOKEN_SECONDS = 3600
SCOPES = "https://www.googleapis.com/auth/cloud-platform"
ROOT = "/computeMetadata/v1"
FLAVOR = {"Metadata-Flavor": "Google"}


def service(world: World) -> Service:
    """Answers carry the header by which clients know a metadata server."""
    metadata = Metadata(world)
    account = f"{ROOT}/instance/service-accounts/{{account}}"
    rules = [
        Rule("metadata.projectId", "GET", f"{ROOT}/project/project-id", metadata.project_id),
        Rule("metadata.projectNumber", "GET", f"{ROOT}/project/numeric-project-id", metadata.project_number),
        Rule("metadata.universe", "GET", f"{ROOT}/universe/universe-domain", metadata.universe),
        Rule("metadata.universe", "GET", f"{ROOT}/universe/universe_domain", metadata.universe),
        Rule("metadata.token", "GET", f"{account}/token", metadata.token),
        Rule("metadata.identity", "GET", f"{account}/identity", metadata.identity),
        Rule("metadata.email", "GET", f"{account}/email", metadata.email),
        Rule("metadata.scopes", "GET", f"{account}/scopes", metadata.scopes),
        Rule("metadata.account", "GET", f"{account}/", metadata.account),
        Rule("metadata.ping", "GET", f"{ROOT}/", metadata.ping),
        Rule("oauth2.token", "POST", "/token", metadata.token),
    ]
    return Service(
        "metadata",
        "project, universe and a default service account with made-up access and identity tokens",
        rules,
    )


class Metadata:
    """Facts about the emulated project, as plain text or JSON."""

    def __init__(self, world: World) -> None:
        self._settings = world.settings

    def project_id(self, call: Call) -> Response:
        return _text(call, self._settings.project)

    def project_number(self, call: Call) -> Response:
        return _text(call, self._settings.project_number)

    def universe(self, call: Call) -> Response:
        return _text(call, "googleapis.com")

    def ping(self, call: Call) -> Response:
        return _text(call, "instance/\nproject/\nuniverse/\n")

    def email(self, call: Call) -> Response:
        return _text(call, self._email)

    def scopes(self, call: Call) -> Response:
        return _text(call, SCOPES)

    def account(self, call: Call) -> Any:
        return _json(call, {"aliases": ["default"], "email": self._email, "scopes": [SCOPES]})

    def token(self, call: Call) -> Any:
        token = {"access_token": "emulated", "expires_in": TOKEN_SECONDS, "token_type": "Bearer"}
        return _json(call, token)

    def identity(self, call: Call) -> Response:
        """An identity token for `audience`; by the machine's time, in which the program that asks lives."""
        audience = call.query.get("audience", "")
        if not audience:
            return PlainTextResponse("non-empty audience parameter required\n", 400, headers=FLAVOR)
        return _text(call, identity_token(self._email, audience, int(time.time())))

    @property
    def _email(self) -> str:
        return f"{self._settings.project_number}-compute@developer.gserviceaccount.com"


def _text(call: Call, text: str) -> Response:
    return _refusal(call) or PlainTextResponse(text, headers=FLAVOR)


def _json(call: Call, document: dict[str, Any]) -> Any:
    return _refusal(call) or JSONResponse(document, headers=FLAVOR)


def _refusal(call: Call) -> Response | None:
    """The real server wants the header, so that a web page cannot read tokens."""
    if call.url == "/token" or call.headers.get("metadata-flavor") == "Google":
        return None
    return PlainTextResponse("Missing required header: Metadata-Flavor: Google\n", 403, headers=FLAVOR)
