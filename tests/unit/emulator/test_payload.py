"""What of a JSON body the front takes: no more than a message can hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway_emulator.api.payload import MAX_DEPTH, parsed
from headway_emulator.errors import ApiError


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"a": NaN}', "Unexpected token."),
        (b'{"a": 1e999}', "Number exceeds the range of double."),
        (b'{"a": ' + b"9" * 5000 + b"}", "Number exceeds the range of double."),
        (b'{"a": "\\ud800"}', "Missing low surrogate."),
        (b'{"\\uDFFF": 1}', "Missing low surrogate."),
        (b'{"a": "\xff"}', "non UTF-8"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "Max recursion depth"),
        (b'{"a":' * 100_000, "Max recursion depth"),
    ],
)
def test_what_no_message_can_hold_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(ApiError, match=said) as refused:
        parsed(raw)
    assert refused.value.status == "INVALID_ARGUMENT"


def test_what_only_looks_like_it_is_taken() -> None:
    assert parsed(b'"' + b"{" * 500 + b'"') == "{" * 500
    assert parsed(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"
    assert parsed(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    assert parsed(b"[" + b"{}," * 500 + b"{}]") == [{}] * 501
    assert parsed(b"[18446744073709551615, -9223372036854775808]") == [2**64 - 1, -(2**63)]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_taken_can_be_sent_back(document: object) -> None:
    try:
        found = parsed(json.dumps(document).encode())
    except ApiError:
        return
    assert json.loads(json.dumps(found, allow_nan=False, ensure_ascii=False).encode()) == found
