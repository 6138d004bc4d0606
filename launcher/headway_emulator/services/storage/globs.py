"""The globs of objects.list's matchGlob.

Source: Google's page "List objects", "List objects by using a glob": * within a folder, ** across folders,
? one character, [abc], [a-z], [!abc], and {one,other}.
"""

from __future__ import annotations

import re
from functools import lru_cache


def matches(glob: str, name: str) -> bool:
    return _pattern(glob).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/?|\*|\?|\[!?[^\]]+\]|\{[^{}]*\})", glob)
    return re.compile("".join(_part(part) for part in parts), re.DOTALL)


def _part(part: str) -> str:
    if part == "**/":
        return "(?:.*/)?"
    if part == "**":
        return ".*"
    if part == "*":
        return "[^/]*"
    if part == "?":
        return "[^/]"
    if part.startswith("[") and part.endswith("]") and len(part) > 2:
        inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return f"[{'^' + inner[1:] if inner.startswith('!') else inner}]"
    if part.startswith("{") and part.endswith("}"):
        return "(?:" + "|".join(_pattern(choice).pattern for choice in part[1:-1].split(",")) + ")"
    return re.escape(part)
