"""Secret Manager: secrets with numbered versions, their states, etags, expiry and checksums."""

from __future__ import annotations

import base64
import secrets as randomness
from collections.abc import Sequence
from typing import Any

from headway_emulator import schema
from headway_emulator.api.listing import Listing
from headway_emulator.api.rest import Call, Rule, Service
from headway_emulator.engine.clock import SECOND, parse_timestamp, timestamp
from headway_emulator.engine.store import Document
from headway_emulator.errors import ApiError, invalid, precondition
from headway_emulator.services.projects import policies
from headway_emulator.services.secretmanager import rules as secret_rules
from headway_emulator.world import World

SECRET = "secret"  # noqa: S105 - a kind of document
VERSION = "secretVersion"
PAYLOAD = "secretPayload"
DOCUMENT = "secretmanager/v1"
PAYLOAD_BYTES = 65536
PAGE = 25_000
SECRETS = Listing(SECRET, "secrets", page_size=PAGE, most=PAGE)
VERSIONS = Listing(VERSION, "versions", page_size=PAGE, most=PAGE)


def service(world: World) -> Service:
    """Rules with the permissions of https://cloud.google.com/secret-manager/docs/access-control.

    Payloads are kept in the state's SQLite file, in clear: never put a real secret there.
    """
    manager = SecretManager(world)
    versions = Versions(world, manager)
    secrets = "/v1/projects/{project}/secrets"
    secret = f"{secrets}/{{secret}}"
    version = f"{secret}/versions/{{version}}"
    a, b = "secretmanager.secrets", "secretmanager.versions"
    rules = [
        Rule("secrets.create", "POST", secrets, manager.create, f"{a}.create"),
        Rule("secrets.list", "GET", secrets, manager.list, f"{a}.list"),
        Rule("secrets.addVersion", "POST", f"{secret}:addVersion", versions.add, f"{b}.add"),
        Rule("secrets.getIamPolicy", "GET", f"{secret}:getIamPolicy", manager.policy, f"{a}.getIamPolicy"),
        Rule("secrets.setIamPolicy", "POST", f"{secret}:setIamPolicy", manager.grant, f"{a}.setIamPolicy"),
        Rule("secrets.testIamPermissions", "POST", f"{secret}:testIamPermissions", manager.test),
        Rule("versions.list", "GET", f"{secret}/versions", versions.list, f"{b}.list"),
        Rule("versions.access", "GET", f"{version}:access", versions.access, f"{b}.access"),
        Rule("versions.enable", "POST", f"{version}:enable", versions.enable, f"{b}.enable"),
        Rule("versions.disable", "POST", f"{version}:disable", versions.disable, f"{b}.disable"),
        Rule("versions.destroy", "POST", f"{version}:destroy", versions.destroy, f"{b}.destroy"),
        Rule("versions.get", "GET", version, versions.get, f"{b}.get"),
        Rule("secrets.get", "GET", secret, manager.get, f"{a}.get"),
        Rule("secrets.patch", "PATCH", secret, manager.patch, f"{a}.update"),
        Rule("secrets.delete", "DELETE", secret, manager.delete, f"{a}.delete"),
    ]
    fidelity = (
        "global secrets with versions, aliases, etags, expiry and IAM policies (kept, not enforced), stored "
        "unencrypted; no regional secrets, rotation, topics, tags or customer-managed keys"
    )
    return Service("secretmanager", fidelity, rules)


