"""Secret Manager through Google's own client, on an emulator whose clock is stepped."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.protobuf.field_mask_pb2 import FieldMask

from tests.contract.servers import NUMBER, PROJECT, Emulator

if TYPE_CHECKING:
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

PARENT = f"projects/{PROJECT}"
AUTOMATIC: dict[str, Any] = {"replication": {"automatic": {}}}


@pytest.fixture
def secrets(timed: Emulator) -> Iterator[SecretManagerServiceClient]:
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

    options = {"api_endpoint": f"{timed.url}/secretmanager"}
    client = SecretManagerServiceClient(
        transport="rest", credentials=AnonymousCredentials(), client_options=options
    )
    yield client
    for secret in client.list_secrets(parent=PARENT):
        client.delete_secret(name=secret.name)


def made(client: SecretManagerServiceClient, name: str = "token", *values: bytes, **fields: Any) -> str:
    """The new secret's name; it has one version for each value."""
    secret = client.create_secret(parent=PARENT, secret_id=name, secret={**AUTOMATIC, **fields})
    for value in values:
        client.add_secret_version(parent=secret.name, payload={"data": value})
    return str(secret.name)


def step(emulator: Emulator, advance: str) -> None:
    answer = requests.post(f"{emulator.url}/emulator/clock", json={"advance": advance}, timeout=30)
    assert answer.status_code == 200, answer.text


class TestSecrets:
    def test_a_secret_has_the_projects_number_an_etag_and_its_labels(
        self, secrets: SecretManagerServiceClient
    ) -> None:
        name = made(secrets, labels={"team": "vision"}, annotations={"Owner.Name": "Ä"})
        assert name == f"projects/{NUMBER}/secrets/token"
        found = secrets.get_secret(name=f"{PARENT}/secrets/token")
        assert (dict(found.labels), dict(found.annotations)) == ({"team": "vision"}, {"Owner.Name": "Ä"})
        assert found.etag.startswith('"')
        assert "automatic" in found.replication

    def test_pages_hold_all_secrets_and_say_how_many_there_are(
        self, secrets: SecretManagerServiceClient
    ) -> None:
        for number in range(5):
            made(secrets, f"s{number}", labels={"even": str(number % 2 == 0).lower()})
        pages = list(secrets.list_secrets(request={"parent": PARENT, "page_size": 2}).pages)
        assert [len(page.secrets) for page in pages] == [2, 2, 1]
        assert {page.total_size for page in pages} == {5}
        wanted = {"parent": PARENT, "filter": "labels.even=true"}
        assert len(list(secrets.list_secrets(request=wanted))) == 3

    def test_only_what_the_mask_names_is_changed_under_the_right_etag(
        self, secrets: SecretManagerServiceClient
    ) -> None:
        """secret-manager/docs/etags: a stale etag fails with FAILED_PRECONDITION."""
        made(secrets, labels={"a": "1"}, annotations={"keep": "me"})
        before = secrets.get_secret(name=f"{PARENT}/secrets/token")
        wanted = {"name": before.name, "labels": {"b": "2"}, "etag": before.etag}
        after = secrets.update_secret(secret=wanted, update_mask=FieldMask(paths=["labels"]))
        assert (dict(after.labels), dict(after.annotations)) == ({"b": "2"}, {"keep": "me"})
        assert after.etag != before.etag
        with pytest.raises(exceptions.BadRequest, match="etag"):
            secrets.update_secret(secret=wanted, update_mask=FieldMask(paths=["labels"]))
        with pytest.raises(exceptions.BadRequest, match="etag"):
            secrets.delete_secret(request={"name": before.name, "etag": before.etag})
        secrets.delete_secret(request={"name": before.name, "etag": after.etag})

    def test_a_secret_with_a_ttl_is_gone_when_its_time_has_come(
        self, secrets: SecretManagerServiceClient, timed: Emulator
    ) -> None:
        name = made(secrets, "brief", b"x", ttl={"seconds": 3600})
        left = secrets.get_secret(name=name).expire_time
        assert secrets.access_secret_version(name=f"{name}/versions/latest").payload.data == b"x"
        step(timed, "59m")
        assert secrets.get_secret(name=name).expire_time == left
        step(timed, "1m")
        with pytest.raises(exceptions.NotFound):
            secrets.access_secret_version(name=f"{name}/versions/latest")
        assert list(secrets.list_secrets(parent=PARENT)) == []
        assert made(secrets, "brief") == name

    def test_user_managed_replication_is_shown_in_each_version(
        self, secrets: SecretManagerServiceClient
    ) -> None:
        places = [{"location": "us-east1"}, {"location": "us-central1"}]
        name = made(secrets, "placed", b"x", replication={"user_managed": {"replicas": places}})
        status = secrets.get_secret_version(name=f"{name}/versions/1").replication_status
        assert [r.location for r in status.user_managed.replicas] == ["us-east1", "us-central1"]

    def test_a_policy_is_kept_and_a_stale_one_refused(self, secrets: SecretManagerServiceClient) -> None:
        name = made(secrets)
        binding = {"role": "roles/secretmanager.secretAccessor", "members": ["serviceAccount:a@b.c"]}
        before = secrets.get_iam_policy(request={"resource": name})
        policy = {"bindings": [binding], "etag": before.etag}
        secrets.set_iam_policy(request={"resource": name, "policy": policy})
        assert secrets.get_iam_policy(request={"resource": name}).bindings[0].role == binding["role"]
        with pytest.raises(exceptions.Conflict, match="concurrent policy changes"):
            secrets.set_iam_policy(request={"resource": name, "policy": policy})
        asked = ["secretmanager.versions.access"]
        tested = secrets.test_iam_permissions(request={"resource": name, "permissions": asked})
        assert list(tested.permissions) == asked


