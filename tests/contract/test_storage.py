"""Cloud Storage through the front, driven by Google's client, or by bare HTTP where that hides something."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

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


CHUNK = 1 << 18


class Upload:
    """A resumable session, by bare HTTP: clients hide what is asked."""

    def __init__(self, emulator: Emulator, name: str) -> None:
        self.address = resumable_session(emulator, name)

    def put(self, data: bytes, place: str) -> tuple[int, str]:
        """Status, and how far it is."""
        answer = requests.put(self.address, data=data, headers={"content-range": place}, timeout=10)
        return answer.status_code, answer.headers.get("range", "")


@pytest.mark.parametrize("asked", ["bytes */*", f"bytes */{CHUNK + 5}"])
def test_a_question_how_far_an_upload_is_does_not_end_it(
    emulator: Emulator, bucket: storage.Bucket, asked: str
) -> None:
    """gcloud asks so after a break; and what is sent again is not there twice."""
    name = f"asked-{len(asked)}.bin"
    upload = Upload(emulator, name)
    assert upload.put(b"", asked) == (308, "")
    for _ in range(2):
        assert upload.put(b"a" * CHUNK, f"bytes 0-{CHUNK - 1}/*") == (308, f"bytes=0-{CHUNK - 1}")
        assert upload.put(b"", asked) == (308, f"bytes=0-{CHUNK - 1}")
    assert upload.put(b"b", f"bytes {CHUNK + 5}-{CHUNK + 5}/*")[0] == 400
    assert not bucket.blob(name).exists()
    again = b"a" * 10 + b"b" * 5
    assert upload.put(again, f"bytes {CHUNK - 10}-{CHUNK + 4}/{CHUNK + 5}")[0] == 200
    assert content(bucket.blob(name)) == b"a" * CHUNK + b"b" * 5
    assert upload.put(b"", asked)[0] == 200


def test_an_upload_whose_size_is_told_at_last_obeys_its_precondition(
    emulator: Emulator, bucket: storage.Bucket
) -> None:
    """Python's client ends so where it learns late that there is no more."""
    lost, won = Upload(emulator, "late.bin"), Upload(emulator, "late.bin")
    for upload in (lost, won):
        assert upload.put(b"x" * CHUNK, f"bytes 0-{CHUNK - 1}/*")[0] == 308
    assert won.put(b"", f"bytes */{CHUNK}")[0] == 200
    assert lost.put(b"", f"bytes */{CHUNK}")[0] == 412
    assert bucket.get_blob("late.bin").size == CHUNK


def test_an_upload_that_is_not_known_begins_anew(emulator: Emulator) -> None:
    upload = Upload(emulator, "unknown.bin")
    upload.address = upload.address.replace("upload_id=", "upload_id=other")
    assert upload.put(b"x", "bytes 0-0/1")[0] == 404


@pytest.mark.parametrize("kind", ["media", "multipart", "resumable"])
def test_a_client_that_stops_in_the_middle_holds_nobody_up(
    emulator: Emulator, bucket: storage.Bucket, kind: str
) -> None:
    """Neither who writes the same object nor others; and what it began is no object."""
    name = f"stopped-{kind}.bin"
    address = f"{emulator.url}/upload/storage/v1/b/{BUCKET}/o?uploadType={kind}&name={name}"
    if kind == "resumable":
        address = resumable_session(emulator, name)
    place = urlsplit(address)
    verb = "PUT" if kind == "resumable" else "POST"
    head = f"{verb} {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\n"
    mixed = "Content-Type: multipart/related; boundary=XX\r\n" if kind == "multipart" else ""
    begin = f'--XX\r\n\r\n{{"name": "{name}"}}\r\n--XX\r\n\r\nabc' if mixed else "abc"
    with socket.create_connection((place.hostname, place.port)) as stopped:
        stopped.sendall(f"{head}{mixed}Content-Length: 1000\r\n\r\n{begin}".encode())
        time.sleep(0.2)
        for other in (name, f"{name}.other"):
            bucket.blob(other).upload_from_string("quick", timeout=5, retry=None)
            assert content(bucket.blob(other)) == b"quick"
    time.sleep(0.2)
    assert content(bucket.blob(name)) == b"quick"


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


def test_the_xml_api_hands_out_ranges_as_gclouds_log_tail_asks(
    emulator: Emulator, bucket: storage.Bucket
) -> None:
    """206 with what is new, 416 where nothing is, 404 before there is a log."""
    url = f"{emulator.url}/{BUCKET}/log-tail.txt"
    assert requests.get(url, headers={"range": "bytes=0-"}, timeout=10).status_code == 404
    bucket.blob("log-tail.txt").upload_from_string("one\ntwo\n")
    part = requests.get(url, headers={"range": "bytes=4-"}, timeout=10)
    assert (part.status_code, part.text) == (206, "two\n")
    assert part.headers["content-range"] == "bytes 4-7/8"
    assert requests.get(url, headers={"range": "bytes=8-"}, timeout=10).status_code == 416


