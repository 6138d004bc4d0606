"""Cloud Storage through the front, driven by Google's client, or by bare HTTP where that hides something."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
import requests
from google.api_core import exceptions
from google.cloud import storage

from tests.contract.servers import BUCKET, NUMBER, Emulator

STALE = 12345


@pytest.fixture
def existing(bucket: storage.Bucket, request: pytest.FixtureRequest) -> storage.Blob:
    blob = bucket.blob(f"existing/{request.node.name}")
    blob.upload_from_string("one")
    return blob


def content(blob: storage.Blob) -> bytes:
    body: bytes = blob.bucket.blob(blob.name).download_as_bytes()
    return body


def resumable_session(emulator: Emulator, name: str) -> str:
    """The address of a session that may only create the object."""
    url = f"{emulator.url}/upload/storage/v1/b/{BUCKET}/o"
    params = {"uploadType": "resumable", "name": name, "ifGenerationMatch": "0"}
    return requests.post(url, params=params, json={}, timeout=10).headers["location"]


def test_create_only_if_absent_has_one_winner(bucket: storage.Bucket) -> None:
    def create(number: int) -> bool:
        try:
            bucket.blob("claims/race").upload_from_string(str(number), if_generation_match=0)
        except exceptions.PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert content(bucket.blob("claims/race")) == str(won.index(True)).encode()


def test_compare_and_swap_loses_no_update(bucket: storage.Bucket) -> None:
    name = "claims/counter"
    bucket.blob(name).upload_from_string("0")

    def add(_: int) -> bool:
        """One more; a lost race shows as 412, or as 404 where the generation read is already replaced."""
        for _attempt in range(200):
            blob = bucket.get_blob(name)
            with contextlib.suppress(exceptions.PreconditionFailed, exceptions.NotFound):
                value = int(blob.download_as_bytes(if_generation_match=blob.generation))
                bucket.blob(name).upload_from_string(str(value + 1), if_generation_match=blob.generation)
                return True
        return False

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(add, range(12)))
    assert content(bucket.blob(name)) == b"12"


def test_a_stale_generation_stops_an_upload(existing: storage.Blob) -> None:
    with pytest.raises(exceptions.PreconditionFailed):
        existing.bucket.blob(existing.name).upload_from_string("two", if_generation_match=STALE)
    assert content(existing) == b"one"


def test_a_matching_generation_lets_an_upload_through(existing: storage.Blob) -> None:
    existing.bucket.blob(existing.name).upload_from_string("two", if_generation_match=existing.generation)
    assert content(existing) == b"two"


@pytest.mark.parametrize("condition", ["ifGenerationMatch=0", f"ifGenerationMatch={STALE}"])
def test_a_media_upload_obeys_preconditions(
    emulator: Emulator, existing: storage.Blob, condition: str
) -> None:
    url = f"{emulator.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={existing.name}&{condition}"
    response = requests.post(url, data=b"two", timeout=10)
    assert response.status_code == 412
    assert response.json()["error"]["errors"][0]["reason"] == "conditionNotMet"
    assert content(existing) == b"one"


def test_a_resumable_upload_of_many_chunks_arrives_whole(bucket: storage.Bucket) -> None:
    data = os.urandom(9 << 20)
    blob = bucket.blob("big/new.bin", chunk_size=1 << 20)
    blob.upload_from_string(data, if_generation_match=0)
    assert blob.size == len(data)
    assert content(blob) == data


def test_a_resumable_upload_only_if_absent_is_refused_at_its_start(existing: storage.Blob) -> None:
    blob = existing.bucket.blob(existing.name, chunk_size=1 << 20)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string(os.urandom(9 << 20), if_generation_match=0)
    assert content(existing) == b"one"


def test_a_resumable_upload_that_loses_the_race_is_refused_at_its_end(
    emulator: Emulator, bucket: storage.Bucket
) -> None:
    session = resumable_session(emulator, "race.bin")
    assert session.startswith(emulator.url)
    bucket.blob("race.bin").upload_from_string("winner")
    response = requests.put(session, data=b"loser", headers={"content-range": "bytes 0-4/5"}, timeout=10)
    assert response.status_code == 412
    assert content(bucket.blob("race.bin")) == b"winner"


def test_the_end_of_a_resumable_upload_may_be_sent_twice(emulator: Emulator, bucket: storage.Bucket) -> None:
    session = resumable_session(emulator, "twice.bin")
    headers = {"content-range": "bytes 0-4/5"}
    first = requests.put(session, data=b"hello", headers=headers, timeout=10)
    second = requests.put(session, data=b"hello", headers=headers, timeout=10)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["generation"] == second.json()["generation"]


def test_a_delete_with_a_stale_generation_deletes_nothing(existing: storage.Blob) -> None:
    with pytest.raises(exceptions.PreconditionFailed):
        existing.bucket.blob(existing.name).delete(if_generation_match=STALE)
    assert content(existing) == b"one"
    existing.bucket.blob(existing.name).delete(if_generation_match=existing.generation)
    assert not existing.exists()


def test_a_delete_of_a_replaced_generation_is_not_found(existing: storage.Blob) -> None:
    with pytest.raises(exceptions.NotFound):
        existing.bucket.blob(existing.name, generation=STALE).delete()
    assert content(existing) == b"one"


def test_compose_and_rewrite_obey_preconditions(existing: storage.Blob) -> None:
    bucket = existing.bucket
    made = bucket.blob(f"{existing.name}.made")
    made.compose([existing, existing], if_generation_match=0)
    assert content(made) == b"oneone"
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(made.name).compose([existing], if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(made.name).rewrite(existing, if_generation_match=0)
    assert content(made) == b"oneone"
    bucket.blob(f"{existing.name}.copy").rewrite(existing, if_generation_match=0)


def test_a_rewrite_obeys_conditions_on_its_source(existing: storage.Blob) -> None:
    copy = existing.bucket.blob(f"{existing.name}.copy")
    with pytest.raises(exceptions.PreconditionFailed):
        copy.rewrite(existing, if_source_generation_match=STALE)
    assert not copy.exists()
    copy.rewrite(existing, if_source_generation_match=existing.generation)
    assert content(copy) == b"one"


def test_a_stale_metageneration_keeps_a_bucket(gcs: storage.Client) -> None:
    made = gcs.create_bucket("contract-conditions")
    with pytest.raises(exceptions.PreconditionFailed):
        made.reload(if_metageneration_match=STALE)
    made.reload(if_metageneration_match=made.metageneration)
    made.delete()


def test_a_patch_with_a_stale_generation_changes_nothing(existing: storage.Blob) -> None:
    existing.metadata = {"k": "v"}
    with pytest.raises(exceptions.PreconditionFailed):
        existing.patch(if_generation_match=STALE)
    assert not existing.bucket.get_blob(existing.name).metadata


def test_a_read_with_a_stale_generation_fails_its_precondition(existing: storage.Blob) -> None:
    fresh = existing.bucket.blob(existing.name)
    with pytest.raises(exceptions.PreconditionFailed):
        fresh.reload(if_generation_match=STALE)
    with pytest.raises(exceptions.PreconditionFailed):
        fresh.download_as_bytes(if_generation_match=STALE)
    assert fresh.download_as_bytes(if_generation_match=existing.generation) == b"one"


def test_an_unchanged_object_is_not_sent_again(emulator: Emulator, existing: storage.Blob) -> None:
    path = f"{emulator.url}/storage/v1/b/{BUCKET}/o/{quote(existing.name, safe='')}"
    unchanged = requests.get(path, params={"ifGenerationNotMatch": existing.generation}, timeout=10)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert requests.get(path, params={"ifGenerationNotMatch": STALE}, timeout=10).status_code == 200


def test_a_precondition_on_an_object_that_is_not_there_is_404_for_reads(bucket: storage.Bucket) -> None:
    with pytest.raises(exceptions.NotFound):
        bucket.blob("nowhere").reload(if_generation_match=STALE)


def test_ranges_of_a_download_are_exact(bucket: storage.Bucket) -> None:
    data = os.urandom(3 << 20)
    bucket.blob("ranges.bin").upload_from_string(data)
    blob = bucket.blob("ranges.bin")
    assert blob.download_as_bytes(start=1_000_000, end=2_000_000) == data[1_000_000:2_000_001]
    assert blob.download_as_bytes(start=3_000_000) == data[3_000_000:]


def test_a_json_object_is_handed_out_byte_for_byte(bucket: storage.Bucket) -> None:
    """Links are rewritten in replies, never in what a user stored."""
    text = '{"selfLink":"http://elsewhere:1/x","projectNumber":"0"}'
    bucket.blob("plan.json").upload_from_string(text, content_type="application/json")
    assert content(bucket.blob("plan.json")) == text.encode()


def test_links_lead_back_to_the_address_the_client_used(emulator: Emulator, existing: storage.Blob) -> None:
    path = f"/storage/v1/b/{BUCKET}/o/{quote(existing.name, safe='')}"
    other = emulator.url.replace("127.0.0.1", "localhost")
    for base in (emulator.url, other):
        document = requests.get(
            f"{base}{path}", headers={"host": base.removeprefix("http://")}, timeout=10
        ).json()
        assert document["mediaLink"].startswith(f"{base}/download/")
        assert requests.get(emulator.url + document["mediaLink"].removeprefix(base), timeout=10).text == "one"


def test_buckets_carry_the_projects_number_and_a_full_one_stays(gcs: storage.Client) -> None:
    bucket = gcs.create_bucket("contract-full")
    assert str(bucket.project_number) == NUMBER
    bucket.blob("x").upload_from_string("x")
    with pytest.raises(exceptions.Conflict, match="not empty"):
        bucket.delete()
    bucket.blob("x").delete()
    bucket.delete()


def test_a_deletion_answers_204_with_nothing(emulator: Emulator, existing: storage.Blob) -> None:
    path = f"{emulator.url}/storage/v1/b/{BUCKET}/o/{quote(existing.name, safe='')}"
    response = requests.delete(path, timeout=10)
    assert (response.status_code, response.content) == (204, b"")


def test_the_layout_of_a_bucket_is_flat(emulator: Emulator) -> None:
    layout = requests.get(f"{emulator.url}/storage/v1/b/{BUCKET}/storageLayout", timeout=10).json()
    assert layout["hierarchicalNamespace"] == {"enabled": False}
    assert requests.get(f"{emulator.url}/storage/v1/b/none/storageLayout", timeout=10).status_code == 404


@pytest.mark.parametrize("prefix", ["", "/storage"])
def test_objects_answer_under_every_form_of_address(
    emulator: Emulator, existing: storage.Blob, prefix: str
) -> None:
    name = quote(existing.name, safe="")
    for path in (
        f"/storage/v1/b/{BUCKET}/o/{name}?alt=media",
        f"/download/storage/v1/b/{BUCKET}/o/{name}?alt=media",
    ):
        assert requests.get(f"{emulator.url}{prefix}{path}", timeout=10).text == "one"


def test_the_xml_api_reads_and_writes_objects(emulator: Emulator, bucket: storage.Bucket) -> None:
    url = f"{emulator.url}/{BUCKET}/xml/an%20object.txt"
    assert requests.put(url, data=b"written", timeout=10).status_code == 200
    assert requests.get(url, timeout=10).content == b"written"
    assert requests.head(url, timeout=10).headers["content-length"] == "7"
    assert content(bucket.blob("xml/an object.txt")) == b"written"
    assert requests.post(f"{url}?uploads", timeout=10).status_code == 501


def test_the_front_is_lean(emulator: Emulator, bucket: storage.Bucket) -> None:
    """A large object passes through without being held in memory."""
    import psutil

    assert emulator.process is not None
    process = psutil.Process(emulator.process.pid)
    before = process.memory_info().rss
    blob = bucket.blob("lean.bin")
    blob.upload_from_string(os.urandom(64 << 20), timeout=120)
    assert len(content(blob)) == 64 << 20
    assert process.memory_info().rss - before < 40 << 20
    blob.delete()


def test_a_dead_storage_server_is_named(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> None:
    lonely = Emulator(tmp_path_factory.mktemp("lonely") / "state", "http://127.0.0.1:9")
    lonely.start()
    try:
        response = requests.get(f"{lonely.url}/storage/v1/b/{BUCKET}", timeout=10)
        assert response.status_code == 503
        assert "http://127.0.0.1:9 did not answer" in response.json()["error"]["message"]
    finally:
        lonely.stop()
