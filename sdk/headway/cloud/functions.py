"""Cloud Functions: a function from a zip in the bucket, rendered by a pure function; and Google's client."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headway.cloud.session import TIMEOUT_S, Session, translated
from headway.errors import DeadlinePassed, NotFound, RemoteError

LABEL = "headway-function"
"""The digest of what a function was deployed from, and how: what equals it is not deployed again."""
DEPLOY_S = 900.0
_POLL_S = 2.0
_MEMORY = "1Gi"
_TIMEOUT_S = 900
_AT_ONCE = 20


@dataclass(frozen=True)
class Function:
    """A function: the address that calls it, and how it is (`active`, `deploying`, `failed`, ...)."""

    function_id: str
    uri: str
    state: str
    labels: Mapping[str, str]


def render(
    *,
    function_id: str,
    description: str,
    bucket: str,
    source: str,
    digest: str,
    account: str,
    build_account: str | None,
    project: str,
    images: str,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The Function as the JSON of Google's API, its name left to the client. Pure: a golden file tests it."""
    build: dict[str, Any] = {
        "runtime": "python311",
        "entryPoint": "tick",
        "source": {"storageSource": {"bucket": bucket, "object": source}},
    }
    if build_account:  # an account of one's own writes into a repository of one's own
        build["serviceAccount"] = f"projects/{project}/serviceAccounts/{build_account}"
        build["dockerRepository"] = images
    return {
        "name": function_id,
        "description": description,
        "environment": "GEN_2",
        "buildConfig": build,
        "serviceConfig": {
            "serviceAccountEmail": account,
            "timeoutSeconds": _TIMEOUT_S,
            "availableMemory": _MEMORY,
            "maxInstanceCount": _AT_ONCE,
            "environmentVariables": dict(environment),
        },
        "labels": {LABEL: digest[:40]},
    }


class Functions:
    """Functions of a project in one region, through google-cloud-functions' client over REST."""

    def __init__(self, session: Session, region: str) -> None:
        from google.cloud.functions_v2 import FunctionServiceClient

        self._session = session
        self._parent = f"projects/{session.project}/locations/{region}"
        endpoint = session.override("cloudfunctions")
        self._client: Any = FunctionServiceClient(
            transport="rest",
            credentials=session.credentials,
            client_options={"api_endpoint": endpoint} if endpoint else None,
        )

    def get(self, function_id: str) -> Function:
        """Raises NotFound."""
        with translated(f"cannot read the function {function_id}"):
            request = {"name": self._named(function_id)}
            return _function(self._client.get_function(request=request, timeout=TIMEOUT_S))

    def deploy(self, body: Mapping[str, Any]) -> Function:
        """Create the function, or put this in its place; waits until it is there.

        Raises RemoteError with Google's words where it cannot be built, and DeadlinePassed.
        """
        from google.cloud.functions_v2.types import Function as Message
        from google.protobuf import json_format

        message, function_id = Message(), str(body["name"])
        json_format.ParseDict({**body, "name": self._named(function_id)}, Message.pb(message))
        try:
            self.get(function_id)
        except NotFound:
            request = {"parent": self._parent, "function": message, "function_id": function_id}
            with translated(f"cannot create the function {function_id}"):
                operation = self._client.create_function(request=request, timeout=TIMEOUT_S)
        else:
            with translated(f"cannot change the function {function_id}"):
                operation = self._client.update_function(request={"function": message}, timeout=TIMEOUT_S)
        self._wait(operation.operation.name, function_id)
        return self.get(function_id)

    def delete(self, function_id: str) -> None:
        """Raises NotFound."""
        with translated(f"cannot delete the function {function_id}"):
            request = {"name": self._named(function_id)}
            operation = self._client.delete_function(request=request, timeout=TIMEOUT_S)
        self._wait(operation.operation.name, function_id)

    def _wait(self, name: str, function_id: str) -> None:
        """Our own look at the operation: the client's waits have deadlines that it sets itself."""
        url, deadline = f"{self._session.endpoint('cloudfunctions')}/v2/{name}", time.monotonic() + DEPLOY_S
        while True:
            found = self._session.call("GET", url, f"cannot read how the function {function_id} comes along")
            if found.get("done"):
                break
            if time.monotonic() > deadline:
                raise DeadlinePassed(
                    f"the function {function_id} was not deployed within {DEPLOY_S / 60:.0f} minutes",
                    hint="create the schedule again: that goes on from here",
                )
            time.sleep(_POLL_S)
        if error := found.get("error"):
            raise RemoteError(
                f"the function {function_id} could not be deployed",
                details=str(error.get("message", "")).splitlines()[:12],
                hint="the rest is in Cloud Build's log of the project",
            )

    def _named(self, function_id: str) -> str:
        return f"{self._parent}/functions/{function_id}"


def _function(message: Any) -> Function:
    return Function(
        function_id=message.name.rpartition("/")[2],
        uri=message.service_config.uri or message.url,
        state=message.state.name.lower(),
        labels=dict(message.labels),
    )