class TestVersions:
    def test_versions_are_numbered_and_the_latest_is_the_newest(
        self, secrets: SecretManagerServiceClient
    ) -> None:
        name = made(secrets, "token", b"one", b"two")
        for version, value in (("latest", b"two"), ("1", b"one"), ("2", b"two")):
            got = secrets.access_secret_version(name=f"{name}/versions/{version}")
            assert got.payload.data == value
            assert got.payload.data_crc32c == google_crc32c.value(value)
        listed = list(secrets.list_secret_versions(parent=name))
        assert [version.name for version in listed] == [f"{name}/versions/2", f"{name}/versions/1"]
        assert not any("data" in str(version) for version in listed)

    def test_an_alias_names_a_version_for_reading(self, secrets: SecretManagerServiceClient) -> None:
        name = made(secrets, "token", b"one", b"two")
        wanted = {"name": name, "version_aliases": {"stable": 1}}
        secrets.update_secret(secret=wanted, update_mask=FieldMask(paths=["version_aliases"]))
        assert secrets.access_secret_version(name=f"{name}/versions/stable").payload.data == b"one"
        assert secrets.get_secret_version(name=f"{name}/versions/stable").name == f"{name}/versions/1"

    def test_a_disabled_version_is_not_read_until_it_is_enabled_again(
        self, secrets: SecretManagerServiceClient
    ) -> None:
        """The words of external-secrets/external-secrets#4042; latest is the newest, enabled or not."""
        name = made(secrets, "token", b"one", b"two")
        assert secrets.disable_secret_version(name=f"{name}/versions/2").state.name == "DISABLED"
        with pytest.raises(exceptions.BadRequest, match=r"versions/2\] is in DISABLED state\."):
            secrets.access_secret_version(name=f"{name}/versions/latest")
        assert secrets.access_secret_version(name=f"{name}/versions/1").payload.data == b"one"
        secrets.enable_secret_version(name=f"{name}/versions/2")
        assert secrets.access_secret_version(name=f"{name}/versions/latest").payload.data == b"two"

    def test_a_destroyed_version_stays_destroyed(self, secrets: SecretManagerServiceClient) -> None:
        """The words of google-github-actions/get-secretmanager-secrets#268."""
        name = made(secrets, "token", b"one")
        destroyed = secrets.destroy_secret_version(name=f"{name}/versions/1")
        assert destroyed.state.name == "DESTROYED"
        assert destroyed.destroy_time
        for call in (
            secrets.access_secret_version,
            secrets.enable_secret_version,
            secrets.disable_secret_version,
        ):
            with pytest.raises(exceptions.BadRequest, match=r"is in DESTROYED state\."):
                call(name=f"{name}/versions/1")
        assert secrets.add_secret_version(parent=name, payload={"data": b"two"}).name.endswith("/2")

    def test_a_destruction_that_is_put_off_happens_in_its_time(
        self, secrets: SecretManagerServiceClient, timed: Emulator
    ) -> None:
        name = made(secrets, "token", b"one", version_destroy_ttl={"seconds": 86400})
        waiting = secrets.destroy_secret_version(name=f"{name}/versions/1")
        assert waiting.state.name == "DISABLED"
        assert waiting.scheduled_destroy_time
        step(timed, "25h")
        assert secrets.get_secret_version(name=f"{name}/versions/1").state.name == "DESTROYED"

    def test_a_versions_etag_guards_its_state(self, secrets: SecretManagerServiceClient) -> None:
        name = made(secrets, "token", b"one")
        version = secrets.get_secret_version(name=f"{name}/versions/1")
        secrets.enable_secret_version(name=version.name)  # changes nothing but the etag
        with pytest.raises(exceptions.BadRequest, match="etag"):
            secrets.disable_secret_version(request={"name": version.name, "etag": version.etag})

    def test_all_is_there_after_a_kill(self, secrets: SecretManagerServiceClient, timed: Emulator) -> None:
        name = made(secrets, "token", b"one")
        timed.kill()
        timed.start()
        assert secrets.access_secret_version(name=f"{name}/versions/latest").payload.data == b"one"


