"""The few objects that the platform itself reads and writes: a build's source, its log, its artifacts."""

from __future__ import annotations

import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx

DEADLINE = 30.0


class ObjectError(Exception):
    """The storage server refused or did not answer; the message names the object."""


class Objects:
    """A client of the storage server behind the emulator, which connects when it is first needed."""

    def __init__(self, storage_url: str, project: str) -> None:
        self._url = storage_url
        self._project = project
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def fetch(self, bucket: str, name: str, generation: str, target: Path) -> str:
        """Save an object to a file without holding it in memory; gives its generation where it is told."""
        where = f"gs://{bucket}/{name}"
        params = {"alt": "media", **({"generation": generation} if generation else {})}
        url = f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        with (
            self._http(f"read {where}") as http,
            http.stream("GET", url, params=params) as response,
            target.open("wb") as file,
        ):
            if response.status_code != 200:
                raise ObjectError(f"could not read {where}: HTTP {response.status_code}")
            for chunk in response.iter_bytes():
                file.write(chunk)
            return str(response.headers.get("x-goog-generation", generation))

    def write_text(self, bucket: str, name: str, text: str) -> None:
        """Create or replace a text object."""
        self._write(bucket, name, text.encode(), "text/plain; charset=utf-8")

    def upload(self, bucket: str, name: str, path: Path) -> str:
        """Create or replace an object with a file's bytes; gives its generation."""
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        with path.open("rb") as file:
            return self._write(bucket, name, file, kind)

    def _write(self, bucket: str, name: str, content: bytes | IO[bytes], kind: str) -> str:
        params = {"uploadType": "media", "name": name}
        with self._http(f"write gs://{bucket}/{name}") as http:
            response = http.post(
                f"/upload/storage/v1/b/{bucket}/o",
                params=params,
                headers={"content-type": kind},
                content=content,
            )
        if response.status_code != 200:
            raise ObjectError(f"could not write gs://{bucket}/{name}: HTTP {response.status_code}")
        return str(response.json().get("generation", ""))

    def make_bucket(self, bucket: str) -> None:
        """Nothing where it exists."""
        with self._http(f"make the bucket {bucket}") as http:
            params = {"project": self._project}
            response = http.post("/storage/v1/b", params=params, json={"name": bucket})
        if response.status_code not in (200, 409):
            raise ObjectError(f"could not make the bucket {bucket}: HTTP {response.status_code}")

    def bucket_exists(self, bucket: str) -> bool:
        with self._http(f"ask for the bucket {bucket}") as http:
            return http.get(f"/storage/v1/b/{bucket}").status_code == 200

    @contextmanager
    def _http(self, doing: str) -> Iterator[httpx.Client]:
        """The client; its failures are ObjectErrors that say what could not be done."""
        import httpx  # a third of the time of a start that needs none of it

        with self._lock:
            if self._client is None:
                self._client = httpx.Client(base_url=self._url, timeout=DEADLINE)
        try:
            yield self._client
        except httpx.HTTPError as error:
            raise ObjectError(f"could not {doing}: {error}") from error
