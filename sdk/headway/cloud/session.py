"""Session: project, credentials and endpoints; what every module of `headway.cloud` is built on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headway.errors import Exhausted, HeadwayError, MachineError, NotFound, Refused, RemoteError
from headway.spec.place import Place

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 60.0
"""Deadline of one request, connection included."""

_TRIES = 3
"""Beyond the first, of a plain GET."""
_LOGIN = "run: gcloud auth application-default login"
_KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_GOOGLE = {
    "aiplatform": "https://{region}-aiplatform.googleapis.com",
    "artifactregistry": "https://artifactregistry.googleapis.com",
    "cloudbuild": "https://cloudbuild.googleapis.com",
    "cloudfunctions": "https://cloudfunctions.googleapis.com",
    "cloudresourcemanager": "https://cloudresourcemanager.googleapis.com",
    "cloudscheduler": "https://cloudscheduler.googleapis.com",
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
        """A requests session that signs its requests; for the REST calls that need no generated client.

        A GET is tried again, within a second, where the server is busy or the connection breaks.
        """
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3 import Retry

        again = Retry(
            total=_TRIES,
            allowed_methods=("GET",),
            status_forcelist=(429, 500, 502, 503, 504),
            backoff_factor=0.15,
            raise_on_status=False,
            respect_retry_after_header=False,  # it may ask for an hour
        )
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            if (path := os.environ.get(name)) and not os.path.exists(path):  # noqa: PTH110
                raise MachineError(f"{name} names {path}, which is not there", hint="mend or unset it")
        if self._anonymous:
            session = requests.Session()
        else:
            from google.auth.transport.requests import AuthorizedSession

            session = AuthorizedSession(self.credentials)
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=64, max_retries=again))
        return session

    def call(self, method: str, url: str, what: str, **arguments: Any) -> dict[str, Any]:
        """One REST call with a deadline; its JSON. Raises NotFound or RemoteError saying `what` failed."""
        arguments.setdefault("timeout", TIMEOUT_S)
        with translated(what):
            reply = self.http.request(method, url, **arguments)
            if reply.status_code == 404:
                raise NotFound(f"{what}: {_message(reply)}")
            if not reply.ok:
                login = _LOGIN if reply.status_code == 401 else None
                raise _kind(reply.status_code)(f"{what}: {reply.status_code} {_message(reply)}", hint=login)
            document: dict[str, Any] = reply.json()
        return document


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn errors of Google's clients into ours: the one border where foreign errors end."""
    try:
        yield
    except HeadwayError:
        raise
    except Exception as error:
        # their classes are imported only now: all of gRPC comes with them, a tenth of a second
        if (ours := _translation(error, what)) is None:
            raise
        raise ours from error


def _translation(error: Exception, what: str) -> HeadwayError | None:
    """What a foreign error is called here; None for one that is not of Google's clients."""
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from google.protobuf.json_format import ParseError

    match error:
        case api.NotFound():
            return NotFound(f"{what}: {error.message}")
        case api.Forbidden():
            return Refused(
                f"{what}: permission denied: {error.message}",
                hint="grant the missing role to the account you are logged in with (gcloud auth list)",
            )
        case api.Unauthorized():
            return Refused(f"{what}: {error.code} {error.message}", hint=_LOGIN)
        case api.TooManyRequests():
            return Exhausted(f"{what}: {error.code} {error.message}")
        case api.ClientError():
            return Refused(f"{what}: {error.code} {error.message}")
        case api.GoogleAPICallError():
            return RemoteError(f"{what}: {error.code} {error.message}")
        case api.RetryError():
            return RemoteError(f"{what}: no answer in time ({_shortly(error.cause)})")
        case auth.TransportError():
            return RemoteError(f"{what}: Google's login does not answer ({_shortly(error)})")
        case auth.GoogleAuthError():
            return Refused(f"{what}: Google did not accept the credentials ({error})", hint=_LOGIN)
        case requests.exceptions.JSONDecodeError() | ParseError():
            return RemoteError(f"{what}: the answer is no JSON: a login page, or a proxy?")
        case requests.RequestException():
            return RemoteError(f"{what}: {_asked(error)} does not answer ({_shortly(error)})")
    return None


def _kind(status: int) -> type[RemoteError]:
    if status == 429:
        return Exhausted
    return Refused if status < 500 else RemoteError


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