class TestMetageneration:
    """A change of metadata counts up the metageneration and leaves the generation."""

    def test_a_patch_counts_and_keeps_the_generation(self, existing: storage.Blob) -> None:
        fresh = existing.bucket.get_blob(existing.name)
        generation = fresh.generation
        for count, text in enumerate(("a", "b"), 2):
            fresh.metadata = {"k": text}
            fresh.patch(if_metageneration_match=count - 1)
            assert (fresh.generation, fresh.metageneration) == (generation, count)
        again = existing.bucket.get_blob(existing.name)
        assert (again.generation, again.metageneration, again.metadata) == (generation, 3, {"k": "b"})
        listed = next(iter(existing.bucket.list_blobs(prefix=existing.name)))
        assert (listed.generation, listed.metageneration) == (generation, 3)

    def test_a_stale_metageneration_stops_a_change(self, existing: storage.Blob) -> None:
        existing.metadata = {"k": "v"}
        existing.patch()
        existing.metadata = {"k": "w"}
        with pytest.raises(exceptions.PreconditionFailed):
            existing.patch(if_metageneration_match=1)
        with pytest.raises(exceptions.PreconditionFailed):
            existing.delete(if_metageneration_match=1)

    def test_a_patched_object_is_read_and_deleted_by_its_generation(self, existing: storage.Blob) -> None:
        generation = existing.generation
        existing.metadata = {"k": "v"}
        existing.patch()
        by_generation = existing.bucket.blob(existing.name, generation=generation)
        assert by_generation.download_as_bytes() == b"one"
        by_generation.delete(if_generation_match=generation)
        assert not existing.exists()

    def test_new_bytes_begin_a_new_count(self, existing: storage.Blob) -> None:
        existing.metadata = {"k": "v"}
        existing.patch()
        existing.bucket.blob(existing.name).upload_from_string("two")
        fresh = existing.bucket.get_blob(existing.name)
        assert (fresh.metageneration, fresh.generation > existing.generation) == (1, True)

    def test_the_headers_of_the_bytes_say_the_same(self, emulator: Emulator, existing: storage.Blob) -> None:
        generation = existing.generation
        existing.metadata = {"k": "v"}
        existing.patch()
        url = f"{emulator.url}/download/storage/v1/b/{BUCKET}/o/{quote(existing.name, safe='')}?alt=media"
        headers = requests.get(url, timeout=10).headers
        assert (headers["x-goog-generation"], headers["x-goog-metageneration"]) == (str(generation), "2")

    def test_a_buckets_settings_are_kept_and_counted(self, gcs: storage.Client) -> None:
        made = gcs.create_bucket("contract-settings")
        begun = made.time_created
        made.labels = {"team": "a"}
        made.add_lifecycle_delete_rule(age=7)
        made.patch(if_metageneration_match=1)
        made.blob("x").upload_from_string("x")
        fresh = gcs.get_bucket("contract-settings")
        assert (fresh.metageneration, fresh.labels, fresh.time_created) == (2, {"team": "a"}, begun)
        assert [rule["action"] for rule in fresh.lifecycle_rules] == [{"type": "Delete"}]
        with pytest.raises(exceptions.PreconditionFailed):
            fresh.patch(if_metageneration_match=1)
        assert next(b for b in gcs.list_buckets() if b.name == made.name).labels == {"team": "a"}
        made.delete(force=True)


