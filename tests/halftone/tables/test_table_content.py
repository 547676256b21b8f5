"""One hash for all the ways of writing down the same rows, and another for any other rows."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftone.tables import content
from halftone.tables.content import content_hash
from halftone.tables.ingest import ingest

ROWS = {
    "age": [41, 29, None, 29],
    "weight": [70.5, 81.0, 0.0, 81.0],
    "city": ["Bern", "Zürich, Kreis 4", None, "Zürich, Kreis 4"],
    "member": [True, False, None, False],
    "born": [dt.date(1983, 2, 28), dt.date(1995, 12, 1), None, dt.date(1995, 12, 1)],
    "seen": [
        dt.datetime.fromisoformat("2024-01-01T10:00:00"),
        dt.datetime.fromisoformat("1969-01-01T10:05:03.250000"),
        None,
        dt.datetime.fromisoformat("1969-01-01T10:05:03.250000"),
    ],
    "code": ["007", "a b", '"x"\ny', "a b"],
}
TABLE = pa.table(ROWS)


def csv(table: pa.Table = TABLE, delimiter: str = ",") -> bytes:
    out = io.BytesIO()
    pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(delimiter=delimiter))
    return out.getvalue()


def parquet(table: pa.Table = TABLE, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def jsonl(table: pa.Table = TABLE) -> bytes:
    return "".join(json.dumps(row, default=lambda value: value.isoformat()) + "\n" for row in table.to_pylist()).encode()


def xlsx(table: pa.Table = TABLE) -> bytes:
    out = io.BytesIO()
    frame = table.to_pandas()
    with pd.ExcelWriter(out, engine="xlsxwriter") as writer:
        frame.to_excel(writer, index=False)
    return out.getvalue()


def hashed(folder: Path, data: bytes) -> str:
    source, target = folder / "in", folder / "out.parquet"
    source.write_bytes(data)
    ingest(source, target)
    return content_hash(target)


def retyped(name: str, type_: pa.DataType) -> pa.Table:
    place = TABLE.column_names.index(name)
    return TABLE.set_column(place, name, pc.cast(TABLE[name], type_))


SAME: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: gzip.compress(csv()),
    "bzip2": lambda: bz2.compress(csv()),
    "CRLF": lambda: csv(TABLE.slice(0, 2)).replace(b"\n", b"\r\n") + csv(TABLE.slice(2)).partition(b"\n")[2],
    "semicolons": lambda: csv(delimiter=";"),
    "UTF-16": lambda: csv().decode().encode("utf-16"),
    "Parquet": parquet,
    "Parquet in many row groups": lambda: parquet(row_group_size=1, use_dictionary=False),
    "JSON lines": jsonl,
    "a workbook": xlsx,
    "other order of rows": lambda: csv(TABLE.take([3, 2, 0, 1])),
    "other order of columns": lambda: parquet(TABLE.select(TABLE.column_names[::-1])),
    "whole numbers as doubles": lambda: parquet(retyped("age", pa.float64())),
    "numbers as text": lambda: parquet(retyped("weight", pa.string())),
    "days as moments": lambda: parquet(retyped("born", pa.timestamp("ns"))),
    "moments in nanoseconds": lambda: parquet(retyped("seen", pa.timestamp("ns"))),
    "days as text": lambda: parquet(retyped("born", pa.string())),
    "a dictionary": lambda: parquet(retyped("city", pa.dictionary(pa.int32(), pa.string()))),
}


@pytest.mark.parametrize("way", SAME)
def test_the_same_rows_have_the_same_hash_however_they_are_written(tmp_path: Path, way: str) -> None:
    """Format, compression, encoding, delimiter, order and storage say nothing of the people in the rows."""
    assert hashed(tmp_path, SAME[way]()) == hashed(tmp_path, csv())


def changed(name: str, row: int, value: Any) -> pa.Table:
    rows = {column: list(values) for column, values in ROWS.items()}
    rows[name][row] = value
    return pa.table(rows, schema=TABLE.schema)


OTHER = {
    "one value": lambda: changed("age", 0, 42),
    "one letter": lambda: changed("city", 0, "Berm"),
    "a value that was missing": lambda: changed("member", 2, False),
    "a value that is missing now": lambda: changed("member", 1, None),
    "a microsecond": lambda: changed("seen", 0, dt.datetime.fromisoformat("2024-01-01T10:00:00.000001")),
    "values that changed places": lambda: changed("age", 0, 29).set_column(0, "age", pa.array([29, 41, None, 29])),
    "a row fewer": lambda: TABLE.slice(0, 3),
    "a row twice": lambda: pa.concat_tables([TABLE, TABLE.slice(0, 1)]),
    "another name": lambda: TABLE.rename_columns(["years", *TABLE.column_names[1:]]),
    "a column fewer": lambda: TABLE.drop_columns(["code"]),
    "a column more": lambda: TABLE.append_column("more", pa.array([1, 1, 1, 1])),
    "columns that changed names": lambda: TABLE.rename_columns(["weight", "age", *TABLE.column_names[2:]]),
}


@pytest.mark.parametrize("way", OTHER)
def test_other_rows_have_another_hash(tmp_path: Path, way: str) -> None:
    """A table of other people is not taken for this one."""
    assert hashed(tmp_path, parquet(OTHER[way]())) != hashed(tmp_path, csv())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([2**53 + 1, 1], [2**53, 1]),
        ([-(2**63), 1], [-(2**63) + 1, 1]),
        ([5], [dt.datetime.fromisoformat("1970-01-01T00:00:00.000005")]),
        ([dt.time(0, 0, 0, 5)], [dt.datetime.fromisoformat("1970-01-01T00:00:00.000005")]),
        ([True], [1]),
        ([0.1 + 0.2], [0.3]),
        (["x", None], [None, None]),
    ],
)
def test_values_that_differ_are_told_apart(tmp_path: Path, one: list[Any], other: list[Any]) -> None:
    """Also whole numbers that are no doubles, and values of several kinds whose bits are the same."""
    assert hashed(tmp_path, parquet(pa.table({"a": one}))) != hashed(tmp_path, parquet(pa.table({"a": other})))


def test_zero_has_no_sign(tmp_path: Path) -> None:
    """A spreadsheet does not keep it."""
    assert hashed(tmp_path, parquet(pa.table({"a": [0.0, 1.5]}))) == hashed(tmp_path, parquet(pa.table({"a": [-0.0, 1.5]})))


def test_the_hash_is_the_one_that_earlier_versions_gave(tmp_path: Path) -> None:
    """It is kept: a table that comes again years later must be known again."""
    assert hashed(tmp_path, csv()) == "5b380eaab1b763d4b1c7ec6eb0972a611bc39f66e0374d77c696da66261df507"


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.none() | st.integers(-5, 5), st.sampled_from([None, "a", "é", "Bern" * 40])), min_size=1, max_size=30), st.data()
)
def test_batches_and_order_do_not_count(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, Any]], data: Any) -> None:
    """However the rows are cut into pieces for working on them, and shuffled."""
    path = tmp_path_factory.mktemp("content") / "t.parquet"
    schema = pa.schema([("n", pa.int64()), ("s", pa.string())])

    def of(some: list[tuple[Any, Any]], **kept: int) -> str:
        pq.write_table(pa.Table.from_pylist([dict(zip("ns", row, strict=True)) for row in some], schema), path, row_group_size=7)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in kept.items():
                patch.setattr(content, name, value)
            return content_hash(path)

    assert of(rows) == of(
        data.draw(st.permutations(rows)), _BATCH_ROWS=data.draw(st.integers(1, 9)), _MOST_BYTES=data.draw(st.integers(1, 400))
    )
