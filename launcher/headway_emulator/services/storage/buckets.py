"""What fake-gcs-server does not keep of a bucket: labels, lifecycle and other settings, and its IAM policy.

They are kept and shown, so that what sets them can read them again. None has an effect: no lifecycle rule
deletes, no policy forbids.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from headway_emulator.engine.store import Document, Store

SETTINGS = "bucketSettings"
POLICY = "bucketPolicy"
FIXED = ("kind", "id", "name", "selfLink", "projectNumber", "timeCreated", "location", "locationType", "etag")
"""Fields that a client cannot change."""
CONTINENTS = ("ASIA", "EU", "US")
"""Multi-regions; what ends in a digit and has no dash (NAM4) is a pair of regions."""
NOT_EMULATED: Mapping[str, str] = {
    "versioning": "object versioning",
    "retentionPolicy": "retention policies",
    "hierarchicalNamespace": "hierarchical namespaces",
}
"""Settings whose effect a client would rely on."""


class Buckets:
    """Settings and policies by bucket, in the state."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def refused(self, body: Mapping[str, Any]) -> str | None:
        """What the body asks for that cannot be given, None where there is no such thing."""
        wanted = [words for name, words in NOT_EMULATED.items() if _on(body.get(name))]
        return wanted[0] if wanted else None

    def created(self, document: Mapping[str, Any], body: Mapping[str, Any]) -> Document:
        """Begin a bucket's settings with what its creation asked for."""
        kept = {name: value for name, value in body.items() if name not in FIXED}
        settings = {
            "timeCreated": document["timeCreated"],
            "updated": document["updated"],
            "metageneration": "1",
            "set": kept,
            "place": _place(body.get("location")),
        }
        self._store.put(SETTINGS, str(document["name"]), settings)
        return self.shown(document)

    def changed(
        self, document: Mapping[str, Any], body: Mapping[str, Any], now: str, *, merge: bool
    ) -> Document:
        """A PATCH merges as JSON Merge Patch (RFC 7396), a PUT replaces."""
        name = str(document["name"])
        with self._store.transaction():
            settings = self._settings(document)
            given = {field: value for field, value in body.items() if field not in (*FIXED, "metageneration")}
            settings["set"] = _merged(settings["set"] if merge else {}, given)
            settings["metageneration"] = str(int(settings["metageneration"]) + 1)
            settings["updated"] = now
            self._store.put(SETTINGS, name, settings)
        return self.shown(document)

    def shown(self, document: Mapping[str, Any]) -> Document:
        """The server's document with the settings over it."""
        settings = self._settings(document)
        times = {name: settings[name] for name in ("timeCreated", "updated", "metageneration")}
        return {**document, **settings["set"], **settings.get("place", {}), **times}

    def deleted(self, bucket: str) -> None:
        self._store.delete(SETTINGS, bucket)
        self._store.delete(POLICY, bucket)

    def policy(self, bucket: str) -> Document:
        """As it was set, or the empty one."""
        empty = {"version": 1, "bindings": [], "etag": _etag(0)}
        found = self._store.get(POLICY, bucket) or empty
        return {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{bucket}", **found}

    def set_policy(self, bucket: str, body: Mapping[str, Any]) -> Document | None:
        """The new policy; None where the body's etag is not that of the present one."""
        with self._store.transaction():
            now = self.policy(bucket)
            if body.get("etag", now["etag"]) != now["etag"]:
                return None
            count = int.from_bytes(base64.b64decode(now["etag"]), "big") + 1
            kept = {"version": body.get("version", 1), "bindings": body.get("bindings", [])}
            self._store.put(POLICY, bucket, {**kept, "etag": _etag(count)})
        return self.policy(bucket)

    def _settings(self, document: Mapping[str, Any]) -> Document:
        times = {name: document[name] for name in ("timeCreated", "updated", "metageneration")}
        return self._store.get(SETTINGS, str(document["name"])) or {**times, "set": {}}


def _place(location: Any) -> Document:
    """Where a bucket lies, as its creation asked for it; the storage server's own answer where it did not."""
    if not isinstance(location, str) or not location:
        return {}
    name = location.upper()
    kind = "multi-region" if name in CONTINENTS else "region" if "-" in name else "dual-region"
    return {"location": name, "locationType": kind}


def _etag(count: int) -> str:
    return base64.b64encode(count.to_bytes(4, "big")).decode()


def _on(setting: Any) -> bool:
    return bool(setting) and (not isinstance(setting, dict) or setting.get("enabled", True) is not False)


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(new, dict):
        return new
    kept = dict(old) if isinstance(old, dict) else {}
    for name, value in new.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = _merged(kept.get(name), value)
    return kept
