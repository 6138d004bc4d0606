"""Objects in a bucket, through google-cloud-storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from headway.cloud.session import TIMEOUT_S, Session, translated
from headway.errors import InputError, NotFound, RemoteError

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class StoredObject:
    """An object of a bucket: its name, size in bytes and last change (UTC)."""

    name: str
    size: int
    updated: datetime


@dataclass(frozen=True)
class Version:
    """One generation of an object: its number, its age in seconds by the server's clock, its metadata."""

    generation: int
    age_s: float
    metadata: Mapping[str, str]


def split_uri(uri: str) -> tuple[str, str]:
    """`gs://bucket/name` → (bucket, name). Raises InputError for anything else."""
    scheme, _, rest = uri.partition("://")
    bucket, _, name = rest.partition("/")
    if scheme != "gs" or not bucket:
        raise InputError(f"{uri!r} is no address on Cloud Storage", hint="write gs://BUCKET/NAME")
    return bucket, name


class ObjectStore:
    """One bucket. Every call has a deadline; Google's client retries what is safe to retry."""

    def __init__(self, session: Session, bucket: str) -> None:
        self.bucket = bucket
        self._session = session

    def uri(self, name: str) -> str:
        return f"gs://{self.bucket}/{name}"

    @cached_property
    def _bucket(self) -> Any:
        from google.cloud import storage

        endpoint = self._session.override("storage")
        client = storage.Client(
            project=self._session.project or None,
            credentials=self._session.credentials,
            client_options={"api_endpoint": endpoint} if endpoint else None,
        )
        return client.bucket(self.bucket)

    def exists(self, name: str) -> bool:
        """Asked by one plain GET: a plan then needs no Google client, whose import takes longer than it."""
        try:
            self._session.call("GET", f"{self._url(name)}?fields=name", f"cannot look up {self.uri(name)}")
        except NotFound:
            return False
        return True

    def read(self, name: str) -> bytes:
        """The whole object. Raises NotFound."""
        with self._calling("read", name):
            data: bytes = self._bucket.blob(name).download_as_bytes(timeout=TIMEOUT_S)
            return data

    def stream(self, name: str) -> Iterator[bytes]:
        """The object's bytes piece by piece, by one plain GET: cheaper than the client for many small ones.

        Raises NotFound, and RemoteError where they stop coming: the caller retries.
        """
        with self._get("read", name, "alt=media") as reply:
            yield from reply.iter_content(1 << 20)

    def read_from(self, name: str, offset: int) -> bytes:
        """What the object holds from a byte on; empty where it is absent or has nothing new."""
        from google.api_core.exceptions import RequestRangeNotSatisfiable

        try:
            with self._calling("read", name):
                try:
                    data: bytes = self._bucket.blob(name).download_as_bytes(start=offset, timeout=TIMEOUT_S)
                except RequestRangeNotSatisfiable:
                    return b""
                return data
        except NotFound:
            return b""

    def write(
        self,
        name: str,
        data: bytes,
        *,
        only_if_absent: bool = False,
        content_type: str = "application/octet-stream",
    ) -> bool:
        """Write the object; False where `only_if_absent` found it there, which nothing overwrites."""
        condition = {"if_generation_match": 0} if only_if_absent else {}
        return self._send(
            name,
            lambda blob: blob.upload_from_string(
                data, content_type=content_type, timeout=TIMEOUT_S, **condition
            ),
        )

    def version(self, name: str) -> Version:
        """What the object is now; its age is by the server, for clocks here may be minutes off.

        Raises NotFound.
        """
        with self._get("look up", name, "fields=generation,updated,metadata") as reply:
            document = reply.json()
            now = parsedate_to_datetime(reply.headers["Date"])
        written = datetime.fromisoformat(document["updated"])
        return Version(
            int(document["generation"]), (now - written).total_seconds(), document.get("metadata", {})
        )

    def replace(self, name: str, data: bytes, *, generation: int, metadata: Mapping[str, str]) -> bool:
        """Write over that very generation of a JSON object, 0 for none; False where another is there."""

        def send(blob: Any) -> None:
            blob.metadata = dict(metadata)
            blob.upload_from_string(
                data, content_type="application/json", timeout=TIMEOUT_S, if_generation_match=generation
            )

        return self._send(name, send)

    def upload(self, name: str, path: Path, *, only_if_absent: bool = False) -> bool:
        """Send a file; False where `only_if_absent` found the object there.

        Raises RemoteError also where somebody wrote to the file meanwhile: sent again, it may arrive.
        """
        from google.cloud.storage.exceptions import DataCorruption
        from google.cloud.storage.retry import DEFAULT_RETRY

        # a file's upload writes the same bytes however often it is sent, so it is safe to retry
        condition = {"if_generation_match": 0} if only_if_absent else {"retry": DEFAULT_RETRY}
        try:
            return self._send(
                name, lambda blob: blob.upload_from_filename(str(path), timeout=TIMEOUT_S, **condition)
            )
        except (ValueError, DataCorruption) as error:  # it is shorter than it was, or its checksum differs
            message = f"cannot write {self.uri(name)}: {path} changed while it was being sent"
            raise RemoteError(message, hint="send it again when it is whole") from error

    def download(self, name: str, path: Path) -> None:
        """Fetch the object into a file. Raises NotFound; leaves no half file."""
        from google.cloud.storage.exceptions import DataCorruption

        part = path.with_name(path.name + ".part")
        try:
            with self._calling("download", name):
                self._bucket.blob(name).download_to_filename(str(part), timeout=TIMEOUT_S)
            part.replace(path)
        except DataCorruption as error:
            message = f"cannot download {self.uri(name)}: it arrived damaged, its checksum differs"
            raise RemoteError(message, hint="try again") from error
        finally:
            part.unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Objects whose names begin so, in the order of their names."""
        with self._calling("list", prefix):
            for blob in self._bucket.client.list_blobs(self._bucket, prefix=prefix, timeout=TIMEOUT_S):
                yield StoredObject(blob.name, int(blob.size or 0), blob.updated)

    def delete(self, name: str, *, generation: int | None = None) -> None:
        """Remove the object; one that is not there is no error. With a generation: that one only."""
        with suppress(NotFound), self._calling("delete", name):
            self._bucket.blob(name).delete(timeout=TIMEOUT_S, if_generation_match=generation)

    def _send(self, name: str, send: Callable[[Any], None]) -> bool:
        """False where a precondition did not hold."""
        from google.api_core.exceptions import PreconditionFailed

        with self._calling("write", name):
            try:
                send(self._bucket.blob(name))
            except PreconditionFailed:
                return False
        return True

    @contextmanager
    def _get(self, verb: str, name: str, query: str) -> Iterator[requests.Response]:
        """One plain GET of the object; what breaks while its bytes come is not tried again."""
        with (
            self._calling(verb, name),
            self._session.http.get(f"{self._url(name)}?{query}", stream=True, timeout=TIMEOUT_S) as reply,
        ):
            if reply.status_code == 404:
                raise NotFound(f"cannot {verb} {self.uri(name)}: there is no such object")
            if not reply.ok:
                raise RemoteError(f"cannot {verb} {self.uri(name)}: {reply.status_code} {reply.reason}")
            yield reply

    def _url(self, name: str) -> str:
        bucket = f"{self._session.endpoint('storage')}/storage/v1/b/{self.bucket}"
        return f"{bucket}/o/{quote(name, safe='')}"

    def _calling(self, verb: str, name: str) -> AbstractContextManager[None]:
        return translated(f"cannot {verb} {self.uri(name)}")
