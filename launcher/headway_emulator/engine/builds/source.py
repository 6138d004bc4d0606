"""A build's source: fetched from Cloud Storage, checked, unpacked into the workspace."""

from __future__ import annotations

import base64
import hashlib
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headway_emulator.engine.builds.site import Ended
from headway_emulator.engine.objects import ObjectError, Objects

HASHES: Mapping[str, str] = {"SHA256": "sha256", "MD5": "md5", "SHA512": "sha512"}


def place(source: Mapping[str, Any]) -> str:
    generation = source.get("generation", "")
    return f"gs://{source['bucket']}/{source['object']}" + (f"#{generation}" if generation else "")


def fetch(objects: Objects, source: Mapping[str, Any], hashes: Sequence[str], folder: Path) -> dict[str, Any]:
    """Unpack it into folder/workspace; gives the SourceProvenance. Ended where it cannot be had."""
    archive = folder / "source"
    try:
        generation = objects.fetch(source["bucket"], source["object"], source.get("generation", ""), archive)
        provenance = _provenance({**source, "generation": generation}, hashes, archive)
        _extract(archive, folder / "workspace")
    except (ObjectError, tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise Ended("FAILURE", f"failed to fetch source: {error}", "FETCH_SOURCE_FAILED") from error
    return provenance


def _provenance(source: Mapping[str, Any], hashes: Sequence[str], archive: Path) -> dict[str, Any]:
    resolved = {name: value for name, value in source.items() if value}
    known = [name for name in hashes if name in HASHES]
    if not known:
        return {"resolvedStorageSource": resolved}
    found = [{"type": name, "value": _digest(archive, HASHES[name])} for name in known]
    return {"resolvedStorageSource": resolved, "fileHashes": {place(source): {"fileHash": found}}}


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, algorithm).digest()).decode()


def _extract(archive: Path, workspace: Path) -> None:
    """A .tgz, .tar or .zip; members that would land outside are refused.

    Tar is asked first: a stored .tgz that ends with a wheel ends as a .zip does.
    """
    if tarfile.is_tarfile(archive) or not zipfile.is_zipfile(archive):
        with tarfile.open(archive) as packed_tar:
            packed_tar.extractall(workspace, filter="data")
    else:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(workspace)
    archive.unlink()