class SecretManager:
    """The methods of SecretManagerService on secrets. An expired secret is gone: whoever looks removes it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = world.store

    def create(self, call: Call) -> Any:
        secret_id = call.query.get("secretId", "")
        if not secret_rules.SECRET_ID.fullmatch(secret_id):
            raise invalid(
                f'Invalid secret_id "{secret_id}": letters, digits, - and _, at most 255 characters.'
            )
        body = schema.parse("secretmanager", "v1", "Secret", call.body or {}, "secret")
        wanted = secret_rules.check(body, self._world.clock.now_ns())
        secret_rules.replication(wanted)
        if wanted.get("versionAliases"):
            raise invalid("Secret.version_aliases: a new secret has no versions.")
        name = f"{self._parent(call)}/secrets/{secret_id}"
        secret = {"name": name, **wanted, "createTime": self.now(), "etag": new_etag()}
        with self._store.transaction():
            if self._kept(name) is not None:
                raise ApiError("ALREADY_EXISTS", f"Secret [{name}] already exists.")
            self._store.put(SECRET, name, secret)
        return secret

    def list(self, call: Call) -> Any:
        prefix = f"{self._parent(call)}/secrets/"
        for secret in self._store.list(SECRET, prefix):
            self._kept(secret["name"])
        page = SECRETS.page(self._store, prefix, call)
        return page if call.query.get("filter") else counted(page, len(self._store.list(SECRET, prefix)))

    def get(self, call: Call) -> Any:
        return self.secret(call)

    def patch(self, call: Call) -> Any:
        body = schema.parse("secretmanager", "v1", "Secret", call.body or {}, "secret")
        paths = [part.strip() for part in call.query.get("updateMask", "").split(",") if part.strip()]
        if not paths:
            raise invalid("Required field is not set: update_mask.")
        with self._store.transaction():
            secret = self.secret(call)
            check_etag(secret, body.get("etag", ""))
            changed = self._changed(secret, body, paths)
            self._store.put(SECRET, changed["name"], changed)
        return changed

    def _changed(self, secret: Document, body: Document, paths: Sequence[str]) -> Document:
        changes: Document = {}
        for path in paths:
            name = schema.camel(path.split(".")[0])
            if name == "etag":
                continue
            if name not in (*secret_rules.CHANGEABLE, *secret_rules.NOT_KEPT):
                raise invalid(f"The field {path} of a secret cannot be updated.")
            changes[name] = body.get(name)
        given = {name: value for name, value in changes.items() if value is not None}
        given = secret_rules.check(given, self._world.clock.now_ns())
        for alias, number in given.get("versionAliases", {}).items():
            if self._store.get(VERSION, f"{secret['name']}/versions/{number}") is None:
                raise invalid(
                    f'The version alias "{alias}" names the version {number}, which does not exist.'
                )
        dropped = {"expireTime"} if "ttl" in changes else set()
        kept = {name: value for name, value in secret.items() if name not in dropped | changes.keys()}
        return {**kept, **given, "etag": new_etag()}

    def delete(self, call: Call) -> Any:
        with self._store.transaction():
            secret = self.secret(call)
            check_etag(secret, call.query.get("etag", ""))
            self._remove(secret["name"])
        return {}

    def policy(self, call: Call) -> Any:
        return policies.read(self._store, self.secret(call)["name"])

    def grant(self, call: Call) -> Any:
        return policies.write(self._store, DOCUMENT, self.secret(call)["name"], call)

    def test(self, call: Call) -> Any:
        self.secret(call)
        return policies.granted(DOCUMENT, call)

    def secret(self, call: Call) -> Document:
        """The one that the path names; NOT_FOUND in Google's words."""
        name = f"{self._parent(call)}/secrets/{call.path['secret']}"
        secret = self._kept(name)
        if secret is None:
            raise ApiError("NOT_FOUND", f"Secret [{name}] not found or has no versions.")
        return secret

    def now(self) -> str:
        return timestamp(self._world.clock.now_ns())

    def _kept(self, name: str) -> Document | None:
        secret = self._store.get(SECRET, name)
        if secret is not None and secret.get("expireTime", "9") <= self.now():
            self._remove(name)
            return None
        return secret

    def _remove(self, name: str) -> None:
        with self._store.transaction():
            for version in self._store.list(VERSION, f"{name}/versions/"):
                self._store.delete(VERSION, version["name"])
                self._store.delete(PAYLOAD, version["name"])
            self._store.delete(policies.KIND, name)
            self._store.delete(SECRET, name)

    def _parent(self, call: Call) -> str:
        self._world.check_project(call.path["project"])
        return f"projects/{self._world.settings.project_number}"


