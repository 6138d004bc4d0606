"""What a storage request is about, and whether its preconditions hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_emulator.services.storage_conditions import ObjectLocks, refusal
from headway_emulator.services.storage_paths import target
from headway_emulator.services.storage_uploads import final_chunk, multipart_name

NOW = {"generation": "7", "metageneration": "1"}


@pytest.mark.parametrize(
    ("method", "path", "kind", "bucket", "name"),
    [
        ("GET", "/storage/v1/b/bkt", "bucket", "bkt", ""),
        ("GET", "/b/bkt", "bucket", "bkt", ""),
        ("GET", "/storage/v1/b/bkt/storageLayout", "layout", "bkt", ""),
        ("GET", "/storage/v1/b/bkt/o", "other", "bkt", ""),
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
        ("POST", "/batch/storage/v1", "other", "", ""),
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
        ("bytes */10", False),
        ("bytes 10-19/20", True),
    ],
)
def test_only_the_last_byte_ends_an_upload(content_range: str, final: bool) -> None:
    assert final_chunk(content_range) is final


BODY = (
    b'--XX\r\ncontent-type: application/json\r\n\r\n{"name": "a/b"}\r\n'
    b"--XX\r\ncontent-type: text/plain\r\n\r\nhello\r\n--XX--"
)


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@given(st.integers(min_value=1, max_value=len(BODY)))
def test_a_multipart_uploads_name_is_found_however_it_is_cut(size: int) -> None:
    async def ask() -> tuple[str, bytes]:
        rest = pieces(BODY, size)
        name, head = await multipart_name("multipart/related; boundary=XX", rest)
        return name, head + b"".join([piece async for piece in rest])

    assert asyncio.run(ask()) == ("a/b", BODY)


@pytest.mark.parametrize("kind", ["multipart/related; boundary='XX'", 'multipart/related; boundary="XX"'])
def test_a_boundary_may_be_quoted(kind: str) -> None:
    assert asyncio.run(multipart_name(kind, pieces(BODY, 1000)))[0] == "a/b"


@pytest.mark.parametrize(
    "data", [b"", b"nothing", b"--XX\r\n\r\n{broken\r\n--XX", b"--XX\r\n\r\n[1]\r\n--XX"]
)
def test_a_multipart_upload_without_a_name_goes_through_whole(data: bytes) -> None:
    assert asyncio.run(multipart_name("multipart/related; boundary=XX", pieces(data, 5))) == ("", data)


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
