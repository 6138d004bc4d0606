"""The documentation as tests read it: pages, and in them fenced snippets, sections, tables and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Snippet:
    """A fenced block; `note` is the HTML comment on the line above it: `run: local`, `file: train.py`."""

    page: str
    line: int
    language: str
    text: str
    note: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[str]:
        """The shell commands in it: each line of `sh`, the lines after `$` in `console`."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return lines if self.language in ("sh", "bash") else []


def pages() -> list[Path]:
    """Everything that people read, as far as it is ours."""
    top = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def snippets(*languages: str) -> list[Snippet]:
    """All snippets in these languages, in order."""
    return [found for page in pages() for found in snippets_of(page) if found.language in languages]


def snippets_of(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text"))
        yield Snippet(name_of(page), line, match["language"], match["text"], match["note"] or "")


def links(page: Path) -> list[str]:
    """Targets of links and pictures, code blocks left out."""
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [inline or picture for inline, picture in _LINK.findall(prose)]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get on GitHub."""
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose)]
    return {heading.strip().replace(" ", "-") for heading in plain}


def sections(page: Path) -> dict[str, str]:
    """Heading -> the text below it, of the second level."""
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """Cells of all table rows, headers and rules left out."""
    found = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    headers = {
        line.strip().strip("|").split(" | ")[0].strip()
        for line, rule in zip(text.splitlines(), text.splitlines()[1:], strict=False)
        if rule.startswith("|---")
    }
    return [row for row in found if row[0] not in headers]


def words(cell: str) -> list[str]:
    """What is in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)
