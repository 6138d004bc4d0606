"""A function's source: fetched from Cloud Storage, unpacked, and compared with what is installed here."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement

from headway_emulator.engine.objects import ObjectError, Objects
from headway_emulator.engine.store import Document

MAIN = "main.py"
MOST_BYTES = 500 << 20
"""Unpacked: https://cloud.google.com/functions/quotas, deployment size."""
INCLUDE = re.compile(r"(?:-r|--requirement)[ =]\s*(\S+)")
COMMENT = re.compile(r"(^|\s)#.*$")


class BuildFailed(Exception):
    """What Google's build of the function would fail with, or what this emulator cannot do for it."""


def fetch(objects: Objects, source: Document, folder: Path) -> str:
    """Unpack the archive into `folder`, which is made anew; gives the object's generation. BuildFailed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = folder.with_name(f"{folder.name}.zip")
    try:
        generation = objects.fetch(source["bucket"], source["object"], source.get("generation", ""), archive)
        _unpack(archive, folder)
    except ObjectError as error:
        raise BuildFailed(f"the source is not there: {error}") from error
    except zipfile.BadZipFile as error:
        raise BuildFailed(f"gs://{source['bucket']}/{source['object']} is no zip archive") from error
    except (RuntimeError, zlib.error, EOFError) as error:
        # locked by a password, compressed in a way that Python has not, or damaged
        raise BuildFailed(
            f"gs://{source['bucket']}/{source['object']} cannot be unpacked: {error}"
        ) from error
    except OSError as error:
        raise BuildFailed(f"the source could not be unpacked: {error}") from error
    finally:
        archive.unlink(missing_ok=True)
    return generation


def _unpack(archive: Path, folder: Path) -> None:
    """Members that would land outside, and links, are refused and not bent into place."""
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        if sum(member.file_size for member in members) > MOST_BYTES:
            raise BuildFailed(f"the source is larger than {MOST_BYTES >> 20} MB when it is unpacked")
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16):
                raise BuildFailed(f"the archive's member {member.filename!r} leads out of its folder")
        packed.extractall(folder)


def check(folder: Path) -> None:
    """BuildFailed without main.py, and where requirements.txt asks for what is not installed here."""
    if not (folder / MAIN).is_file():
        # the words of GoogleCloudPlatform/buildpacks, cmd/python/functions_framework
        raise BuildFailed(f"missing {MAIN} and GOOGLE_FUNCTION_SOURCE not specified")
    if missing := [text for wanted in requirements(folder) if (text := _lacking(wanted))]:
        text = "; ".join(missing)
        raise BuildFailed(
            f"requirements.txt asks for what the emulator's Python environment does not have: {text}. "
            "It installs nothing for functions: install it there, or change the requirement"
        )


def requirements(folder: Path, name: str = "requirements.txt") -> Iterator[str]:
    """The lines that name packages, of files that they include too; pip's options are left out."""
    pending, seen = [folder / name], set[Path]()
    while pending:
        path = pending.pop().resolve()
        if path in seen or not path.is_file() or not path.is_relative_to(folder.resolve()):
            continue
        seen.add(path)
        for raw in path.read_text(errors="replace").replace("\\\n", " ").splitlines():
            line = " ".join(COMMENT.sub("", raw).split())
            if found := INCLUDE.match(line):
                pending.append(path.parent / found[1])
            elif line and not line.startswith("-"):
                yield line.split(" --")[0].strip()


def _lacking(wanted: str) -> str:
    """What is wrong with it here, "" where it is installed or not for this machine."""
    try:
        requirement = Requirement(wanted)
    except InvalidRequirement:
        return f"{wanted} (not understood: only names with versions are)"
    if requirement.marker is not None and not requirement.marker.evaluate():
        return ""
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{wanted} (not installed)"
    if not requirement.specifier.contains(installed, prereleases=True):
        return f"{wanted} ({installed} is installed)"
    return ""
