"""Session: project, credentials and endpoints; what every module of `headway.cloud` is built on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headway.errors import Exhausted, MachineError, NotFound, Refused, RemoteError
from headway.spec.place import Place

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 60.0
"""Deadline of one request, connection included."""

_LOGIN = "run: gcloud auth application-default login"
_KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_GOOGLE = {
    "aiplatform": "https://{region}-aiplatform.googleapis.com",
    "artifactregistry": "https://artifactregistry.googleapis.com",
    "cloudbuild": "https://cloudbuild.googleapis.com",
    "cloudresourcemanager": "https://cloudresourcemanager.googleapis.com",
    "iam": "https://iam.googleapis.com",
    "logging": "https://logging.googleapis.com",
    "secretmanager": "https://secretmanager.googleapis.com",
    "serviceusage": "https://serviceusage.googleapis.com",
    "storage": "https://storage.googleapis.com",
}


class Session:
    """A project as seen with one set of credentials. Nothing is contacted before the first request."""

    def __init__(
        self,
        project: str,
        region: str | None = None,
        *,
        endpoints: Mapping[str, str] | None = None,
        anonymous: bool = False,
        answer_s: float = TIMEOUT_S,
    ) -> None:
        self.project = project
        self.region = region
        self.answer_s = answer_s
        self._endpoints = dict(endpoints or {})
        self._anonymous = anonymous

    @classmethod
    def of(cls, place: Place) -> Session:
        """The laptop's session with a place."""
        return cls(
            place.project,
            place.region,
            endpoints=place.endpoints,
            anonymous=place.credentials == "anonymous",
            answer_s=place.answer_s,
        )

    @classmethod
    def ambient(cls) -> Session:
        """The session of a container on Google's machines: what the platform's environment says.

        `STORAGE_EMULATOR_HOST` is honoured as Google's own storage clients honour it.
        """
        emulator = os.environ.get("STORAGE_EMULATOR_HOST")
        return cls(
            os.environ.get("CLOUD_ML_PROJECT_ID", ""),
            os.environ.get("CLOUD_ML_REGION"),
            endpoints={"storage": emulator} if emulator else None,
            anonymous=emulator is not None,
        )

    def endpoint(self, service: str, region: str | None = None) -> str:
        """The base URL of a service, without a slash at its end."""
        url = self._endpoints.get(service) or _GOOGLE[service]
        return url.format(region=region or self.region).rstrip("/")

    def override(self, service: str) -> str | None:
        """The endpoint given for this service, None where Google's own is used."""
        return self._endpoints.get(service)

    @cached_property
    def credentials(self) -> Any:
        """Google credentials. Raises MachineError where this machine has none."""
        if self._anonymous:
            from google.auth.credentials import AnonymousCredentials

            return AnonymousCredentials()
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError

        try:
            return google.auth.default(scopes=_SCOPES)[0]
        except DefaultCredentialsError as error:
            raise MachineError(
                "there are no usable Google credentials on this machine",
                details=str(error).splitlines()[:1],
                hint=f"{_KEY_FILE} names a file that is not one: mend or unset it"
                if os.environ.get(_KEY_FILE)
                else _LOGIN,
            ) from error

    @cached_property
    def http(self) -> requests.Session:
        """A requests session that signs its requests; for the REST calls that need no generated client."""
        from google.auth.transport.requests import AuthorizedSession
        from requests.adapters import HTTPAdapter

        session: requests.Session = AuthorizedSession(self.credentials)
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=64))
        return session

    def call(self, method: str, url: str, what: str, **arguments: Any) -> dict[str, Any]:
        """One REST call with a deadline; its JSON. Raises NotFound or RemoteError saying `what` failed."""
        arguments.setdefault("timeout", TIMEOUT_S)
        with translated(what):
            reply = self.http.request(method, url, **arguments)
            if reply.status_code == 404:
                raise NotFound(f"{what}: {_message(reply)}")
            if not reply.ok:
                kind = Refused if reply.status_code < 500 else RemoteError
                raise kind(f"{what}: {reply.status_code} {_message(reply)}")
            document: dict[str, Any] = reply.json()
        return document


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn errors of Google's clients into ours: the one border where foreign errors end."""
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    try:
        yield
    except api.NotFound as error:
        raise NotFound(f"{what}: {error.message}") from error
    except api.Forbidden as error:
        raise Refused(
            f"{what}: permission denied: {error.message}",
            hint="grant the missing role to the account you are logged in with (gcloud auth list)",
        ) from error
    except api.Unauthorized as error:
        raise Refused(f"{what}: {error.code} {error.message}", hint=_LOGIN) from error
    except api.TooManyRequests as error:
        raise Exhausted(f"{what}: {error.code} {error.message}") from error
    except api.ClientError as error:
        raise Refused(f"{what}: {error.code} {error.message}") from error
    except api.GoogleAPICallError as error:
        raise RemoteError(f"{what}: {error.code} {error.message}") from error
    except api.RetryError as error:
        raise RemoteError(f"{what}: no answer in time ({_shortly(error.cause)})") from error
    except auth.TransportError as error:
        raise RemoteError(f"{what}: Google's login does not answer ({_shortly(error)})") from error
    except auth.GoogleAuthError as error:
        raise Refused(f"{what}: Google did not accept the credentials ({error})", hint=_LOGIN) from error
    except requests.exceptions.JSONDecodeError as error:
        raise RemoteError(f"{what}: the answer is no JSON: a login page, or a proxy?") from error
    except requests.RequestException as error:
        raise RemoteError(f"{what}: {_asked(error)} does not answer ({_shortly(error)})") from error


def _asked(error: requests.RequestException) -> str:
    url = error.request.url if error.request is not None else None
    return (urlsplit(url).netloc if url else "") or "the server"


def _shortly(error: BaseException | None) -> str:
    """The error's name: the texts of urllib3's are whole object dumps."""
    return type(error).__name__


def _message(reply: requests.Response) -> str:
    try:
        return str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return reply.text[:200]
