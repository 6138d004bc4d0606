"""What a storage request is about, and whether its preconditions hold."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from headway_emulator.engine.store import Store
from headway_emulator.services.storage.checks import (
    Declared,
    Mismatch,
    checked,
    checked_multipart,
    declared,
    name_refusal,
)
from headway_emulator.services.storage.conditions import ObjectLocks, refusal
from headway_emulator.services.storage.exchange import Refused
from headway_emulator.services.storage.globs import matches
from headway_emulator.services.storage.marks import Marks
from headway_emulator.services.storage.methods import method
from headway_emulator.services.storage.paths import target
from headway_emulator.services.storage.sessions import Session, place, without
from headway_emulator.services.storage.uploads import multipart_metadata, peeked

NOW = {"generation": "7", "metageneration": "1"}


@pytest.mark.parametrize(
    ("method", "path", "kind", "bucket", "name"),
    [
        ("GET", "/storage/v1/b/bkt", "bucket", "bkt", ""),
        ("GET", "/b/bkt", "bucket", "bkt", ""),
        ("GET", "/storage/v1/b/bkt/storageLayout", "layout", "bkt", ""),
        ("GET", "/storage/v1/b/bkt/o", "objects", "bkt", ""),
        ("GET", "/storage/v1/b/bkt/o/a%2Fb%20c", "object", "bkt", "a/b c"),
        ("GET", "/storage/storage/v1/b/bkt/o/a", "object", "bkt", "a"),
        ("GET", "/download/storage/v1/b/bkt/o/a%2Fb", "media", "bkt", "a/b"),
        ("POST", "/storage/v1/b/bkt/o/a%2Fb/compose", "compose", "bkt", "a/b"),
        ("POST", "/storage/v1/b/one/o/a/rewriteTo/b/two/o/b%2Fc", "rewrite", "two", "b/c"),
        ("POST", "/storage/v1/b/one/o/a/copyTo/b/two/o/b", "rewrite", "two", "b"),
        ("POST", "/upload/storage/v1/b/bkt/o", "upload", "bkt", ""),
        ("GET", "/bkt/a/b%20c", "media", "bkt", "a/b c"),
        ("DELETE", "/bkt/a", "object", "bkt", "a"),
        ("PUT", "/bkt/a", "upload", "bkt", "a"),
        ("GET", "/bkt", "unsupported", "bkt", ""),
        ("POST", "/batch/storage/v1", "batch", "", ""),
        ("GET", "/storage/v1/b", "buckets", "", ""),
        ("GET", "/b/bkt/iam", "policy", "bkt", ""),
        ("GET", "/storage/v1/b/bkt/iam/testPermissions", "permissions", "bkt", ""),
    ],
)
def test_a_path_names_its_bucket_and_object(
    method: str, path: str, kind: str, bucket: str, name: str
) -> None:
    found = target(method, path, {})
    assert (found.kind, found.bucket, found.name) == (kind, bucket, name)


def test_the_query_tells_bytes_from_metadata_and_a_chunk_from_a_start() -> None:
    assert target("GET", "/storage/v1/b/bkt/o/a", {"alt": "media"}).kind == "media"
    assert target("PUT", "/upload/storage/v1/b/bkt/o", {"upload_id": "1", "name": "a"}).kind == "resumable"


@pytest.mark.parametrize(
    ("wanted", "exists", "status"),
    [
        ({}, False, None),
        ({"ifGenerationMatch": "0"}, False, None),
        ({"ifGenerationMatch": "0"}, True, 412),
        ({"ifGenerationMatch": "7"}, True, None),
        ({"ifGenerationMatch": "7"}, False, 412),
        ({"ifGenerationMatch": "6"}, True, 412),
        ({"ifGenerationNotMatch": "7"}, True, 412),
        ({"ifGenerationNotMatch": "6"}, True, None),
        ({"ifGenerationNotMatch": "0"}, False, 412),
        ({"ifGenerationNotMatch": "7"}, False, None),
        ({"ifMetagenerationMatch": "1"}, True, None),
        ({"ifMetagenerationMatch": "2"}, True, 412),
        ({"ifMetagenerationMatch": "1"}, False, 412),
        ({"ifGenerationMatch": "7", "ifMetagenerationMatch": "2"}, True, 412),
    ],
)
def test_a_change_is_refused_where_a_precondition_fails(
    wanted: dict[str, str], exists: bool, status: int | None
) -> None:
    refused = refusal(wanted, NOW if exists else None, reading=False)
    assert (refused.status if refused else None) == status


def test_a_read_of_something_unchanged_is_304() -> None:
    refused = refusal({"ifGenerationNotMatch": "7"}, NOW, reading=True)
    assert refused is not None
    assert refused.status == 304


@pytest.mark.parametrize(
    ("content_range", "final"),
    [
        ("", True),
        ("bytes 0-9/10", True),
        ("bytes 0-9/20", False),
        ("bytes 0-9/*", False),
        ("bytes */*", False),
        ("bytes */9", False),
        ("bytes */5", True),
        ("bytes 5-19/20", True),
        ("bytes 5-*/*", True),
    ],
)
def test_only_the_last_byte_ends_an_upload(content_range: str, final: bool) -> None:
    """Of a session in which the server has five bytes."""
    assert Session(Declared(), size=5).ends_at(place(content_range)) is final


def test_bytes_before_those_that_come_are_not_left_out() -> None:
    session = Session(Declared(), size=5)
    assert session.begin(place("bytes 3-9/10")) == 3
    with pytest.raises(Refused) as refused:
        session.begin(place("bytes 6-9/10"))
    assert refused.value.response.status_code == 400
    with pytest.raises(Refused):
        place("bytes ten")


@given(st.lists(st.binary(max_size=9)), st.integers(0, 50))
def test_bytes_that_were_sent_before_are_left_out(sent: list[bytes], known: int) -> None:
    async def work() -> bytes:
        async def body() -> AsyncIterator[bytes]:
            for piece in sent:
                yield piece

        return b"".join([piece async for piece in without(body(), known)])

    assert asyncio.run(work()) == b"".join(sent)[known:]


BODY = (
    b'--XX\r\ncontent-type: application/json\r\n\r\n{"name": "a/b"}\r\n'
    b"--XX\r\ncontent-type: text/plain\r\n\r\nhello\r\n--XX--"
)


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@given(st.integers(min_value=1, max_value=len(BODY)))
def test_a_multipart_uploads_name_is_found_however_it_is_cut(size: int) -> None:
    async def ask() -> tuple[dict[str, Any], bytes]:
        messages = [
            {"type": "http.request", "body": piece, "more_body": True} async for piece in pieces(BODY, size)
        ]
        messages[-1]["more_body"] = False
        left = iter(messages)

        async def receive() -> Message:
            return next(left)

        metadata, again = await peeked(receive, "multipart/related; boundary=XX")
        return metadata, b"".join([(await again())["body"] for _ in messages])

    assert asyncio.run(ask()) == ({"name": "a/b"}, BODY)


@pytest.mark.parametrize("kind", ["multipart/related; boundary='XX'", 'multipart/related; boundary="XX"'])
def test_a_boundary_may_be_quoted(kind: str) -> None:
    assert asyncio.run(multipart_metadata(kind, pieces(BODY, 1000)))["name"] == "a/b"


@pytest.mark.parametrize(
    "data", [b"", b"nothing", b"--XX\r\n\r\n{broken\r\n--XX", b"--XX\r\n\r\n[1]\r\n--XX"]
)
def test_a_multipart_upload_without_a_name_has_no_metadata(data: bytes) -> None:
    assert asyncio.run(multipart_metadata("multipart/related; boundary=XX", pieces(data, 5))) == {}


def test_changes_of_one_object_wait_for_each_other_and_leave_no_lock_behind() -> None:
    locks = ObjectLocks()
    order: list[str] = []

    async def change(name: str, mark: str) -> None:
        async with locks.hold("bkt", name):
            order.append(f"{mark} begins")
            await asyncio.sleep(0.01)
            order.append(f"{mark} ends")

    async def run() -> None:
        await asyncio.gather(change("a", "first"), change("a", "second"), change("b", "other"))

    asyncio.run(run())
    assert order.index("first ends") < order.index("second begins")
    assert order.index("other begins") < order.index("first ends")
    assert locks._locks == {}


@pytest.mark.parametrize(
    ("verb", "path", "name", "permission"),
    [
        ("GET", "/b/k/o/a", "storage.objects.get", "storage.objects.get"),
        ("HEAD", "/k/a", "storage.objects.get", "storage.objects.get"),
        ("GET", "/b/k/o", "storage.objects.list", "storage.objects.list"),
        ("POST", "/upload/storage/v1/b/k/o", "storage.objects.insert", "storage.objects.create"),
        ("DELETE", "/b/k/o/a", "storage.objects.delete", "storage.objects.delete"),
        ("GET", "/b", "storage.buckets.list", "storage.buckets.list"),
        ("PATCH", "/b/k", "storage.buckets.patch", "storage.buckets.get, storage.buckets.update"),
        ("GET", "/b/k/iam/testPermissions", "storage.buckets.testIamPermissions", ""),
        ("POST", "/b/k/o/a/nonsense", "storage.post", ""),
    ],
)
def test_a_request_has_googles_method_name_and_permission(
    verb: str, path: str, name: str, permission: str
) -> None:
    assert method(verb, target(verb, path, {})) == (name, permission)


@pytest.mark.parametrize("name", ["a", "a/b", "folder/", "größe", "x" * 255, "/".join(["y" * 200] * 5)])
def test_most_names_are_allowed(name: str) -> None:
    assert name_refusal(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x" * 1025, "The maximum object length is 1024 characters, but got a name with 1025 characters"),
        ("ä" * 513, "got a name with 1026 characters"),
        ("a\nb", "Disallowed unicode characters"),
        ("..", "Invalid object name"),
        (".well-known/acme-challenge/x", "Invalid object name"),
        ("a/../b", "none has"),
        ("a//b", "none has"),
        ("a/" + "x" * 256, "at most 255 bytes"),
    ],
)
def test_a_name_that_cannot_be_is_told_why(name: str, why: str) -> None:
    assert why in (name_refusal(name) or "")


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "d/a.txt", False),
        ("**/*.txt", "a.txt", True),
        ("**/*.txt", "d/e/a.txt", True),
        ("d/**", "d/e/f", True),
        ("part-?", "part-1", True),
        ("part-[0-3]", "part-4", False),
        ("part-[!0-3]", "part-4", True),
        ("{a,b}/x", "b/x", True),
        ("{a,b}/x", "c/x", False),
        ("a+b(c)", "a+b(c)", True),
    ],
)
def test_a_glob_is_googles(glob: str, name: str, fits: bool) -> None:
    assert matches(glob, name) is fits


def crc(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


async def gathered(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in body])


@given(st.binary(max_size=5000), st.integers(min_value=1, max_value=700))
def test_bytes_that_are_as_declared_arrive_whole(data: bytes, size: int) -> None:
    sums = declared({"x-goog-hash": f"crc32c={crc(data)},md5={md5(data)}"}, {})
    assert asyncio.run(gathered(checked(pieces(data, size), sums))) == data


@given(st.binary(max_size=5000), st.integers(min_value=1, max_value=700))
def test_the_data_of_a_multipart_body_is_what_is_checked(data: bytes, size: int) -> None:
    mark = b"--==frontier=="
    head = mark + b'\r\ncontent-type: application/json\r\n\r\n{"name": "a"}\r\n'
    body = head + mark + b"\r\ncontent-type: text/plain\r\n\r\n" + data + b"\r\n" + mark + b"--"
    good, bad = declared({}, {"crc32c": crc(data)}), declared({}, {"md5Hash": md5(data + b"x")})
    assert asyncio.run(gathered(checked_multipart(pieces(body, size), good, mark))) == body
    with pytest.raises(Mismatch, match="Provided MD5 hash"):
        asyncio.run(gathered(checked_multipart(pieces(body, size), bad, mark)))


def test_bytes_that_differ_end_before_their_end() -> None:
    """So that the server behind, which counts them, makes no object."""
    data = b"x" * 4000
    seen = bytearray()

    async def run() -> None:
        async for piece in checked(pieces(data, 100), declared({"content-md5": md5(b"y")}, {})):
            seen.extend(piece)

    with pytest.raises(Mismatch, match="doesn't match calculated MD5 hash"):
        asyncio.run(run())
    assert len(seen) < len(data)


def test_a_patch_keeps_the_generation_and_counts(tmp_path: Path) -> None:
    """Also after a restart; an object that was written again since is not touched."""
    before = {"bucket": "b", "name": "n", "generation": "1", "metageneration": "1"}
    after = {**before, "generation": "2"}
    store = Store(tmp_path / "state")
    Marks(store).patched(before, after, "now")
    marks = Marks(store)
    shown = {**before, "metageneration": "2", "updated": "now"}
    assert marks.shown(after) == shown
    assert marks.real("b", "n", "1") == "2"
    marks.patched(shown, {**after, "generation": "3"}, "later")
    assert marks.shown({**after, "generation": "3"})["metageneration"] == "3"
    assert marks.shown({**after, "generation": "4"})["generation"] == "4"
    marks.forget("b", "n")
    assert not Marks(store)
    store.close()
