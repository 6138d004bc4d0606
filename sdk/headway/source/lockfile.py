"""The user's lockfile, as an image can be built from it: one file, no passwords, nothing of this machine."""

from __future__ import annotations

import re
from pathlib import Path

from headway.errors import ConfigError, CredentialFound

_PASSWORD = re.compile(r"https?://[^\s/@$]+@|[a-z+]+://[^\s/@:$]+:[^\s/@$]+@")
_OTHER_FILE = re.compile(r"(-r|-c|--requirement|--constraint)[\s=]*(\S+)")
_EDITABLE = re.compile(r"(-e|--editable)[\s=]*(\S+)")
_LOCAL = re.compile(r"(?:[^#\s]+\s*@\s*)?(file:\S+|\.{1,2}/\S*|/\S+|\.)(?:\s|$)")


def read_lockfile(path: Path) -> bytes:
    """The lockfile's bytes. Raises ConfigError with its line, or CredentialFound."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            "there is no such lockfile", file=path, hint=f"make it: pip freeze > {path}"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from error
    for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
        _check(line.strip(), number, path)
    return content


def _check(line: str, number: int, path: Path) -> None:
    if not line or line.startswith("#"):
        return
    if _PASSWORD.search(line):
        raise CredentialFound(
            f"{path}:{number}: there is a password or token in this address. Nothing was sent.",
            hint="leave it out, download the wheels here and name their folder in environment.wheelhouse",
        )
    if other := _OTHER_FILE.match(line):
        raise ConfigError(
            f"{other[1]} {other[2]}: the image is built from this one file",
            file=path,
            line=number,
            hint="lock everything into one file: pip freeze, pip-compile or uv pip compile write it",
        )
    editable = _EDITABLE.match(line)
    if editable and "://" in editable[2]:
        return
    if local := (editable or _LOCAL.match(line)):
        raise ConfigError(
            f"{local[local.lastindex or 0]} is on this machine, not in the image",
            file=path,
            line=number,
            hint="remove the line: the project's code travels by itself; other wheels go into the wheelhouse",
        )