SCHEMA = "secretmanager.v1 discovery document"
REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    (f"an id with a dot ({SCHEMA}: secretId)", "a.b", AUTOMATIC, "Invalid secret_id"),
    (f"an id of 256 characters ({SCHEMA}: secretId)", "x" * 256, AUTOMATIC, "Invalid secret_id"),
    (f"an unknown field ({SCHEMA})", "a", {**AUTOMATIC, "label": {}}, 'Unknown name "label"'),
    ("no replication (gcloud secrets create)", "a", {}, "replication policy must be set"),
    (f"no replicas ({SCHEMA}: UserManaged)", "a", {"replication": {"userManaged": {}}}, "cannot be empty"),
    (f"an uppercase label ({SCHEMA}: labels)", "a", {**AUTOMATIC, "labels": {"A": "b"}}, "Invalid label key"),
    (f"65 labels ({SCHEMA}: labels)", "a", {**AUTOMATIC, "labels": {f"a{n}": "" for n in range(65)}}, "64"),
    (f"a bad annotation ({SCHEMA})", "a", {**AUTOMATIC, "annotations": {"-a": ""}}, "Invalid annotation key"),
    (f"16 KiB of annotations ({SCHEMA})", "a", {**AUTOMATIC, "annotations": {"a": "x" * 16384}}, "16KiB"),
    (
        "an expiry that is past (Secret.expire_time)",
        "a",
        {**AUTOMATIC, "expireTime": "2001-01-01T00:00:00Z"},
        "future",
    ),
    (
        "a day that no month has (google/protobuf/timestamp.proto)",
        "a",
        {**AUTOMATIC, "expireTime": "2999-02-30T00:00:00Z"},
        "Invalid time format: 2999-02-30T00:00:00Z",
    ),
    (
        "an hour that no day has (google/protobuf/timestamp.proto)",
        "a",
        {**AUTOMATIC, "expireTime": "2999-01-01T24:00:00Z"},
        "Invalid time format",
    ),
    ("a negative ttl (Secret.ttl)", "a", {**AUTOMATIC, "ttl": "-5s"}, "must be positive"),
    (
        "two expirations (Secret: union field expiration)",
        "a",
        {**AUTOMATIC, "ttl": "90s", "expireTime": "2999-01-01T00:00:00Z"},
        "oneof field 'expiration'",
    ),
]


