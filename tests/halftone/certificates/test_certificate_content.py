"""The hash of a table's content: the same however it is cut and encoded, another one for any change."""

from __future__ import annotations

import datetime as dt
import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftone.certificates.content import BLOCK, FORMAT, Content, content_hash


def table() -> pa.Table:
    return pa.table(
        {
            "n": pa.array([1, None, -3], pa.int64()),
            "x": pa.array([0.5, None, -0.0], pa.float64()),
            "t": pa.array(["a", "", None], pa.string()),
            "b": pa.array([True, None, False], pa.bool_()),
            "d": pa.array([dt.date(2020, 1, 1), None, dt.date(1900, 1, 1)], pa.date32()),
            "s": pa.array([1_577_880_000_000_000, None, None], pa.timestamp("us")),
            "h": pa.array([dt.time(1, 2, 3), None, None], pa.time64("us")),
        }
    )


def test_the_format_is_what_it_says() -> None:
    """A column of two numbers and one of three texts, byte by byte, without any of our code."""

    def long(*numbers: int) -> bytes:
        return struct.pack(f"<{len(numbers)}Q", *numbers)

    values = hashlib.sha256(b"\x01" + long(1, 0)).digest()
    column = long(1) + b"n" + long(5) + b"int64" + values
    assert content_hash(pa.table({"n": pa.array([1, None], pa.int64())})) == hashlib.sha256(FORMAT + long(1, 2) + column).hexdigest()
    values = hashlib.sha256(b"\x05" + long(2, 0, 1) + b"abc").digest()
    column = long(1) + b"t" + long(6) + b"string" + values
    assert content_hash(pa.table({"t": ["ab", None, "c"]})) == hashlib.sha256(FORMAT + long(1, 3) + column).hexdigest()


def test_it_survives_a_file(tmp_path: Path) -> None:
    """Whatever the compression, the dictionary and the row groups."""
    pq.write_table(table(), tmp_path / "a.parquet", compression="zstd", row_group_size=1)
    pq.write_table(table(), tmp_path / "b.parquet", compression="none", use_dictionary=False)
    assert {content_hash(pq.read_table(tmp_path / name)) for name in ("a.parquet", "b.parquet")} == {content_hash(table())}


def test_how_it_is_held_does_not_count() -> None:
    """In pieces, as a dictionary, with wide offsets, with something else where nothing is, with metadata."""
    whole = content_hash(table())
    assert content_hash(pa.concat_tables([table().slice(0, 1), table().slice(1)])) == whole
    coded = table().set_column(2, "t", table()["t"].dictionary_encode())
    wide = table().set_column(2, "t", table()["t"].cast(pa.large_string()))
    masked = table().set_column(0, "n", pa.array(np.array([1, 99, -3]), mask=np.array([False, True, False])))
    other_zero = table().set_column(1, "x", pa.array([0.5, None, 0.0]))
    for same in (coded, wide, masked, other_zero, table().replace_schema_metadata({"a": "b"})):
        assert content_hash(same) == whole


@pytest.mark.parametrize(
    "other",
    [
        table().slice(0, 2),
        table().take([1, 0, 2]),
        table().rename_columns(["m", "x", "t", "b", "d", "s", "h"]),
        table().select(["x", "n", "t", "b", "d", "s", "h"]),
        table().set_column(0, "n", pa.array([1, None, -3], pa.int32())),
        table().set_column(0, "n", pa.array([1, 0, -3], pa.int64())),
        table().set_column(2, "t", pa.array(["a", None, ""])),
        table().set_column(3, "b", pa.array([True, None, True])),
        table().set_column(1, "x", pa.array([0.5, None, 5e-324])),
    ],
)
def test_any_change_shows(other: pa.Table) -> None:
    """Rows, order, names, types, and what is missing."""
    assert content_hash(other) != content_hash(table())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.none() | st.text(max_size=4), max_size=12), st.integers(0, 12))
def test_no_two_columns_of_text_are_alike(texts: list[str | None], at: int) -> None:
    """Lengths are told, so that nothing moves from one value to the next unseen."""
    here = content_hash(pa.table({"t": pa.array(texts, pa.string())}))
    moved: list[Any] = [*texts]
    if at < len(moved):
        moved[at] = (moved[at] or "") + "\0"
        assert content_hash(pa.table({"t": pa.array(moved, pa.string())})) != here
    assert content_hash(pa.table({"t": pa.chunked_array([texts[:at], texts[at:]], pa.string())})) == here


def test_more_than_a_block_is_hashed_in_blocks() -> None:
    """However the chunks lie: a table of two blocks and a bit."""
    numbers = np.arange(2 * BLOCK + 5)
    whole = content_hash(pa.table({"n": numbers}))
    assert content_hash(pa.table({"n": pa.chunked_array([numbers[:7], numbers[7 : BLOCK + 9], numbers[BLOCK + 9 :]])})) == whole
    content = Content(pa.schema([("n", pa.int64())]))
    for piece in np.array_split(numbers, [7, 9, BLOCK + 9]):
        content.add(pa.table({"n": piece}))
    assert content.hexdigest() == whole


def test_what_has_no_canonical_content_is_refused() -> None:
    """Lists and structures have none yet."""
    with pytest.raises(ValueError, match="no canonical content"):
        content_hash(pa.table({"l": [[1]]}))
