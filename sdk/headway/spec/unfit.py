"""Unfit: a wish that is well written and cannot be had."""

from __future__ import annotations

from headway.errors import InputError


class Unfit(InputError):
    """A wish that Vertex AI would refuse; `key` is the dotted key of config.yaml that is at fault."""

    def __init__(self, key: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.key = key
