"""Secret Manager: secrets with numbered versions, their payloads checked by CRC32C."""

from __future__ import annotations

import base64
import re
from typing import Any

from headway_emulator import schema
from headway_emulator.engine.clock import timestamp
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, invalid
from headway_emulator.rest import Call, Rule, Service
from headway_emulator.world import World

SECRET = "secret"  # noqa: S105 - a kind of document
VERSION = "secretVersion"
SECRET_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
PAYLOAD_BYTES = 65536
PAGE_SIZE = 25_000


def service(world: World) -> Service:
    """Payloads are kept in the state's SQLite file, in clear: never put a real secret there."""
    manager = SecretManager(world)
    secrets = "/v1/projects/{project}/secrets"
    version = f"{secrets}/{{secret}}/versions/{{version}}"
    rules = [
        Rule("secrets.create", "POST", secrets, manager.create),
        Rule("secrets.list", "GET", secrets, manager.list_secrets),
        Rule("secrets.addVersion", "POST", f"{secrets}/{{secret}}:addVersion", manager.add_version),
        Rule("versions.access", "GET", f"{version}:access", manager.access),
        Rule("versions.get", "GET", version, manager.version),
        Rule("secrets.get", "GET", f"{secrets}/{{secret}}", manager.get),
        Rule("secrets.delete", "DELETE", f"{secrets}/{{secret}}", manager.delete),
    ]
    fidelity = "secrets and enabled versions, kept unencrypted; no expiry, rotation, destruction or IAM"
    return Service("secretmanager", fidelity, rules)


class SecretManager:
    """The methods of SecretManagerService that a launcher and a runtime use."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, call: Call) -> Any:
        secret_id = call.query.get("secretId", "")
        if not SECRET_ID.fullmatch(secret_id):
            raise invalid(
                f'Invalid secret_id "{secret_id}": letters, digits, - and _, at most 255 characters.'
            )
        body = schema.parse("secretmanager", "v1", "Secret", call.body or {}, "secret")
        if "replication" not in body:
            raise invalid("Required field is not set: secret.replication.")
        name = f"{self._parent(call)}/secrets/{secret_id}"
        secret = {"name": name, **body, "createTime": self._now()}
        with self._world.store.transaction():
            if self._world.store.get(SECRET, name) is not None:
                raise ApiError("ALREADY_EXISTS", f"Secret [{name}] already exists.")
            self._world.store.put(SECRET, name, secret)
        return secret

    def list_secrets(self, call: Call) -> Any:
        secrets = self._world.store.list(SECRET, f"{self._parent(call)}/secrets/")
        return {"secrets": secrets, "totalSize": len(secrets)} if secrets else {}

    def get(self, call: Call) -> Any:
        return self._secret(self._name(call))

    def delete(self, call: Call) -> Any:
        name = self._name(call)
        with self._world.store.transaction():
            self._secret(name)
            for version in self._versions(name):
                self._world.store.delete(VERSION, version["name"])
            self._world.store.delete(SECRET, name)
        return {}

    def add_version(self, call: Call) -> Any:
        name = self._name(call)
        body = schema.parse("secretmanager", "v1", "AddSecretVersionRequest", call.body or {}, "")
        payload = body.get("payload", {})
        data = base64.b64decode(payload.get("data", ""))
        if len(data) > PAYLOAD_BYTES:
            raise invalid(f"The payload has {len(data)} bytes; at most {PAYLOAD_BYTES} are allowed.")
        checksum = _crc32c(data)
        if payload.get("dataCrc32c", checksum) != checksum:
            raise invalid("The payload's data_crc32c does not match its data.")
        with self._world.store.transaction():
            self._secret(name)
            number = len(self._versions(name)) + 1
            version = {"name": f"{name}/versions/{number}", "createTime": self._now(), "state": "ENABLED"}
            kept = {**version, "data": payload.get("data", "")}
            self._world.store.put(VERSION, version["name"], kept)
        return {**version, "clientSpecifiedPayloadChecksum": "dataCrc32c" in payload}

    def version(self, call: Call) -> Any:
        version = self._version(call)
        return {key: value for key, value in version.items() if key != "data"}

    def access(self, call: Call) -> Any:
        version = self._version(call)
        checksum = _crc32c(base64.b64decode(version["data"]))
        return {"name": version["name"], "payload": {"data": version["data"], "dataCrc32c": checksum}}

    def _version(self, call: Call) -> Document:
        name = self._name(call)
        self._secret(name)
        wanted = call.path["version"]
        versions = self._versions(name)
        if wanted == "latest" and versions:
            return versions[0]
        found = self._world.store.get(VERSION, f"{name}/versions/{wanted}")
        if found is None:
            raise ApiError("NOT_FOUND", f"Secret Version [{name}/versions/{wanted}] not found.")
        return found

    def _versions(self, name: str) -> list[Document]:
        """Newest first."""
        return self._world.store.list(VERSION, f"{name}/versions/")

    def _secret(self, name: str) -> Document:
        secret = self._world.store.get(SECRET, name)
        if secret is None:
            raise ApiError("NOT_FOUND", f"Secret [{name}] not found or has no versions.")
        return secret

    def _parent(self, call: Call) -> str:
        self._world.check_project(call.path["project"])
        return f"projects/{self._world.settings.project_number}"

    def _name(self, call: Call) -> str:
        return f"{self._parent(call)}/secrets/{call.path['secret']}"

    def _now(self) -> str:
        return timestamp(self._world.clock.now_ns())


def _crc32c(data: bytes) -> str:
    import google_crc32c

    return str(google_crc32c.value(data))