class TestRefusals:
    @pytest.mark.parametrize(("what", "name", "body", "told"), REFUSED, ids=[row[0] for row in REFUSED])
    def test_a_malformed_secret_is_answered_with_googles_400(
        self, timed: Emulator, what: str, name: str, body: dict[str, Any], told: str
    ) -> None:
        url = f"{timed.url}/secretmanager/v1/{PARENT}/secrets"
        answer = requests.post(url, params={"secretId": name}, json=body, timeout=10)
        error = answer.json()["error"]
        assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT"), what
        assert told in error["message"]

    def test_a_payload_is_checked(self, secrets: SecretManagerServiceClient) -> None:
        """SecretPayload: 64 KiB at most, and the checksum verified where one is sent."""
        name = made(secrets)
        with pytest.raises(exceptions.BadRequest, match=r"Secret Payload cannot be empty\."):
            secrets.add_secret_version(parent=name, payload={})
        with pytest.raises(exceptions.BadRequest, match="at most 65536"):
            secrets.add_secret_version(parent=name, payload={"data": b"x" * 65537})
        with pytest.raises(exceptions.BadRequest, match="data_crc32c does not match"):
            secrets.add_secret_version(parent=name, payload={"data": b"x", "data_crc32c": 1})

    def test_data_that_is_not_base64_is_refused(
        self, secrets: SecretManagerServiceClient, timed: Emulator
    ) -> None:
        name = made(secrets)
        url = f"{timed.url}/secretmanager/v1/{name}:addVersion"
        answer = requests.post(url, json={"payload": {"data": "%%"}}, timeout=10)
        assert answer.status_code == 400
        assert "payload.data" in answer.json()["error"]["message"]

    def test_replication_cannot_be_changed(self, secrets: SecretManagerServiceClient) -> None:
        """Secret.replication: immutable."""
        wanted = {"name": made(secrets), **AUTOMATIC}
        with pytest.raises(exceptions.BadRequest, match="replication"):
            secrets.update_secret(secret=wanted, update_mask=FieldMask(paths=["replication"]))

    def test_a_name_that_is_taken_is_a_conflict(self, secrets: SecretManagerServiceClient) -> None:
        made(secrets)
        with pytest.raises(exceptions.Conflict, match="already exists"):
            made(secrets)

    def test_what_is_not_there_is_not_found(self, secrets: SecretManagerServiceClient) -> None:
        name = made(secrets)
        with pytest.raises(exceptions.NotFound, match="not found or has no versions"):
            secrets.access_secret_version(name=f"{PARENT}/secrets/none/versions/latest")
        with pytest.raises(exceptions.NotFound, match="not found or has no versions"):
            secrets.access_secret_version(name=f"{name}/versions/latest")
        with pytest.raises(exceptions.NotFound, match=r"Secret Version \[.*/versions/7\] not found"):
            secrets.access_secret_version(name=f"{name}/versions/7")

    @pytest.mark.parametrize(
        ("field", "value"),
        [("topics", [{"name": "projects/p/topics/t"}]), ("rotation", {"rotationPeriod": "3600s"})],
    )
    def test_notifications_are_refused_by_name(self, timed: Emulator, field: str, value: Any) -> None:
        url = f"{timed.url}/secretmanager/v1/{PARENT}/secrets"
        body = {**AUTOMATIC, field: value}
        answer = requests.post(url, params={"secretId": "a"}, json=body, timeout=10)
        assert answer.status_code == 501
        assert field in answer.json()["error"]["message"]

    def test_regional_secrets_are_refused_by_name(self, timed: Emulator) -> None:
        url = f"{timed.url}/secretmanager/v1/{PARENT}/locations/us-east1/secrets"
        answer = requests.get(url, timeout=10)
        assert answer.status_code == 501
        assert "projects.locations.secrets.list" in answer.json()["error"]["message"]

    def test_the_payload_survives_as_it_was_sent(
        self, secrets: SecretManagerServiceClient, timed: Emulator
    ) -> None:
        value = bytes(range(256)) * 256
        name = made(secrets, "binary", value)
        url = f"{timed.url}/secretmanager/v1/{name}/versions/1:access"
        got = requests.get(url, timeout=10).json()["payload"]
        assert base64.b64decode(got["data"]) == value
        assert got["dataCrc32c"] == str(google_crc32c.value(value))
