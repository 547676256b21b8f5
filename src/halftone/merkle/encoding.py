"""Base64 with one spelling per value: RFC 4648 section 4, padded, and nothing tolerated."""

from __future__ import annotations

import base64


def to_base64(data: bytes) -> str:
    """Spell bytes in standard, padded base64."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Read standard, padded base64.

    Raises:
        ValueError: the text has other characters, or is not the spelling that :func:`to_base64` gives.

    """
    data = base64.b64decode(text.encode("ascii"), validate=True)
    # The last character can carry bits that decoding drops: two spellings of one signature would both be valid.
    if to_base64(data) != text:
        raise ValueError("not the canonical spelling")
    return data
