"""Checksums of numbers that name people and accounts, for all values of an array at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from halftone.tables.written import text_bytes

Flags = npt.NDArray[np.bool_]
_A, _ZERO = ord("A"), ord("0")


def _matrix(text: pa.Array, *, right: bool) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.intp]]:
    """Bytes of each value, shape (n, longest), zeros where it is shorter, and the lengths, shape (n,)."""
    raw, offsets = text_bytes(text)
    starts, lengths = offsets[:-1].astype(np.intp), np.diff(offsets).astype(np.intp)
    width = int(lengths.max(initial=0))
    place = np.arange(width)[None, :] - (width - lengths[:, None] if right else 0)
    there = (place >= 0) & (place < lengths[:, None])
    found = np.zeros((len(lengths), width), np.uint8)
    found[there] = raw[(starts[:, None] + place)[there]]
    return found, lengths


def luhn(text: pa.Array) -> Flags:
    """Which values, of digits alone, pass the check of payment cards (ISO/IEC 7812-1, annex B). A random number does one time in ten."""
    matrix, lengths = _matrix(text, right=True)
    digits = np.where(matrix > 0, matrix.astype(np.int64) - _ZERO, 0)
    doubled = digits[:, -2::-2] * 2
    total = digits[:, ::-2].sum(axis=1) + np.where(doubled > 9, doubled - 9, doubled).sum(axis=1)
    return np.asarray((total % 10 == 0) & (lengths > 0))


def mod_97(text: pa.Array) -> Flags:
    """Which values, of capital letters and digits, pass the check of bank accounts (ISO 13616, ISO 7064 MOD 97-10)."""
    turned = pc.binary_join_element_wise(pc.utf8_slice_codeunits(text, 4), pc.utf8_slice_codeunits(text, 0, 4), "")
    matrix, lengths = _matrix(turned, right=False)
    rest = np.zeros(len(lengths), np.int64)
    for place in matrix.T.astype(np.int64):
        letter, there = place >= _A, place > 0
        value = np.where(letter, place - _A + 10, place - _ZERO)
        rest = np.where(there, (rest * np.where(letter, 100, 10) + value) % 97, rest)
    return np.asarray(rest == 1)
