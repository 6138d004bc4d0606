"""The Cloud Function's source: headway's own modules, main.py and requirements, as a zip with a digest."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from headway.source import assets
from headway.spec.version import __version__

_ROOMS = ("spec", "cloud")
_JOBS = (
    *("__init__", "attempts", "claim", "lookup", "past", "progress", "provided", "ticks"),
    *("tried", "triggers", "versions"),
)
"""Of the laptop's verbs, what a tick needs."""
_FILES = ("__init__.py", "errors.py", "py.typed")
_SUFFIXES = (".py", ".toml", ".csv")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold."""


@dataclass(frozen=True)
class FunctionSource:
    """The function's files. `digest` is that of their names and content: equal sources have equal digests."""

    digest: str
    members: Mapping[str, bytes] = field(repr=False)

    def archive(self) -> bytes:
        """The zip, which depends on content only."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in sorted(self.members):
                entry = zipfile.ZipInfo(name, _LONG_AGO)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                packed.writestr(entry, self.members[name])
        return out.getvalue()


def describe() -> FunctionSource:
    """The source as this installation has it. Raises MachineError where that is not whole."""
    package = Path(str(files("headway")))
    found = [package / name for name in _FILES]
    found += [package / "jobs" / f"{name}.py" for name in _JOBS]
    for room in _ROOMS:
        found += [path for path in (package / room).rglob("*") if path.suffix in _SUFFIXES]
    members = {f"headway/{path.relative_to(package).as_posix()}": path.read_bytes() for path in found}
    members["main.py"] = assets.read("function/main.py")
    members["requirements.txt"] = assets.read("function/requirements.txt")
    members["headway/VERSION"] = f"{__version__}\n".encode()
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    content = json.dumps(digests, sort_keys=True, separators=(",", ":")).encode()
    return FunctionSource(hashlib.sha256(content).hexdigest(), members)
