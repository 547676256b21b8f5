"""JSON lines become the table that their author meant, or are refused with the line."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftone.tables import errors
from halftone.tables.ingest import ingest
from halftone.tables.limits import Limits


def read(folder: Path, content: str | bytes, **limits: int) -> dict[str, list[Any]]:
    source, target = folder / "in", folder / "out.parquet"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    assert ingest(source, target, limits=Limits(**limits)).source_format == "jsonl"
    columns: dict[str, list[Any]] = pq.read_table(target).to_pydict()
    return columns


def test_types_are_those_of_json_and_dates_in_text(tmp_path: Path) -> None:
    """Numbers, truths and text keep their types; ISO 8601 in text is a date; quoted digits stay text; absent keys are missing."""
    content = '{"n": 1, "d": "2024-02-29", "s": "007"}\n{"n": 2.5, "t": true, "d": "2024-03-01", "s": "008"}\r\n\n{"s": null}\n'
    assert read(tmp_path, content) == {
        "n": [1.0, 2.5, None],
        "d": [dt.date(2024, 2, 29), dt.date(2024, 3, 1), None],
        "s": ["007", "008", None],
        "t": [None, True, None],
    }


def test_mixed_types_are_text_as_written(tmp_path: Path) -> None:
    """A column of numbers, truths and text is text, each value as the file has it, however late the first other one comes."""
    body = "".join(f'{{"a": {n}.50, "b": "2024-01-01"}}\n' for n in range(500))
    table = read(tmp_path, body + '{"a": true}\n{"a": "x"}\n{"a": null, "b": "never"}\n', row_bytes=1000)
    assert table["a"] == [*(f"{n}.50" for n in range(500)), "true", "x", None]
    assert table["b"] == [*["2024-01-01"] * 500, None, None, "never"]


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    """NaN is missing and infinity is a number, as in CSV; what no double holds exactly makes a column text."""
    assert read(tmp_path, '{"a": NaN}\n{"a": Infinity}\n{"a": 1}\n') == {"a": [None, math.inf, 1.0]}
    assert read(tmp_path, '{"a": 9007199254740993}\n{"a": 1.5}\n') == {"a": ["9007199254740993", "1.5"]}
    assert read(tmp_path, '{"a": 9223372036854775808}\n') == {"a": ["9223372036854775808"]}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"a": {"b": 1}}', "value-nested"),
        ('{"a": [1]}', "value-nested"),
        ("[1, 2]", "line-not-object"),
        ("secret", "line-not-object"),
        ('{"a": 1', "line-not-object"),
        ('{"a": 1}{"a": 2}', "line-not-object"),
        ('{"a": "\\ud800"}', "line-not-object"),
        ('{"a": 1, "a": 2}', "column-duplicate"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_wrong_lines_are_located(tmp_path: Path, line: str, code: str, pack: Any) -> None:
    """The line is named, blank ones before it counted, and the key where there is one; the value is not."""
    content = '\n{"a": 1}\n' + '{"a": 2}\n' * 300 + "\n" + line + '\n{"a": 3}\n'
    with pytest.raises(errors.TableError) as caught:
        read(tmp_path, pack(content.encode()), row_bytes=512)
    assert (caught.value.code, caught.value.fields["line"]) == (code, 304)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{}\n{}\n", "file-empty"),
        ('{"": 1}\n', "column-unnamed"),
        ('{"a": "' + "x" * 2000 + '"}\n', "row-too-long"),
        ('{"a": 1, "b": 2, "c": 3, "d": 4}\n', "too-many-columns"),
        ('{"a": 1}\n' * 1001, "too-many-rows"),
        ('{"a": "\xff"}\n'.encode("latin-1"), "encoding-unknown"),
    ],
)
def test_limits_hold(tmp_path: Path, content: str | bytes, code: str) -> None:
    """Names, sizes and counts are held to the limits of any table."""
    with pytest.raises(errors.TableError) as caught:
        read(tmp_path, content, row_bytes=1024, columns=3, rows=1000)
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.none()
            | st.booleans()
            | st.integers(-(2**53) + 1, 2**53 - 1)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=4),
            min_size=1,
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([64, 4096]),
)
def test_what_python_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], block: int) -> None:
    """Any rows of plain values come back: with their types if a column has one, as JSON's own text if it has several."""
    content = "".join(json.dumps(row) + "\n" for row in rows)
    table = read(tmp_path_factory.mktemp("law"), content, row_bytes=max(block, max(map(len, content.splitlines())) + 1))
    for name, values in table.items():
        given_values = [row.get(name) for row in rows]
        kinds = {("number" if type(value) in {int, float} else type(value)) for value in given_values if value is not None}
        if len(kinds) > 1:
            given_values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in given_values]
        if any(isinstance(value, float) and abs(value) >= 2**53 and json.dumps(value).isdigit() for value in given_values):
            continue
        assert values == given_values