class TestChecksums:
    """Bytes that are not what was declared make no object, and leave the old one."""

    WRONG = "AAAAAA=="

    def upload(self, emulator: Emulator, name: str, how: str, **declared: str) -> requests.Response:
        url = f"{emulator.url}/upload/storage/v1/b/{BUCKET}/o"
        if how == "media":
            params = {"uploadType": "media", "name": name}
            words = ",".join(f"{kind}={value}" for kind, value in declared.items())
            return requests.post(url, params=params, data=b"new", headers={"x-goog-hash": words}, timeout=10)
        document = {"name": name, **{{"md5": "md5Hash"}.get(k, k): v for k, v in declared.items()}}
        if how == "multipart":
            parts = [
                ("metadata", (None, json.dumps(document), "application/json")),
                ("data", (None, b"new", "text/plain")),
            ]
            body = requests.Request("POST", url, files=parts).prepare()
            boundary = body.headers["content-type"].split("boundary=")[1]
            kind = {"content-type": f"multipart/related; boundary={boundary}"}
            return requests.post(
                url, params={"uploadType": "multipart"}, data=body.body, headers=kind, timeout=10
            )
        begun = requests.post(url, params={"uploadType": "resumable"}, json=document, timeout=10)
        place = {"content-range": "bytes 0-2/3"}
        return requests.put(begun.headers["location"], data=b"new", headers=place, timeout=10)

    @pytest.mark.parametrize("how", ["media", "multipart", "resumable"])
    @pytest.mark.parametrize("kind", ["crc32c", "md5"])
    def test_a_wrong_checksum_is_refused(
        self, emulator: Emulator, existing: storage.Blob, how: str, kind: str
    ) -> None:
        reply = self.upload(emulator, existing.name, how, **{kind: self.WRONG})
        word = {"crc32c": "CRC32C", "md5": "MD5 hash"}[kind]
        assert reply.status_code == 400
        assert f'Provided {word} "{self.WRONG}" doesn\'t match' in reply.json()["error"]["message"]
        assert content(existing) == b"one"
        assert existing.bucket.get_blob(existing.name).generation == existing.generation

    @pytest.mark.parametrize("how", ["media", "multipart", "resumable"])
    def test_a_right_checksum_is_accepted(self, emulator: Emulator, existing: storage.Blob, how: str) -> None:
        md5 = base64.b64encode(hashlib.md5(b"new", usedforsecurity=False).digest()).decode()
        reply = self.upload(emulator, existing.name, how, md5=md5)
        assert reply.status_code == 200, reply.text
        assert content(existing) == b"new"

    def test_a_large_checked_upload_arrives_whole(self, bucket: storage.Bucket) -> None:
        data = os.urandom(10 << 20)
        for checksum in ("crc32c", "md5"):
            blob = bucket.blob("checked.bin", chunk_size=2 << 20)
            blob.upload_from_string(data, checksum=checksum)
            assert content(blob) == data


class TestNames:
    """What cannot be kept is refused at once: a 500 would be asked again for two minutes."""

    @pytest.mark.parametrize("name", ["x" * 1025, "a/../b", "a//b", "y" * 300, "..", "a\nb"])
    def test_a_name_that_cannot_be_is_a_bad_request(self, bucket: storage.Bucket, name: str) -> None:
        with pytest.raises(exceptions.BadRequest):
            bucket.blob(name).upload_from_string("x")

    def test_an_object_below_an_object_is_a_bad_request(self, bucket: storage.Bucket) -> None:
        """The file system behind has no file that is a folder too."""
        bucket.blob("names/file").upload_from_string("x")
        with pytest.raises(exceptions.BadRequest, match="cannot keep this object"):
            bucket.blob("names/file/below").upload_from_string("x")


class TestSettings:
    """What the front answers for a bucket in the server's place."""

    def test_a_program_may_ask_what_it_is_allowed_to_do(
        self, bucket: storage.Bucket, gcs: storage.Client
    ) -> None:
        wanted = ["storage.objects.create", "storage.objects.get"]
        assert bucket.test_iam_permissions(wanted) == wanted
        with pytest.raises(exceptions.NotFound):
            gcs.bucket("contract-nowhere").test_iam_permissions(wanted)

    def test_a_policy_is_kept_under_its_etag(self, bucket: storage.Bucket) -> None:
        policy = bucket.get_iam_policy()
        stale = bucket.get_iam_policy()
        policy.bindings = [{"role": "roles/storage.objectViewer", "members": {"allUsers"}}]
        bucket.set_iam_policy(policy)
        assert bucket.get_iam_policy().bindings == policy.bindings
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.set_iam_policy(stale)

    def test_versioning_is_refused_at_once_and_by_name(
        self, gcs: storage.Client, bucket: storage.Bucket
    ) -> None:
        bucket.versioning_enabled = True
        with pytest.raises(exceptions.BadRequest, match="object versioning"):
            bucket.patch()
        made = gcs.bucket("contract-versions")
        made.versioning_enabled = True
        with pytest.raises(exceptions.BadRequest, match="object versioning"):
            made.create()
        with pytest.raises(exceptions.NotFound):
            made.reload()

    def test_a_glob_chooses_what_is_listed(self, bucket: storage.Bucket) -> None:
        for name in ("globs/a.txt", "globs/b.bin", "globs/d/c.txt"):
            bucket.blob(name).upload_from_string("x")
        found = [blob.name for blob in bucket.list_blobs(match_glob="globs/**/*.txt")]
        assert found == ["globs/a.txt", "globs/d/c.txt"]
        assert [blob.name for blob in bucket.list_blobs(match_glob="globs/*.txt")] == ["globs/a.txt"]

    def test_many_requests_go_in_one_batch(self, gcs: storage.Client, bucket: storage.Bucket) -> None:
        for number in range(3):
            bucket.blob(f"batch/{number}").upload_from_string("x")
        with gcs.batch(raise_exception=False) as batch:
            for name in ("batch/0", "batch/1", "batch/missing"):
                bucket.blob(name).delete()
        assert [reply.status_code for reply in batch._responses] == [204, 204, 404]
        assert [blob.name for blob in bucket.list_blobs(prefix="batch/")] == ["batch/2"]


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
