"""One spelling per JSON value (RFC 8785, the JSON Canonicalization Scheme), so that one value has one hash."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import rfc8785

from halftone.merkle.errors import CanonicalError

_SAFE_INTEGER = 2**53 - 1  # beyond it a double skips integers (RFC 8785 appendix D)


def canonical(value: Any) -> bytes:
    """Spell a JSON value canonically (RFC 8785), in UTF-8.

    Raises:
        CanonicalError: the value has no such form: an integer beyond 2^53 - 1, NaN or infinity, a lone surrogate, a key that
            is no string, a type JSON does not know, or nesting too deep to follow.

    """
    try:
        if _is_plain(value):
            return _plain_encoder.encode(value).encode()
        return rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        raise CanonicalError(f"The value has no canonical JSON form: {error}.") from error


def check_canonical(data: bytes) -> None:
    """Check that bytes are the canonical spelling (RFC 8785) of the JSON value they stand for.

    Raises:
        CanonicalError: they are not JSON in UTF-8, or are another spelling: other key order, spaces, a repeated key, a
            number or an escape written differently.

    """
    if not (_is_plainly_canonical(data) or _respelt(data) == data):
        raise CanonicalError("The bytes are JSON, but not in canonical form (RFC 8785).")


def _is_plain(value: Any) -> bool:
    """Whether the standard library, which is several times as fast, spells a value as RFC 8785 does."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_SAFE_INTEGER <= value <= _SAFE_INTEGER)
    if kind is dict:
        return all(type(name) is str and name.isascii() and _is_plain(each) for name, each in value.items())
    return kind is list and all(map(_is_plain, value))


class _NotPlainError(ValueError):
    """A value whose canonical spelling needs RFC 8785's own rules."""


def _not_plain(text: str) -> NoReturn:
    raise _NotPlainError(text)


# The standard library and RFC 8785 differ in floats, which the decoder's hooks catch, in the order of keys beyond the basic
# plane (four bytes each in UTF-8), and in integers of 16 digits and more. These are found by drawing all digits as "0" and
# all that can stand before a number as ",".
_ASTRAL = re.compile(rb"[\xf0-\xff]")
_SHAPE = bytes.maketrans(b"123456789:[-", b"000000000,,,")
_LONG_NUMBER = b"," + b"0" * 16
_plain_decoder = json.JSONDecoder(parse_float=_not_plain, parse_constant=_not_plain)
_plain_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _is_plainly_canonical(data: bytes) -> bool:
    """Whether the standard library, which is several times as fast, is enough to tell that the bytes are canonical; False means unknown."""
    if _LONG_NUMBER in b"," + data.translate(_SHAPE) or not (data.isascii() or _ASTRAL.search(data) is None):
        return False
    try:
        return _plain_encoder.encode(_plain_decoder.decode(data.decode())).encode() == data
    except (ValueError, RecursionError):
        return False


def _integer(text: str) -> int | float:
    """Read digits as JavaScript would: a canonical double of up to 1e21 is written without a point or an exponent."""
    value = float(text)
    return value if abs(value) > _SAFE_INTEGER else int(text)


_decoder = json.JSONDecoder(parse_int=_integer)


def _respelt(data: bytes) -> bytes:
    try:
        value = _decoder.decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise CanonicalError(f"The bytes are not JSON in UTF-8: {error}.") from error
    return canonical(value)
