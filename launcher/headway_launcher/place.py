"""Where a command acts: from its --local and --profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headway.spec.place import Place


@dataclass(frozen=True)
class Where:
    """What the user said about the place; `words` repeats it in a command to be typed next."""

    profile: str | None
    local: bool

    @property
    def words(self) -> str:
        if self.local:
            return " --local"
        return f" --profile {self.profile}" if self.profile else ""

    def find(self, start: Path | None = None) -> Place:
        """The place, by the headway.toml beside `start` (here) or above it. Starts the local stack."""
        from headway.config.profile import default_state, find_place

        return find_place(
            profile=self.profile, local=self.local, start=start or Path.cwd(), state=default_state()
        )


def config_and_overrides(words: list[str] | None) -> tuple[Path, list[str]]:
    """Split `[CONFIG] [KEY=VALUE]...`. Raises InputError where a later word is no override."""
    from headway.errors import InputError

    given = list(words or [])
    names_file = bool(given) and ("=" not in given[0] or Path(given[0]).is_file())
    config = Path(given.pop(0)) if names_file else Path("config.yaml")
    for word in given:
        if "=" not in word:
            raise InputError(
                f"{word!r} is neither an option nor an override",
                hint="one config file, then words such as args.lr=0.01",
            )
    return config, given
