"""Folders of Cloud Storage that the platform itself reads and copies: a model's artifact."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

DEADLINE = 30.0
PAGE = 1000


class ArtifactError(Exception):
    """The storage server refused or did not answer; the message names the folder or object."""


class Artifacts:
    """A client of the storage server behind the emulator; a connection is made when one is needed."""

    def __init__(self, storage_url: str) -> None:
        self._url = storage_url.rstrip("/")

    def names(self, folder: str) -> list[str]:
        """The objects below gs://BUCKET/FOLDER, with their whole names."""
        bucket, prefix = _split(folder)
        found: list[str] = []
        token = ""
        while True:
            params: dict[str, str | int] = {
                "prefix": prefix,
                "maxResults": PAGE,
                **({"pageToken": token} if token else {}),
            }
            page = self._ask("GET", f"/storage/v1/b/{bucket}/o", folder, params)
            found += [item["name"] for item in page.get("items", [])]
            if not (token := page.get("nextPageToken", "")):
                return found

    def copy(self, source: str, target: str) -> None:
        """Every object below one folder to the other, within the server."""
        (bucket, prefix), (to_bucket, to_prefix) = _split(source), _split(target)
        names = self.names(source)
        if not names:
            raise ArtifactError(f'There are no files under "{source}" to copy.')
        for name in names:
            new = f"{to_prefix}{name.removeprefix(prefix)}"
            path = (
                f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
                f"/rewriteTo/b/{to_bucket}/o/{quote(new, safe='')}"
            )
            self._ask("POST", path, f"gs://{bucket}/{name}", {})

    def _ask(self, verb: str, path: str, what: str, params: dict[str, str | int]) -> dict[str, Any]:
        import httpx

        try:
            response = httpx.request(verb, self._url + path, params=params, timeout=DEADLINE)
        except httpx.HTTPError as error:
            raise ArtifactError(f"could not reach {what}: {error}") from error
        if response.status_code != 200:
            raise ArtifactError(f"could not read or copy {what}: HTTP {response.status_code}")
        answer: dict[str, Any] = response.json()
        return answer


def _split(folder: str) -> tuple[str, str]:
    """Bucket and prefix, the latter with a slash at its end unless it is empty."""
    bucket, _, prefix = folder.removeprefix("gs://").partition("/")
    return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
