"""Marks of a resource's state, by which a client that read an older one is refused (google.aip.dev/154)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any

from headway_emulator.errors import ApiError


def new_etag() -> str:
    return base64.b64encode(secrets.token_bytes(16)).decode()


def check_etag(body: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """ABORTED where the client read another state than the one it changes; no etag changes blindly."""
    if body.get("etag") and body["etag"] != current.get("etag"):
        text = f'The etag "{body["etag"]}" does not match: {current["name"]} has changed. Read it again.'
        raise ApiError("ABORTED", text)
