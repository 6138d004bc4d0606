"""What a run needs, brought into the container: plan, code, data, newest checkpoint, secrets."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from headway.cloud.storage import split_uri
from headway.data import transfer
from headway.data.disk import full_disk_told, megabytes, require_space
from headway.errors import InputError, NotFound, RemoteError, RunFailed
from headway.runtime.log import say
from headway.runtime.store import Stores
from headway.spec.plan import Plan


def plan(uri: str, stores: Stores) -> Plan:
    """Read plan.json. Raises NotFound, InputError where it is not a plan of this version, and RunFailed.

    The last where the run was cancelled: this job was being created then, by a submit that died over it.
    """
    bucket, name = split_uri(uri)
    try:
        data = stores(bucket).read(name)
    except NotFound as error:
        raise NotFound(
            f"there is no plan at {uri}",
            hint="the run was removed, or the job's service account cannot read the bucket; submit again",
        ) from error
    try:
        found = Plan.model_validate_json(data)
    except ValidationError as error:
        raise InputError(
            f"{uri} is no plan that this runtime reads",
            details=str(error).splitlines()[:5],
            hint="the image holds another version of headway than the one that submitted; submit again",
        ) from error
    if found.cancelled is not None:
        raise RunFailed(f"{found.run_id} was cancelled before this job of it began")
    return found


def code(plan: Plan, stores: Stores, into: Path) -> frozenset[str]:
    """Bring the code bundle; its files' paths. What is there with the same digest is kept.

    Raises RemoteError where the bundle is absent or is not what its name says, MachineError on a full disk.
    """
    mark = into.with_name(f"{into.name}.json")
    if (files := _unpacked(mark, plan.code.digest)) is not None and into.is_dir():
        return files
    started = time.monotonic()
    bundle = into.with_name(f"{into.name}.tar")
    require_space(into.parent, 2 * plan.code.size)
    with full_disk_told(into.parent, 2 * plan.code.size):
        try:
            _download_bundle(plan, stores, bundle)
            files = _unpack(bundle, into)
        finally:
            bundle.unlink(missing_ok=True)
        mark.write_text(json.dumps({"digest": plan.code.digest, "files": sorted(files)}), encoding="utf-8")
    say(f"code: {len(files)} files, {megabytes(plan.code.size)}, {time.monotonic() - started:.1f} s")
    return files


def data(plan: Plan, stores: Stores, into: Path) -> None:
    """Bring the pinned data below the code folder. Raises what `transfer.pull` raises."""
    if not plan.data:
        return
    pulled = transfer.pull(plan.data, plan.data_remote, into, stores)
    kept = f" ({pulled.kept} more were there)" if pulled.kept else ""
    say(f"data: {pulled.files} files, {megabytes(pulled.bytes)}, {pulled.seconds:.1f} s{kept}")


def checkpoints(uri: str, stores: Stores, into: Path) -> list[Path]:
    """Bring the run's checkpoints below `uri`, newest first; the first is what to go on from.

    The newest must come; the others (the best so far is among them) as long as half the disk is left.
    One that was torn, its machine having gone while it was rewritten, comes after those that are whole.
    """
    into.mkdir(parents=True, exist_ok=True)
    bucket, prefix = split_uri(uri)
    store = stores(bucket)
    prefix = prefix.rstrip("/") + "/"
    found = [item for item in store.list(prefix) if item.name.endswith(".ckpt") and item.size]
    brought: list[Path] = []
    room = shutil.disk_usage(into).free // 2
    for item in sorted(found, key=lambda item: item.updated, reverse=True):
        room -= item.size
        if brought and room < 0:
            break
        target = into / _inside(item.name.removeprefix(prefix))
        target.parent.mkdir(parents=True, exist_ok=True)
        require_space(into, item.size)
        with full_disk_told(into, item.size):
            store.download(item.name, target)
        brought.append(target)
    brought.sort(key=lambda path: not zipfile.is_zipfile(path))  # the form in which torch saves
    if brought:
        say(f"resume: from {brought[0].name}")
    return brought


def secrets(plan: Plan, access: Callable[[str], str]) -> dict[str, str]:
    """Environment variables from Secret Manager. Raises NotFound or RemoteError naming the secret."""
    return {name: access(reference) for name, reference in plan.secrets.items()}


def _download_bundle(plan: Plan, stores: Stores, target: Path) -> None:
    store, name = stores(plan.bucket), plan.layout.bundle(plan.code.digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        store.download(name, target)
    except NotFound as error:
        raise RemoteError(
            f"the code bundle {store.uri(name)} is not there", hint="submit the run again: it is sent anew"
        ) from error
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != plan.code.digest:
        raise RemoteError(
            f"the code bundle {store.uri(name)} is damaged: its sha256 is {found}",
            hint="remove that object and submit the run again: it is sent anew",
        )


def _unpack(bundle: Path, into: Path) -> frozenset[str]:
    """Unpack beside the folder, then put it in its place: it is whole or not there."""
    part = into.with_name(f"{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    files: set[str] = set()
    with tarfile.open(bundle, "r:") as archive:
        for member in archive:
            if member.isdir():
                continue
            path = _inside(member.name)
            target = part / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(archive, member, target, part)
            files.add(str(path))
    shutil.rmtree(into, ignore_errors=True)
    part.replace(into)
    return frozenset(files)


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, root: Path) -> None:
    if member.issym():
        aim = os.path.normpath(target.parent / member.linkname)
        if Path(member.linkname).is_absolute() or not Path(aim).is_relative_to(root):
            raise InputError(f"the code bundle holds a link out of its folder: {member.name}")
        target.symlink_to(member.linkname)
        return
    content = archive.extractfile(member) if member.isfile() else None
    if content is None:
        raise InputError(f"the code bundle holds what is no file: {member.name}")
    # O_EXCL: a name twice, or one that leads through a link, is not written
    with content, target.open("xb") as file:
        shutil.copyfileobj(content, file)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InputError(f"{name!r} lies outside of its folder")
    return path


def _unpacked(mark: Path, digest: str) -> frozenset[str] | None:
    try:
        document = json.loads(mark.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return frozenset(document["files"]) if document["digest"] == digest else None
