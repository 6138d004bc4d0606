"""The name of the method that a storage request is, and the IAM permissions that Google documents for it.

Source: "IAM permissions for JSON methods" of Cloud Storage's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

from headway_emulator.services.storage.paths import Kind, Target

CREATE, DELETE, GET = "storage.objects.create", "storage.objects.delete", "storage.objects.get"
METHODS: Mapping[Kind, Mapping[str, tuple[str, str]]] = {
    "buckets": {
        "GET": ("buckets.list", "storage.buckets.list"),
        "POST": ("buckets.insert", "storage.buckets.create"),
    },
    "bucket": {
        "GET": ("buckets.get", "storage.buckets.get"),
        "PATCH": ("buckets.patch", "storage.buckets.get, storage.buckets.update"),
        "PUT": ("buckets.update", "storage.buckets.get, storage.buckets.update"),
        "DELETE": ("buckets.delete", "storage.buckets.delete"),
    },
    "layout": {"GET": ("buckets.getStorageLayout", "storage.objects.list")},
    "policy": {
        "GET": ("buckets.getIamPolicy", "storage.buckets.getIamPolicy"),
        "PUT": ("buckets.setIamPolicy", "storage.buckets.setIamPolicy"),
    },
    "permissions": {"GET": ("buckets.testIamPermissions", "")},
    "objects": {"GET": ("objects.list", "storage.objects.list")},
    "object": {
        "GET": ("objects.get", GET),
        "PATCH": ("objects.patch", f"{GET}, storage.objects.update"),
        "PUT": ("objects.update", f"{GET}, storage.objects.update"),
        "DELETE": ("objects.delete", DELETE),
    },
    "media": {"GET": ("objects.get", GET)},
    "upload": {"POST": ("objects.insert", CREATE), "PUT": ("objects.insert", CREATE)},
    "resumable": {
        "PUT": ("objects.insert", CREATE),
        "POST": ("objects.insert", CREATE),
        "DELETE": ("objects.insert", CREATE),
    },
    "compose": {"POST": ("objects.compose", f"{CREATE}, {GET}")},
    "rewrite": {"POST": ("objects.rewrite", f"{CREATE}, {GET}")},
    "batch": {"POST": ("batch", "")},
}
PATHS: Mapping[Kind, str] = {
    "buckets": "/storage/v1/b",
    "bucket": "/storage/v1/b/{bucket}",
    "layout": "/storage/v1/b/{bucket}/storageLayout",
    "policy": "/storage/v1/b/{bucket}/iam",
    "permissions": "/storage/v1/b/{bucket}/iam/testPermissions",
    "objects": "/storage/v1/b/{bucket}/o",
    "object": "/storage/v1/b/{bucket}/o/{object}",
    "media": "/download/storage/v1/b/{bucket}/o/{object}",
    "upload": "/upload/storage/v1/b/{bucket}/o",
    "resumable": "/upload/storage/v1/b/{bucket}/o",
    "compose": "/storage/v1/b/{bucket}/o/{object}/compose",
    "rewrite": "/storage/v1/b/{bucket}/o/{object}/rewriteTo/b/{to}/o/{name}",
    "batch": "/batch/storage/v1",
}
"""For people: what the paths really are, `storage_paths` says."""
OVERWRITING = ("upload", "resumable", "compose", "rewrite")
"""What needs `DELETE` besides, where the object is there already."""


def method(verb: str, target: Target) -> tuple[str, str]:
    """Such as ("storage.objects.get", "storage.objects.get"); a name with the verb where Google has none."""
    name, permission = METHODS.get(target.kind, {}).get("GET" if verb == "HEAD" else verb, ("", ""))
    return f"storage.{name or verb.lower()}", permission


def listed() -> list[dict[str, str]]:
    """Every method with its request, as the listing of the emulator shows it."""
    return [
        {"name": name, "verb": verb, "path": PATHS[kind], "permission": permission}
        for kind, of in METHODS.items()
        if kind != "resumable"
        for verb, (name, permission) in of.items()
        if (kind, verb) != ("upload", "PUT")
    ]