class Versions:
    """The methods of SecretManagerService on versions."""

    def __init__(self, world: World, manager: SecretManager) -> None:
        self._world = world
        self._store = world.store
        self._manager = manager

    def add(self, call: Call) -> Any:
        body = schema.parse("secretmanager", "v1", "AddSecretVersionRequest", call.body or {}, "")
        payload = body.get("payload", {})
        data = base64.b64decode(payload.get("data", ""))
        if not data:
            raise invalid("Secret Payload cannot be empty.")
        if len(data) > PAYLOAD_BYTES:
            raise invalid(f"The payload has {len(data)} bytes; at most {PAYLOAD_BYTES} are allowed.")
        checksum = crc32c(data)
        if payload.get("dataCrc32c", checksum) != checksum:
            raise invalid("The payload's data_crc32c does not match its data.")
        with self._store.transaction():
            secret = self._manager.secret(call)
            number = len(self._store.list(VERSION, f"{secret['name']}/versions/")) + 1
            version: Document = {
                "name": f"{secret['name']}/versions/{number}",
                "createTime": self._manager.now(),
                "state": "ENABLED",
                "replicationStatus": secret_rules.replicated(secret),
                "etag": new_etag(),
            }
            if "dataCrc32c" in payload:
                version["clientSpecifiedPayloadChecksum"] = True
            self._store.put(VERSION, version["name"], version)
            self._store.put(PAYLOAD, version["name"], {"data": base64.b64encode(data).decode()})
        return version

    def list(self, call: Call) -> Any:
        prefix = f"{self._manager.secret(call)['name']}/versions/"
        for version in self._store.list(VERSION, prefix):
            self._settled(version)
        page = VERSIONS.page(self._store, prefix, call)
        return page if call.query.get("filter") else counted(page, len(self._store.list(VERSION, prefix)))

    def get(self, call: Call) -> Any:
        return self._version(call, aliases=True)

    def access(self, call: Call) -> Any:
        version = self._version(call, aliases=True)
        _in_state(version, "ENABLED")
        kept = self._store.get(PAYLOAD, version["name"]) or {"data": ""}
        checksum = crc32c(base64.b64decode(kept["data"]))
        return {"name": version["name"], "payload": {"data": kept["data"], "dataCrc32c": checksum}}

    def enable(self, call: Call) -> Any:
        return self._turn(call, "ENABLED")

    def disable(self, call: Call) -> Any:
        return self._turn(call, "DISABLED")

    def destroy(self, call: Call) -> Any:
        """At once, or after the secret's version_destroy_ttl, until when the version is disabled."""
        ttl = self._manager.secret(call).get("versionDestroyTtl", "0s")
        if (seconds := float(ttl.removesuffix("s"))) > 0:
            due = timestamp(self._world.clock.now_ns() + round(seconds * SECOND))
            return self._turn(call, "DISABLED", due)
        return self._turn(call, "DESTROYED")

    def _turn(self, call: Call, state: str, scheduled: str = "") -> Document:
        """To the state, where the etag in the body fits; enabling ends a destruction that was put off."""
        name = {"ENABLED": "Enable", "DISABLED": "Disable", "DESTROYED": "Destroy"}[state]
        request = schema.parse("secretmanager", "v1", f"{name}SecretVersionRequest", call.body or {}, "")
        with self._store.transaction():
            version = self._version(call, aliases=False)
            check_etag(version, request.get("etag", ""))
            _in_state(version, "ENABLED", "DISABLED")
            version |= {"state": state, "etag": new_etag()}
            if scheduled:
                version["scheduledDestroyTime"] = scheduled
            elif state == "ENABLED":
                version.pop("scheduledDestroyTime", None)
            if state == "DESTROYED":
                version = self._destroyed(version, self._manager.now())
            self._store.put(VERSION, version["name"], version)
        return version

    def _version(self, call: Call, *, aliases: bool) -> Document:
        secret = self._manager.secret(call)
        wanted = call.path["version"]
        if aliases:
            wanted = secret.get("versionAliases", {}).get(wanted, wanted)
        name = f"{secret['name']}/versions/{wanted}"
        if wanted == "latest":
            found = next(iter(self._store.list(VERSION, f"{secret['name']}/versions/")), None)
        else:
            found = self._store.get(VERSION, name)
        if found is None:
            if wanted == "latest":
                raise ApiError("NOT_FOUND", f"Secret [{secret['name']}] not found or has no versions.")
            raise ApiError("NOT_FOUND", f"Secret Version [{name}] not found.")
        return self._settled(found)

    def _settled(self, version: Document) -> Document:
        """Destroyed by now, where that was put off until a time that has passed."""
        due = version.get("scheduledDestroyTime", "")
        if due and parse_timestamp(due) <= self._world.clock.now_ns():
            with self._store.transaction():
                version = self._destroyed(version, due)
                self._store.put(VERSION, version["name"], version)
        return version

    def _destroyed(self, version: Document, when: str) -> Document:
        """Irrevocably: the payload is gone."""
        self._store.delete(PAYLOAD, version["name"])
        kept = {name: value for name, value in version.items() if name != "scheduledDestroyTime"}
        return {**kept, "state": "DESTROYED", "destroyTime": when, "etag": new_etag()}


def new_etag() -> str:
    """With quotes, and another one after every change, also of nothing: secret-manager/docs/etags."""
    return f'"{randomness.token_hex(7)}"'


def check_etag(document: Document, given: str) -> None:
    """FAILED_PRECONDITION where an etag was given and is not the current one (secret-manager/docs/etags)."""
    if given and given != document["etag"]:
        raise precondition(f"The etag {given} does not match the current one of {document['name']}.")


def counted(page: Document, total: int) -> Document:
    return {**page, "totalSize": total} if total else page


def crc32c(data: bytes) -> str:
    import google_crc32c

    return str(google_crc32c.value(data))


def _in_state(version: Document, *states: str) -> None:
    """In the words that google-github-actions/get-secretmanager-secrets#268 shows."""
    if version["state"] not in states:
        raise precondition(f"Secret Version [{version['name']}] is in {version['state']} state.")
