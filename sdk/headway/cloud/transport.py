"""HTTP as this machine's environment wants it: its proxies and certificates, and a GET tried again.

By urllib3, with Google's own signing for it: `requests` takes a tenth of a second to load on a slow machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry
from urllib3.util import make_headers, parse_url

from headway.errors import MachineError
from headway.spec.version import __version__

_TRIES = 3
"""Beyond the first, of a GET."""


class Transport:
    """Connections that are kept, for many threads; requests are signed where there are credentials."""

    def __init__(self, credentials: Any | None) -> None:
        self._http: Any = _Manager()
        if credentials is not None:
            from google.auth.transport.urllib3 import AuthorizedHttp

            self._http = AuthorizedHttp(credentials, self._http)

    def request(
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        params: Mapping[str, str | Sequence[str]] | None = None,
        json: object = None,
        stream: bool = False,
    ) -> BaseHTTPResponse:
        """Send one request; with `stream` the body is still to be read. Timeout in seconds, of each step.

        A GET is tried again, within a second, where the server is busy or the connection breaks.
        Raises urllib3's HTTPError, and google.auth's errors.
        """
        if params:
            url += f"?{urlencode(params, doseq=True)}"
        reply: BaseHTTPResponse = self._http.request(
            method, url, json=json, timeout=timeout, preload_content=not stream
        )
        return reply


class _Manager(PoolManager):
    """urllib3's pools, which by themselves ask no environment for proxies and certificates."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {
            "headers": {"Accept-Encoding": "gzip, deflate", "User-Agent": f"headway/{__version__}"},
            "num_pools": 4,
            "maxsize": 64,
            "retries": Retry(
                total=_TRIES,
                allowed_methods=("GET",),
                status_forcelist=(429, 500, 502, 503, 504),
                backoff_factor=0.15,
                raise_on_status=False,
                respect_retry_after_header=False,  # it may ask for an hour
            ),
            **_authorities(),
        }
        super().__init__(**self._settings)
        self._proxies: dict[str, PoolManager] = {}

    def urlopen(  # type: ignore[override]  # as PoolManager's own is
        self, method: str, url: str, redirect: bool = True, **how: Any
    ) -> BaseHTTPResponse:
        """Straight, or through the proxy of this address."""
        proxy = _proxy(url)
        if proxy is None:
            return super().urlopen(method, url, redirect, **how)
        return self._through(proxy).urlopen(method, url, redirect, **how)

    def _through(self, proxy: str) -> PoolManager:
        if proxy not in self._proxies:
            if proxy.startswith("socks"):
                try:
                    from urllib3.contrib.socks import SOCKSProxyManager
                except ImportError as error:
                    raise MachineError("a SOCKS proxy needs PySocks", hint="pip install pysocks") from error
                self._proxies[proxy] = SOCKSProxyManager(proxy, **self._settings)
            else:
                login = parse_url(proxy).auth
                headers = make_headers(proxy_basic_auth=unquote(login)) if login else None
                self._proxies[proxy] = ProxyManager(proxy, proxy_headers=headers, **self._settings)
        return self._proxies[proxy]


def _proxy(url: str) -> str | None:
    """What the environment, or the system, names for this address; the one for all schemes last."""
    address = urlsplit(url)
    if proxy_bypass(address.netloc.rpartition("@")[2]):
        return None
    named = getproxies()
    proxy = named.get(address.scheme) or named.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _authorities() -> dict[str, str]:
    """The certificates to trust: where people have set their own for `requests` or curl, these.

    Raises MachineError where they are not there.
    """
    named = ((name, os.environ.get(name)) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    name, path = next(((name, path) for name, path in named if path), ("", certifi.where()))
    if not Path(path).exists():
        raise MachineError(f"{name} names {path}, which is not there", hint="mend or unset it")
    return {"ca_cert_dir" if Path(path).is_dir() else "ca_certs": path, "cert_reqs": "CERT_REQUIRED"}
