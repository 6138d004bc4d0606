"""What Secret Manager accepts: ids, labels, annotations, replication, expiry and aliases.

Limits are those of the Secret schema in secretmanager.v1's discovery document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from headway_emulator.engine.clock import SECOND, parse_timestamp, timestamp
from headway_emulator.engine.store import Document
from headway_emulator.errors import bad_request, invalid, unimplemented

SECRET_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
ANNOTATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
LABELS = 64
ALIASES = 50
ANNOTATION_BYTES = 16 << 10
TEXT_BYTES = 128
LONGEST_SECONDS = 3_153_600_000
"""A hundred years."""
CHANGEABLE = ("labels", "annotations", "versionAliases", "versionDestroyTtl", "expireTime", "ttl")
NOT_KEPT = ("topics", "rotation", "customerManagedEncryption", "tags")


def check(body: Document, now: int) -> Document:
    """The secret's fields with ttl turned into expireTime; ApiError for what is not allowed."""
    secret = {name: value for name, value in body.items() if name != "etag"}
    for name in NOT_KEPT:
        if secret.get(name):
            raise unimplemented(f"secretmanager Secret.{name}")
    _labels(secret.get("labels", {}))
    _annotations(secret.get("annotations", {}))
    _aliases(secret.get("versionAliases", {}))
    if "ttl" in secret and "expireTime" in secret:
        text = "oneof field 'expiration' is already set. Cannot set 'ttl'"
        raise bad_request([("secret.ttl", f"Invalid value at 'secret.ttl' (oneof), {text}")])
    if "ttl" in secret:
        seconds = float(secret.pop("ttl").removesuffix("s"))
        if not 0 < seconds <= LONGEST_SECONDS:
            raise invalid(f"Secret.ttl must be positive and at most {LONGEST_SECONDS}s.")
        secret["expireTime"] = timestamp(now + round(seconds * SECOND))
    elif "expireTime" in secret:
        moment = parse_timestamp(secret["expireTime"])
        if moment <= now:
            raise invalid("Secret.expire_time must be in the future.")
        secret["expireTime"] = timestamp(moment)
    return secret


def replication(secret: Document) -> None:
    """It is set, once, and names places where it names any."""
    given = secret.get("replication", {})
    if len(given) != 1:
        raise invalid("The replication policy must be set: one of automatic, user_managed.")
    if "userManaged" in given:
        replicas = given["userManaged"].get("replicas", [])
        if not replicas or not all(replica.get("location") for replica in replicas):
            raise invalid("Replication.user_managed.replicas cannot be empty, and each needs a location.")
        if any("customerManagedEncryption" in replica for replica in replicas):
            raise unimplemented("secretmanager Secret.customerManagedEncryption")
    elif given["automatic"].get("customerManagedEncryption"):
        raise unimplemented("secretmanager Secret.customerManagedEncryption")


def replicated(secret: Document) -> Document:
    """A version's replicationStatus under the secret's policy."""
    policy = secret["replication"]
    if "userManaged" in policy:
        places = [{"location": replica["location"]} for replica in policy["userManaged"]["replicas"]]
        return {"userManaged": {"replicas": places}}
    return {"automatic": {}}


def _labels(labels: Mapping[str, str]) -> None:
    if len(labels) > LABELS:
        raise invalid(f"No more than {LABELS} labels can be assigned to a given resource.")
    for key, value in labels.items():
        if not (0 < len(key) <= 63 and _is_letter(key[0]) and _fits(key)):
            raise invalid(f'Invalid label key "{key}": lowercase letters, digits, _ and -, a letter first.')
        if len(value) > 63 or not _fits(value):
            raise invalid(
                f'Invalid value "{value}" of the label "{key}": lowercase letters, digits, _ and -.'
            )


def _fits(text: str) -> bool:
    kinds = all(_is_letter(character) or character.isnumeric() or character in "_-" for character in text)
    return kinds and len(text.encode()) <= TEXT_BYTES


def _is_letter(character: str) -> bool:
    return character.isalpha() and character == character.lower()


def _annotations(annotations: Mapping[str, str]) -> None:
    for key in annotations:
        if not ANNOTATION.fullmatch(key):
            raise invalid(f'Invalid annotation key "{key}": 1 to 63 letters, digits, -, _ and dots.')
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) >= ANNOTATION_BYTES:
        raise invalid("The total size of annotation keys and values must be less than 16KiB.")


def _aliases(aliases: Mapping[str, str]) -> None:
    if len(aliases) > ALIASES:
        raise invalid(f"No more than {ALIASES} version aliases can be assigned to a given secret.")
    for alias in aliases:
        if not ALIAS.fullmatch(alias) or alias in ("latest", "NEW"):
            raise invalid(
                f'Invalid version alias "{alias}": a letter, then letters, digits, - and _; not latest.'
            )
