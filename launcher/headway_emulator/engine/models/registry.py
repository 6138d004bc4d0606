"""The model registry: a model's own fields, its numbered versions, and the aliases that point to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from headway_emulator.engine.etags import new_etag
from headway_emulator.engine.store import Document, Store
from headway_emulator.errors import ApiError, not_found, precondition

RECORD = "modelRecord"
"""What belongs to the model and what to each version; the two kinds below are made from it."""
MODEL = "model"
"""As a read without a version shows it: the default version."""
VERSION = "modelVersion"
DEFAULT = "default"
OF_MODEL = ("displayName", "description")
INPUT_FORMATS = ("jsonl", "bigquery", "csv", "tf-record", "tf-record-gzip", "file-list")
OUTPUT_FORMATS = ("jsonl", "bigquery")
EXPORT_FORMAT = "custom-trained"


class Registry:
    """Models by their full names; every change is one transaction. `now` gives the time that is written."""

    def __init__(self, store: Store, now: Callable[[], str]) -> None:
        self._store = store
        self._now = now

    def refuse_existing(self, name: str) -> None:
        """ALREADY_EXISTS where the name is taken."""
        if self._store.get(RECORD, name) is not None:
            raise ApiError("ALREADY_EXISTS", f"The Model {name} already exists.")

    def add(self, name: str, model: Mapping[str, Any], *, new: bool) -> Document:
        """A new model, or the next version of one, which keeps its display name and description."""
        with self._store.transaction():
            if new:
                self.refuse_existing(name)
            now = self._now()
            record = self._store.get(RECORD, name) or _record(model, now)
            number = str(record["last"] + 1)
            record["last"] += 1
            record["labels"][number] = {} if new else model.get("labels", {})
            document = _version(name, number, model, now)
            self._store.put(VERSION, f"{name}@{number}", document)
            aliases = [*document["versionAliases"], *([DEFAULT] if new else [])]
            self._point(name, number, aliases)
            self._show(name, record | {"updateTime": now})
            return self.get(name, number)

    def get(self, name: str, version: str) -> Document:
        """By number or alias, and named with the number; the default version, without it, where it is empty.

        The Python client's update_version sends back the name that it was given: it must have the version.
        """
        if not version:
            document = self._store.get(MODEL, name)
        elif version.isdecimal():
            document = self._store.get(VERSION, f"{name}@{version}")
        else:
            document = next((v for v in self._versions(name) if version in v["versionAliases"]), None)
        if document is None:
            raise not_found(f"{name}@{version}" if version else name)
        return {key: value for key, value in document.items() if key != "model"}

    def update(self, name: str, version: str, body: Mapping[str, Any], names: Collection[str]) -> Document:
        """Some fields of the model, or of one version; a field that the body lacks is cleared."""
        with self._store.transaction():
            number, now = self.get(name, version)["versionId"], self._now()
            record = self._record(name)
            owner = number if version else "model"
            if "labels" in names:
                record["labels"][owner] = body.get("labels", {})
            for field in OF_MODEL:
                if field in names:
                    record[field] = body.get(field, "")
            if version:
                document = self._store.get(VERSION, f"{name}@{number}") or {}
                if "versionDescription" in names:
                    document["versionDescription"] = body.get("versionDescription", "")
                self._store.put(VERSION, f"{name}@{number}", document | {"versionUpdateTime": now})
            self._show(name, record | {"updateTime": now})
            return self.get(name, version)

    def merge(self, name: str, version: str, changes: Sequence[str]) -> Document:
        """Aliases given to a version, and taken from whichever had them; with a - before it, taken away."""
        with self._store.transaction():
            here = set(self.get(name, version)["versionAliases"])
            added = {alias for alias in changes if not alias.startswith("-")}
            removed = {alias[1:] for alias in changes if alias.startswith("-")}
            both = added & removed
            self._point(name, version, sorted((here | (added - both)) - (removed - both)))
            self._show(name, self._record(name) | {"updateTime": self._now()})
            return self.get(name, version)

    def delete(self, name: str) -> None:
        with self._store.transaction():
            self._record(name)
            for version in self._versions(name):
                self._store.delete(VERSION, version["name"])
            self._store.delete(MODEL, name)
            self._store.delete(RECORD, name)

    def delete_version(self, name: str, version: str) -> None:
        """Never the only one, nor the default, without which the model would have none."""
        with self._store.transaction():
            found = self.get(name, version)
            if len(self._versions(name)) == 1:
                raise precondition(f"{name}@{version} is the only version: delete the Model instead.")
            if DEFAULT in found["versionAliases"]:
                raise precondition(f"{name}@{version} is the default version: move that alias first.")
            self._store.delete(VERSION, f"{name}@{version}")

    def _point(self, name: str, number: str, aliases: Sequence[str]) -> None:
        """Give one version these aliases, each of which only one version can have."""
        for version in self._versions(name):
            own = version["versionId"] == number
            kept = aliases if own else [a for a in version["versionAliases"] if a not in aliases]
            self._store.put(VERSION, version["name"], version | {"versionAliases": list(dict.fromkeys(kept))})

    def _show(self, name: str, record: Document) -> None:
        """Write the record, and every version anew as it is read: with the model's own fields and labels."""
        self._store.put(RECORD, name, record)
        shared = {field: record[field] for field in (*OF_MODEL, "createTime", "updateTime") if record[field]}
        for version in self._versions(name):
            kept = {key: value for key, value in version.items() if key not in (*OF_MODEL, "labels")}
            labels = record["labels"]["model"] | record["labels"].get(version["versionId"], {})
            shown = kept | shared | {"etag": new_etag()} | ({"labels": labels} if labels else {})
            self._store.put(VERSION, version["name"], shown)
            if DEFAULT in shown["versionAliases"]:
                self._store.put(MODEL, name, shown | {"name": name})

    def _record(self, name: str) -> Document:
        record = self._store.get(RECORD, name)
        if record is None:
            raise not_found(name)
        return record

    def _versions(self, name: str) -> list[Document]:
        return self._store.list(VERSION, f"{name}@")


def _record(model: Mapping[str, Any], now: str) -> Document:
    return {
        "displayName": model["displayName"],
        "description": model.get("description", ""),
        "labels": {"model": model.get("labels", {})},
        "createTime": now,
        "last": 0,
    }


def _version(name: str, number: str, model: Mapping[str, Any], now: str) -> Document:
    """What Vertex AI adds to an uploaded model (from answers shown in Google's documentation)."""
    image = model.get("containerSpec", {}).get("imageUri", "")
    contents = [
        *(["ARTIFACT"] if model.get("artifactUri") else []),
        *(["IMAGE"] if image and "-docker.pkg.dev/vertex-ai/" not in image else []),
    ]
    document = {key: value for key, value in model.items() if key not in (*OF_MODEL, "labels", "etag")}
    document |= {
        "name": f"{name}@{number}",
        "model": name.rsplit("/", 1)[1],
        "versionId": number,
        "versionAliases": list(model.get("versionAliases", [])),
        "versionCreateTime": now,
        "versionUpdateTime": now,
        "modelSourceInfo": {"sourceType": "CUSTOM"},
        "supportedInputStorageFormats": list(INPUT_FORMATS),
        "supportedOutputStorageFormats": list(OUTPUT_FORMATS),
    }
    if image:
        document["supportedDeploymentResourcesTypes"] = ["DEDICATED_RESOURCES"]
    if contents:
        document["supportedExportFormats"] = [{"id": EXPORT_FORMAT, "exportableContents": contents}]
    return document
