"""The few objects that the platform itself reads and writes: a build's source, its log, its artifacts."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import IO
from urllib.parse import quote

import httpx

DEADLINE = 30.0


class ObjectError(Exception):
    """The storage server refused or did not answer; the message names the object."""


class Objects:
    """A client of the storage server behind the emulator."""

    def __init__(self, storage_url: str, project: str) -> None:
        self._http = httpx.Client(base_url=storage_url, timeout=DEADLINE)
        self._project = project

    def close(self) -> None:
        self._http.close()

    def fetch(self, bucket: str, name: str, generation: str, target: Path) -> str:
        """Save an object to a file without holding it in memory; gives its generation where it is told."""
        where = f"gs://{bucket}/{name}"
        params = {"alt": "media", **({"generation": generation} if generation else {})}
        url = f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        try:
            with self._http.stream("GET", url, params=params) as response, target.open("wb") as file:
                if response.status_code != 200:
                    raise ObjectError(f"could not read {where}: HTTP {response.status_code}")
                for chunk in response.iter_bytes():
                    file.write(chunk)
                return str(response.headers.get("x-goog-generation", generation))
        except httpx.HTTPError as error:
            raise ObjectError(f"could not read {where}: {error}") from error

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
        try:
            response = self._http.post(
                f"/upload/storage/v1/b/{bucket}/o",
                params=params,
                headers={"content-type": kind},
                content=content,
            )
        except httpx.HTTPError as error:
            raise ObjectError(f"could not write gs://{bucket}/{name}: {error}") from error
        if response.status_code != 200:
            raise ObjectError(f"could not write gs://{bucket}/{name}: HTTP {response.status_code}")
        return str(response.json().get("generation", ""))

    def make_bucket(self, bucket: str) -> None:
        """Nothing where it exists."""
        try:
            params = {"project": self._project}
            response = self._http.post("/storage/v1/b", params=params, json={"name": bucket})
        except httpx.HTTPError as error:
            raise ObjectError(f"could not make the bucket {bucket}: {error}") from error
        if response.status_code not in (200, 409):
            raise ObjectError(f"could not make the bucket {bucket}: HTTP {response.status_code}")

    def bucket_exists(self, bucket: str) -> bool:
        try:
            return self._http.get(f"/storage/v1/b/{bucket}").status_code == 200
        except httpx.HTTPError as error:
            raise ObjectError(f"could not ask for the bucket {bucket}: {error}") from error
