"""A project to load: its config.yaml as each test wants it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headway.config import Loaded, load
from headway.errors import ConfigError

Read = Callable[..., Loaded]
Refused = Callable[..., ConfigError]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Load a config of that text, with words and flags, from the working folder."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str, *words: str, **flags: object) -> Loaded:
        Path("config.yaml").write_text(text, encoding="utf-8")
        return load(Path("config.yaml"), words, {key.replace("__", "."): v for key, v in flags.items()})

    return load_text


@pytest.fixture
def refused(read: Read) -> Refused:
    """The error that such a config gets."""

    def error_of(text: str, *words: str, **flags: object) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            read(text, *words, **flags)
        return caught.value

    return error_of
