"""Tables that are large and loaded when first asked for: by one thread, however many ask at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from threading import RLock
from typing import ParamSpec, TypeVar

Key = ParamSpec("Key")
Table = TypeVar("Table")


def once(load: Callable[Key, Table]) -> Callable[Key, Table]:
    """functools.cache whose other callers wait for the first, where that one lets each load for itself.

    Twenty clients' first requests would read one discovery document twenty times, at 11 MB each that the
    allocator does not give back.
    """
    known, one = cache(load), RLock()

    @wraps(load)
    def table(*args: Key.args, **kwargs: Key.kwargs) -> Table:
        with one:
            return known(*args, **kwargs)  # type: ignore[arg-type]  # of hashable keys, which no type says

    return table
