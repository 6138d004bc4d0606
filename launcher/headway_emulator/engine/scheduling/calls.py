"""One attempt of a Cloud Scheduler job: its HTTP request, where it may go, and what the answer means.

Nothing leaves the machine: Google's hosts are this emulator's own services, loopback is called as it is.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from headway_emulator import hosts
from headway_emulator.engine.clock import SECOND, timestamp
from headway_emulator.engine.store import Document
from headway_emulator.settings import Settings

if TYPE_CHECKING:
    import httpx

REDIRECTS = 10
CONNECT_SECONDS = 10.0
MOST_READ = 1 << 20
"""Bytes of an answer's body; what it says is of no interest, but its end is waited for."""
TOKEN_SECONDS = 3600
REPLACED = ("host", "content-length", "user-agent")
REPLACED_PREFIXES = ("x-google-", "x-appengine-", "x-cloudscheduler")
"""Header names of the user's that are ignored, from HttpTarget.headers in the discovery document."""
CODES: Mapping[int, int] = {
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    409: 10,
    429: 8,
    499: 1,
    501: 12,
    503: 14,
    504: 4,
}
"""HTTP status to google.rpc.Code (google/rpc/code.proto)."""
NAMES = {0: "OK", 1: "CANCELLED", 2: "UNKNOWN", 3: "INVALID_ARGUMENT", 4: "DEADLINE_EXCEEDED", 5: "NOT_FOUND"}
NAMES |= {7: "PERMISSION_DENIED", 8: "RESOURCE_EXHAUSTED", 9: "FAILED_PRECONDITION", 10: "ABORTED"}
NAMES |= {12: "UNIMPLEMENTED", 13: "INTERNAL", 14: "UNAVAILABLE", 16: "UNAUTHENTICATED"}


@dataclass(frozen=True)
class Outcome:
    """What an attempt gave: a google.rpc.Code, and the HTTP status where there was an answer."""

    code: int
    http_status: int = 0
    debug: str = ""
    message: str = ""

    @property
    def status(self) -> Document:
        """As Job.status has it: of Google only the code is seen there, of the emulator also a message."""
        if self.code == 0:
            return {}
        return {"code": self.code, "message": self.message} if self.message else {"code": self.code}


LATE = Outcome(4, 504, "URL_TIMEOUT-TIMEOUT_WEB. Original HTTP response code number = 504")
"""As logged for a handler slower than the attempt deadline."""
BROKEN = Outcome(13, 0, "INTERNAL", "Internal error of the emulator; see what it has printed.")
CUT_OFF = Outcome(14, 0, "URL_UNREACHABLE-UNREACHABLE_NO_RESPONSE", "The emulator ended during the attempt.")


class Refused(Exception):
    """The target is not on this machine."""


def client() -> httpx.AsyncClient:
    """Without proxies of the environment, and without certificates: only plain HTTP is spoken."""
    import httpx

    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=20)
    return httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False, verify=False)


async def call(client: httpx.AsyncClient, settings: Settings, job: Document, due: int, now: int) -> Outcome:
    """Send the request of a job's HTTP target; `due` is the tick, in nanoseconds, as `now` is."""
    import httpx

    target = job["httpTarget"]
    headers = _headers(job, due, now)
    body = base64.b64decode(target.get("body", ""))
    method, url = target["httpMethod"], target["uri"]
    try:
        for _ in range(REDIRECTS):
            request = client.build_request(
                method, route(settings, url), headers=headers, content=body or None
            )
            response = await client.send(request, stream=True)
            try:
                if response.next_request is None:
                    await _read(response)
                    return judge(response.status_code)
                url = urljoin(url, response.headers["location"])
                if response.status_code in (301, 302, 303) and method != "HEAD":
                    method, body = "GET", b""
            finally:
                await response.aclose()
    except Refused as error:
        return Outcome(9, 0, "URL_REJECTED-REJECTED_RPC_APP_ERROR", str(error))
    except ValueError as error:  # such as a header that is not ASCII
        return Outcome(3, 0, "URL_REJECTED-REJECTED_BAD_REQUEST", f"The request cannot be sent: {error}.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f"{urlsplit(url).netloc} did not answer: {error or type(error).__name__}."
        return Outcome(14, 0, "URL_UNREACHABLE-UNREACHABLE_NO_RESPONSE", text)
    return Outcome(2, 302, "URL_ERROR-ERROR_OTHER", f"More than {REDIRECTS} redirects.")


async def _read(response: httpx.Response) -> None:
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > MOST_READ:
            return


def judge(status: int) -> Outcome:
    """200 to 299 is success; the words are those of Cloud Scheduler's execution log."""
    words = f"Original HTTP response code number = {status}"
    if 200 <= status < 300:
        return Outcome(0, status, f"URL_CRAWLED. {words}")
    kind = {401: "URL_ERROR-ERROR_AUTHENTICATION", 404: "URL_ERROR-ERROR_NOT_FOUND"}.get(status)
    if kind is None:
        kind = (
            "URL_UNREACHABLE-UNREACHABLE_5xx" if status >= 500 or status == 429 else "URL_ERROR-ERROR_OTHER"
        )
    code = CODES.get(status, 13 if status >= 500 else 9 if status >= 400 else 2)
    return Outcome(code, status, f"{kind}. {words}")


def route(settings: Settings, url: str) -> str:
    """Where the request really goes; Refused with the reason where that would leave the machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    if hosts.is_google(host):
        prefix = hosts.prefix(host)
        if prefix is None:
            raise Refused(f"The emulator has no service for {host}.")
        return f"{settings.public_url}{prefix}{rest}"
    own = urlsplit(settings.public_url).hostname
    if parts.scheme == "http" and (_is_loopback(host) or host == own):
        return url
    raise Refused(
        f"The emulator calls *.googleapis.com (its own services) and http:// on loopback, not {parts.scheme}://{host}."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _headers(job: Document, due: int, now: int) -> dict[str, str]:
    target = job["httpTarget"]
    headers = {
        name: value
        for name, value in target.get("headers", {}).items()
        if name.lower() not in REPLACED and not name.lower().startswith(REPLACED_PREFIXES)
    }
    headers |= {
        "User-Agent": "Google-Cloud-Scheduler",
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": job["name"].rsplit("/", 1)[1],
        "X-CloudScheduler-ScheduleTime": f"{timestamp(due // SECOND * SECOND)[:19]}Z",
    }
    if token := _token(target, now):
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _token(target: Document, now: int) -> str:
    if "oauthToken" in target:
        return "ya29.emulated"
    if oidc := target.get("oidcToken"):
        return identity_token(oidc["serviceAccountEmail"], oidc["audience"], now // SECOND)
    return ""


def identity_token(email: str, audience: str, now: int) -> str:
    """Shaped as Google's OpenID Connect tokens, with their claims; the signature is worthless."""
    subject = str(int(hashlib.sha256(email.encode()).hexdigest(), 16))[:21]
    claims = {
        "aud": audience,
        "azp": subject,
        "email": email,
        "email_verified": True,
        "exp": now + TOKEN_SECONDS,
        "iat": now,
        "iss": "https://accounts.google.com",
        "sub": subject,
    }
    head = {"alg": "RS256", "kid": "emulated", "typ": "JWT"}
    signed = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    return f"{signed}.{_base64url(hashlib.sha256(signed.encode()).digest() * 8)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
