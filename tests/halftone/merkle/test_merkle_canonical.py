"""Canonical JSON: the published examples, and what is refused."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftone.merkle import CanonicalError, canonical, check_canonical
from halftone.merkle.canonical import _is_plainly_canonical, _respelt

# RFC 8785, appendix B: IEEE 754 bits and their spelling.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
]

scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12)


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_numbers_are_spelt_as_the_rfc_says(bits: str, text: str) -> None:
    """The table of RFC 8785, appendix B, holds both when writing and when checking."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number) == text.encode()
    check_canonical(text.encode())


def test_the_example_of_the_rfc() -> None:
    """RFC 8785, section 3.2.2 and 3.2.3: numbers, escapes, and keys sorted by UTF-16 code units."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '\u20ac$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    assert canonical(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert list(json.loads(canonical({"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "\r": 4, "1": 5}))) == [
        "\r",
        "1",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]


@given(values)
def test_what_is_written_is_canonical_and_reads_back(value: object) -> None:
    """The canonical bytes pass the check, and stand for the same value."""
    data = canonical(value)
    check_canonical(data)
    assert json.loads(data, parse_int=float) == value


@given(
    values,
    st.sampled_from([{"indent": 1}, {"separators": (",", ":"), "ensure_ascii": False}, {"separators": (",", ":"), "sort_keys": True}]),
)
def test_the_fast_check_never_says_more_than_the_rfc(value: object, style: dict[str, Any]) -> None:
    """Whatever spelling of a value the standard library gives, the fast check passes it only if the full one does."""
    data = json.dumps(value, **style).encode("utf-8", "surrogatepass")
    if _is_plainly_canonical(data):
        assert _respelt(data) == data


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b"-0",
        b'"\\u0041"',
        b'"\\/"',
        b'"\\u00e9"',
        b'"\\u000F"',
        b"9007199254740993",
        b"-9007199254740993",
        b"[9007199254740993]",
        b"[1,-9007199254740993]",
        b'{"a":9007199254740993}',
        '{"\ufb33":1,"\U0001f600":2}'.encode(),
    ],
)
def test_another_spelling_of_the_same_value_is_refused(data: bytes) -> None:
    """Key order, spaces, repeated keys, numbers and escapes have one spelling each."""
    with pytest.raises(CanonicalError, match="not in canonical form"):
        check_canonical(data)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"nul", b'"\xff"', b"\xef\xbb\xbf1", b"[1]]", b'{"a":1', b"[" * 100_000, '"a"'.encode("utf-16")]
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    """Broken JSON, other encodings and endless nesting are errors of ours, not crashes."""
    with pytest.raises(CanonicalError, match="not JSON"):
        check_canonical(data)


@pytest.mark.parametrize("data", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"\\ud800"', b'{"\\ud800":1}', b"1" * 5_000])
def test_what_json_cannot_carry_is_refused(data: bytes) -> None:
    """Python's decoder takes numbers and strings that no other would: they do not pass."""
    with pytest.raises(CanonicalError, match="no canonical JSON form"):
        check_canonical(data)


@pytest.mark.parametrize("value", [2**53, -(2**53), math.nan, math.inf, "\ud800", {"\ud800": 1}, {1: 2}, {1, 2}, b"bytes", object()])
def test_a_value_without_canonical_form_is_refused(value: object) -> None:
    """Nothing is rounded, dropped or turned into a string in silence."""
    with pytest.raises(CanonicalError, match="no canonical JSON form"):
        canonical(value)
