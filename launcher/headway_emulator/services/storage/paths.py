"""What a storage request is about, read from its path and query: the kind of call, the bucket, the object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

Kind = Literal[
    "buckets",
    "bucket",
    "layout",
    "policy",
    "permissions",
    "objects",
    "object",
    "media",
    "upload",
    "resumable",
    "compose",
    "rewrite",
    "batch",
    "other",
    "unsupported",
]
JSON_API = "/storage/v1/b/"
UPLOAD_API = "/upload/storage/v1/b/"
DOWNLOAD_API = "/download/storage/v1/b/"
BATCH_API = "/batch/storage/v1"
PRECONDITIONS = (
    "ifGenerationMatch",
    "ifGenerationNotMatch",
    "ifMetagenerationMatch",
    "ifMetagenerationNotMatch",
)
SOURCE_PRECONDITIONS = {name.replace("if", "ifSource"): name for name in PRECONDITIONS}
"""The names by which a rewrite makes conditions on what it copies, and the plain ones."""


@dataclass(frozen=True)
class Target:
    """`path` is what the storage server is asked for, percent-encoded; `name` is the decoded object name.

    For rewrite and compose the object is the destination.
    """

    kind: Kind
    path: str
    bucket: str = ""
    name: str = ""
    query: Mapping[str, str] | None = None
    """What replaces the request's query, where the path was translated."""
    method: str = ""
    """What replaces the request's method, likewise."""
    source: tuple[str, str] | None = None
    """Bucket and name of what a rewrite copies."""


def target(method: str, raw_path: str, query: Mapping[str, str]) -> Target:
    """Both APIs: JSON below /storage/v1, /upload, /download or /b, and XML as /BUCKET/OBJECT."""
    path = _canonical(raw_path)
    if path.startswith(DOWNLOAD_API):
        return _object("media", path, DOWNLOAD_API)
    if path.startswith(UPLOAD_API):
        kind: Kind = "resumable" if "upload_id" in query else "upload"
        bucket = unquote(path.removeprefix(UPLOAD_API).split("/")[0])
        return Target(kind, path, bucket, query.get("name", ""))
    if path.startswith(JSON_API):
        return _json(path, query)
    if path.rstrip("/") == JSON_API.rstrip("/"):
        return Target("buckets", path)
    if path.rstrip("/") == BATCH_API:
        return Target("batch", path)
    if path.startswith(("/storage/", "/upload/", "/download/", "/batch/")):
        return Target("other", path)
    return _xml(method, path, query)


def _canonical(path: str) -> str:
    """Without the emulator's own prefix, and with the short form /b/BUCKET made long."""
    for root in ("/storage/v1", "/upload/storage/v1", "/download/storage/v1", "/b", "/batch"):
        if path.startswith(f"/storage{root}/") or path == f"/storage{root}":
            path = path.removeprefix("/storage")
            break
    if path == "/b" or path.startswith("/b/"):
        return f"/storage/v1{path}"
    return path


def _json(path: str, query: Mapping[str, str]) -> Target:
    parts = path.removeprefix(JSON_API).split("/")
    bucket = unquote(parts[0])
    match parts[1:]:
        case []:
            return Target("bucket", path, bucket)
        case ["storageLayout"]:
            return Target("layout", path, bucket)
        case ["iam"]:
            return Target("policy", path, bucket)
        case ["iam", "testPermissions"]:
            return Target("permissions", path, bucket)
        case ["o"]:
            return Target("objects", path, bucket)
        case ["o", origin, "rewriteTo" | "copyTo", "b", other, "o", name]:
            source = (bucket, unquote(origin))
            return Target("rewrite", path, unquote(other), unquote(name), source=source)
        case ["o", name, "compose"]:
            return Target("compose", path, bucket, unquote(name))
        case ["o", name] if name:
            kind: Kind = "media" if query.get("alt") == "media" else "object"
            return Target(kind, path, bucket, unquote(name))
    return Target("other", path, bucket)


def _object(kind: Kind, path: str, root: str) -> Target:
    bucket, _, name = path.removeprefix(root).partition("/o/")
    return Target(kind, path, unquote(bucket), unquote(name))


def _xml(method: str, path: str, query: Mapping[str, str]) -> Target:
    """Objects of the XML API are translated: the server's own XML routes depend on a fixed host name."""
    bucket, _, name = path.lstrip("/").partition("/")
    if not bucket or not name or "uploads" in query or "uploadId" in query:
        return Target("unsupported", path, unquote(bucket))
    plain = unquote(name)
    encoded = quote(plain, safe="")
    if method in ("GET", "HEAD"):
        return Target(
            "media", f"{DOWNLOAD_API}{bucket}/o/{encoded}", unquote(bucket), plain, {"alt": "media"}
        )
    if method == "DELETE":
        return Target("object", f"{JSON_API}{bucket}/o/{encoded}", unquote(bucket), plain, {})
    if method == "PUT":
        upload = {"uploadType": "media", "name": plain}
        return Target("upload", f"{UPLOAD_API}{bucket}/o", unquote(bucket), plain, upload, "POST")
    return Target("unsupported", path, unquote(bucket))
