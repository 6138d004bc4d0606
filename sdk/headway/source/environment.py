"""The environment image as content: base, lockfile, Dockerfile and headway's container side -> one digest."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from headway.errors import ConfigError
from headway.source import archive, assets
from headway.source.lockfile import read_lockfile
from headway.spec.job import Environment
from headway.spec.version import __version__

_CONTAINER_SIDE = ("spec", "cloud", "data", "tracking", "lightning", "runtime")
_LAPTOP_ONLY = (
    *(f"cloud/{name}" for name in ("buckets", "build", "functions", "logs", "projects", "registry")),
    *("cloud/scheduler", "cloud/services", "cloud/tuning", "cloud/vertex"),
    *("data/changes", "data/dvc_push", "data/pins", "data/tracked"),
)
"""Modules of these rooms that no container imports: an edit to one of them builds no image."""
_ENTRY_POINTS = dict.fromkeys(
    ("lightning.pytorch.callbacks_factory", "pytorch_lightning.callbacks_factory"),
    "headway = headway.lightning.automatic:callbacks",
)
"""As pyproject.toml has them: where Lightning looks for callbacks. Installed packages are slow to search."""
_CONTAINER_FILES = ("__init__.py", "errors.py", "py.typed")
_SUFFIXES = (".py", ".toml")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class EnvironmentSource:
    """What an environment image is made of: `digest` names it, `parts` (part -> digest) says why it changed.

    The wheelhouse is no part: it is where packages come from, not which.
    """

    digest: str
    parts: dict[str, str]
    base: str
    wheelhouse: Path | None
    _members: dict[str, bytes] = field(repr=False)

    def write_context(self, path: Path) -> None:
        """Write the build context, a tar.gz that depends on content only.

        Raises ConfigError where the wheelhouse is missing or holds no wheel; nothing is left then.
        """
        wheels = _wheels(self.wheelhouse) if self.wheelhouse else []
        try:
            # Wheels are zip files already: with them in it, the context is only stored.
            with path.open("wb") as out, gzip.GzipFile("", "wb", 0 if wheels else 6, out, mtime=0) as packed:
                for block in self._blocks(wheels):
                    packed.write(block)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _blocks(self, wheels: list[Path]) -> Iterator[bytes]:
        for name in sorted(self._members):
            yield from archive.member(name, self._members[name])
        if not wheels:
            yield from archive.member("wheelhouse/.keep", b"")
        for wheel in wheels:
            size = wheel.stat().st_size
            yield archive.header(f"wheelhouse/{wheel.name}", size)
            with wheel.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
            yield archive.padding(size)
        yield archive.END


def describe(environment: Environment, root: Path) -> EnvironmentSource:
    """The image that a job's environment asks for; `root` is config.yaml's folder.

    Raises ConfigError where the lockfile is missing or is none, CredentialFound where it holds a password.
    """
    lockfile = read_lockfile(root / environment.requirements)
    runtime = _runtime()
    dockerfile, requirements = assets.read("trainer.Dockerfile"), assets.read("runtime-requirements.txt")
    parts = {
        "base": _sha256(environment.base.encode()),
        "requirements": _sha256(lockfile),
        "Dockerfile": _sha256(dockerfile),
        "runtime-requirements": _sha256(requirements),
        "runtime": _sha256(_canonical({name: _sha256(data) for name, data in runtime.items()})),
    }
    members = {
        "requirements.txt": lockfile,
        "trainer.Dockerfile": dockerfile,
        "runtime-requirements.txt": requirements,
        **{f"runtime/{name}": data for name, data in runtime.items()},
    }
    wheelhouse = root / environment.wheelhouse if environment.wheelhouse else None
    return EnvironmentSource(_sha256(_canonical(parts)), parts, environment.base, wheelhouse, members)


@cache
def _runtime() -> dict[str, bytes]:
    """The package as the container needs it: the modules it imports, and a dist-info for its entry points."""
    package = Path(str(files("headway")))
    found = [package / name for name in _CONTAINER_FILES]
    for folder in _CONTAINER_SIDE:
        room = (path for path in (package / folder).iterdir() if path.suffix in _SUFFIXES)
        found.extend(path for path in room if f"{folder}/{path.stem}" not in _LAPTOP_ONLY)
    modules = {f"headway/{path.relative_to(package).as_posix()}": path.read_bytes() for path in sorted(found)}
    return {**modules, **_dist_info()}


def _dist_info() -> dict[str, bytes]:
    """Written anew: an editable install has none beside the package. The laptop's commands are left out."""
    folder = f"headway-{__version__}.dist-info"
    described = f"Metadata-Version: 2.1\nName: headway\nVersion: {__version__}\n"
    points = "\n".join(f"[{group}]\n{entry}\n" for group, entry in _ENTRY_POINTS.items())
    return {f"{folder}/METADATA": described.encode(), f"{folder}/entry_points.txt": points.encode()}


def _wheels(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.whl"))
    if not found:
        what = "there are no wheels in" if folder.is_dir() else "there is no folder"
        raise ConfigError(
            f"environment.wheelhouse: {what} {folder}",
            hint=f"fill it: pip download -r requirements.txt -d {folder}",
        )
    return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _canonical(table: dict[str, str]) -> bytes:
    return json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
