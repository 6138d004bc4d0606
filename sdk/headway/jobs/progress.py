"""What a long call tells while it runs; the terminal and the notebook each show it their way."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where steps and log lines go."""

    def step(self, name: str, detail: str) -> None:
        """A step of the submit: `image`, `bundle`, `data`, `job`, and what is done in it."""

    def line(self, text: str) -> None:
        """A line of a build's log."""


class Silent:
    """Progress that nobody watches."""

    def step(self, name: str, detail: str) -> None:
        pass

    def line(self, text: str) -> None:
        pass
