"""Parquet files are brought to the few types that a stored table has."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from halftone.tables.errors import TableError
from halftone.tables.ingest import ingest
from halftone.tables.limits import Limits


def read(tmp_path: Path, table: pa.Table, **limits: int) -> pa.Table:
    source, target = tmp_path / "in", tmp_path / "out.parquet"
    pq.write_table(table, source)
    ingest(source, target, limits=Limits(**limits))
    return pq.read_table(target)


NOON = dt.datetime.fromisoformat("2024-01-01T12:00:00")


@pytest.mark.parametrize(
    ("array", "type_", "values"),
    [
        (pa.array([1, None], pa.int8()), pa.int64(), [1, None]),
        (pa.array([1, 2], pa.uint64()), pa.int64(), [1, 2]),
        (pa.array([1, 2**64 - 1], pa.uint64()), pa.string(), ["1", "18446744073709551615"]),
        (pa.array([0.5, float("nan")], pa.float32()), pa.float64(), [0.5, None]),
        (pa.array([decimal.Decimal("1.25"), None]), pa.float64(), [1.25, None]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), pa.string(), ["a", "b", "a"]),
        (pa.array(["a", "?"], pa.large_string()), pa.string(), ["a", "?"]),
        (pa.array([None, None], pa.null()), pa.string(), [None, None]),
        (pa.array([True, None]), pa.bool_(), [True, None]),
        (pa.array([dt.date(2024, 1, 1)], pa.date32()), pa.date32(), [dt.date(2024, 1, 1)]),
        (pa.array([NOON], pa.timestamp("ms")), pa.timestamp("us"), [NOON]),
        (pa.array([NOON], pa.timestamp("us", "Europe/Paris")), pa.timestamp("us", "UTC"), [NOON.replace(tzinfo=dt.UTC)]),
        (pa.array([dt.time(1, 2)], pa.time32("s")), pa.time64("us"), [dt.time(1, 2)]),
    ],
)
def test_types(tmp_path: Path, array: pa.Array, type_: pa.DataType, values: list[Any]) -> None:
    """Each type has one stored form that keeps every value."""
    stored = read(tmp_path, pa.table({"a": array}))["a"]
    assert (stored.type, stored.to_pylist()) == (type_, values)


def refusal(tmp_path: Path, content: bytes | pa.Table, **limits: int) -> TableError:
    source = tmp_path / "in"
    if isinstance(content, pa.Table):
        pq.write_table(content, source)
    else:
        source.write_bytes(content)
    with pytest.raises(TableError) as caught:
        ingest(source, tmp_path / "out.parquet", limits=Limits(**limits))
    assert list(tmp_path.iterdir()) == [source]
    return caught.value


@pytest.mark.parametrize("array", [pa.array([[1]]), pa.array([{"x": 1}]), pa.array([b"x"]), pa.array([1], pa.duration("s"))])
def test_nested_and_binary_columns(tmp_path: Path, array: pa.Array) -> None:
    """A column that no stored type can hold is named, with its type."""
    error = refusal(tmp_path, pa.table({"good": [1], "bad": array}))
    assert (error.code, error.fields["column"]) == ("column-type-unsupported", "bad")


def parquet_bytes(tmp_path: Path) -> bytes:
    path = tmp_path / "whole"
    pq.write_table(pa.table({"a": list(range(10_000))}), path)
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize("end", [4, 11, 1_000, -1, -8])
def test_truncated(tmp_path: Path, end: int) -> None:
    """Without its footer the file was cut off."""
    assert refusal(tmp_path, parquet_bytes(tmp_path)[:end]).code == "file-truncated"


@pytest.mark.parametrize("place", [-6, -100, 40])
def test_damaged(tmp_path: Path, place: int) -> None:
    """Bytes that are overwritten, in the footer or in the pages, do not become a table."""
    content = bytearray(parquet_bytes(tmp_path))
    content[place : place + 2] = b"\xff\xff"
    content[20:40] = b"\xff" * 20
    assert refusal(tmp_path, bytes(content)).code == "file-damaged"


def test_without_rows(tmp_path: Path) -> None:
    """A schema alone is no table."""
    assert refusal(tmp_path, pa.table({"a": pa.array([], pa.int64())})).code == "file-empty"


def test_limits(tmp_path: Path) -> None:
    """Rows, columns and bytes are limited as in CSV."""
    table = pa.table({"a": [1, 2, 3], "b": [1, 2, 3]})
    assert refusal(tmp_path, table, rows=2).code == "too-many-rows"
    assert refusal(tmp_path, table, columns=1).code == "too-many-columns"
    assert refusal(tmp_path, table, data_bytes=40).code == "file-too-large"


def test_names(tmp_path: Path) -> None:
    """Names follow the same rules as a header's."""
    assert refusal(tmp_path, pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])).code == "column-duplicate"
    assert refusal(tmp_path, pa.table({"": [1]})).code == "column-unnamed"


def test_a_compressed_parquet_file(tmp_path: Path) -> None:
    """Parquet inside gzip is named for what it is."""
    import gzip

    error = refusal(tmp_path, gzip.compress(parquet_bytes(tmp_path)))
    assert error.code == "file-binary"
    assert "Parquet" in str(error)
