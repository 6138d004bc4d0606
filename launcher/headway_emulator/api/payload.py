"""A request's JSON body, as the parser of Google's front takes it, or refuses it in its words.

Source: protobuf's JSON parser (google/protobuf/util/internal/json_stream_parser.cc), whose messages the front
passes on, and the error answers of Google APIs that users report.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from json import JSONDecodeError
from typing import Any, NoReturn

from starlette.requests import Request

from headway_emulator.errors import ApiError, bad_request, invalid

MAX_BODY = 10 << 20
"""Bytes; the limit that the front's own message names: 10485760."""
MAX_DEPTH = 100
"""kDefaultMaxRecursionDepth."""
LONGEST_INTEGER = 20
"""Characters of an integer in 64 bits; a longer one is read as a double."""
OWN = "/emulator/"
"""Not Google's: the front's rules are not for these paths."""
FORM = "application/x-www-form-urlencoded"
TOKEN_PATH = "/token"  # noqa: S105 - a path
SHOWN = 20
"""Characters of a broken body that the message shows before and after the place."""
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
PARSE_ERRORS: Mapping[str, str] = {
    "Expecting ':' delimiter": "Expected : between key:value pair.",
    "Expecting ',' delimiter": "Expected , or } after key:value pair.",
    "Expecting property name enclosed in double quotes": "Expected an object key or }.",
    "Illegal trailing comma before end of object": "Expected an object key or }.",
    "Unterminated string starting at": "Closing quote expected in string.",
    "Extra data": "Parsing terminated before end of input.",
}
"""What Python's parser calls it, and what protobuf's does."""


async def body(request: Request) -> Any:
    """The parsed body, None where there is none; ApiError as the front words it."""
    raw = await read(request)
    if not raw:
        return None
    form = request.headers.get("content-type", "").startswith(FORM)
    if form and not request.url.path.startswith(OWN):  # which a person's `curl --data` says of everything
        if request.url.path.endswith(TOKEN_PATH):
            return None
        raise unbound(raw.decode("utf-8", "replace").split("=", 1)[0].split("&", 1)[0])
    return parsed(raw)


def parsed(raw: bytes) -> Any:
    """ApiError for what is no JSON, and for numbers, texts and depths that no message can hold."""
    try:
        text = raw.decode()
        found = json.loads(
            text,
            parse_constant=lambda word: _constant(word, text),
            parse_int=lambda word: int(word) if len(word) <= LONGEST_INTEGER else _double(word),
            parse_float=_double,
        )
    except JSONDecodeError as error:
        raise _refused(_unparsed(error)) from error
    except UnicodeDecodeError as error:
        raise _refused("Encountered non UTF-8 code points.") from error
    except RecursionError as error:
        raise _too_deep() from error
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_deep(found):
        raise _too_deep()
    if SURROGATE.search(raw):
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise _refused("Missing low surrogate.") from error
    return found


def unbound(name: str) -> ApiError:
    """For a parameter that the method does not have."""
    return _refused(
        f'Unknown name "{name}": Cannot bind query parameter. '
        f"Field '{name}' could not be found in request message."
    )


async def read(request: Request) -> bytes:
    """The body's bytes. Never more than the limit in memory, whatever the request says of its length."""
    size, pieces = int(request.headers.get("content-length") or 0), []
    if size <= MAX_BODY:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > MAX_BODY:
                break
            pieces.append(piece)
    if size > MAX_BODY:
        raise invalid(f"Request payload size exceeds the limit: {MAX_BODY} bytes.")
    return b"".join(pieces)


def _refused(reason: str) -> ApiError:
    return bad_request([("", f"Invalid JSON payload received. {reason}")])


def _too_deep() -> ApiError:
    return _refused("Message too deep. Max recursion depth reached")


def _is_deep(document: Any) -> bool:
    level, depth = [document], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        depth += 1
    return depth > MAX_DEPTH


def _double(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise _refused("Number exceeds the range of double.")
    return number


def _constant(word: str, text: str) -> NoReturn:
    """NaN and the infinities, which Python's parser would take."""
    raise JSONDecodeError("Expecting value", text, max(text.find(word), 0))


def _unparsed(error: JSONDecodeError) -> str:
    """The reason, the text around the place, and a mark below it."""
    at = error.pos
    if error.msg == "Expecting value" and not error.doc[at:].strip():
        reason = "Unexpected end of string. Expected a value."
    else:
        reason = PARSE_ERRORS.get(error.msg, "Unexpected token.")
    begin = max(0, at - SHOWN)
    around = " ".join(error.doc[begin : at + SHOWN].split("\n"))
    return f"{reason}\n{around}\n{' ' * (at - begin)}^"
