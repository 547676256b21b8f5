"""Table schemas: a mistake is refused with the name of the column it is in."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.schema import BOUNDED, ColumnSchema, ColumnType, DatasetSchema, TableSchema

AGE: dict[str, Any] = {"name": "age", "type": "integer", "minimum": 0, "maximum": 120}
SEX: dict[str, Any] = {"name": "sex", "type": "categorical", "categories": ["f", "m"]}


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ({"type": "integer", "categories": [1, 2]}, "categories belong to a categorical column"),
        ({"type": "categorical", "categories": []}, "at least one value"),
        ({"type": "categorical", "categories": ["a", "b", "a"]}, "listed twice"),
        ({"type": "categorical", "minimum": 1}, "do not apply to type categorical"),
        ({"type": "boolean", "maximum": 1}, "do not apply to type boolean"),
        ({"type": "text", "minimum": "a", "maximum": "b"}, "do not apply to type text"),
        ({"type": "datetime", "minimum": "2024-02-01T00:00:00+02:00", "maximum": "2024-01-31T00:00:00"}, "minimum is above maximum"),
        ({"type": "number", "minimum": 1.5, "maximum": 1.25}, "minimum is above maximum"),
        ({"type": "date", "minimum": "2024-02-01", "maximum": "2024-01-31"}, "minimum is above maximum"),
        ({"type": "date", "minimum": "2024-01-01", "maximum": 20250101}, "is text in ISO 8601"),
        ({"type": "date", "minimum": "yesterday"}, "is text in ISO 8601"),
        ({"type": "time", "maximum": "2024-12-31"}, "is text in ISO 8601"),
        ({"type": "integer", "minimum": "1"}, "is a finite number"),
        ({"type": "number", "minimum": float("nan")}, "is a finite number"),
        ({"type": "number", "maximum": float("inf")}, "is a finite number"),
    ],
)
def test_a_domain_that_does_not_fit_is_refused_by_the_name_of_its_column(column: dict[str, Any], says: str) -> None:
    """A person with two hundred columns is told which one to put right, and how."""
    with pytest.raises(ValidationError, match=f"column 'postal code': .*{says}"):
        TableSchema.model_validate({"columns": [AGE, {"name": "postal code", **column}]})


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"columns": [AGE, SEX, AGE]}, "column 'age' is declared twice"),
        ({"columns": [AGE], "primary_key": ["id"]}, "key column 'id' is not among the columns"),
        ({"columns": [AGE], "sequence_key": "patient"}, "key column 'patient' is not among the columns"),
        ({"columns": [AGE], "sequence_index": "visit"}, "key column 'visit' is not among the columns"),
    ],
)
def test_a_table_refuses_columns_it_does_not_have_or_has_twice(table: dict[str, Any], says: str) -> None:
    """The message names the column as the person wrote it."""
    with pytest.raises(ValidationError, match=says):
        TableSchema.model_validate(table)


@pytest.mark.parametrize("field", ["categorys", "min", "Type"])
def test_a_misspelt_property_is_refused(field: str) -> None:
    """A bound under a wrong name would silently be no bound."""
    with pytest.raises(ValidationError, match=field):
        ColumnSchema.model_validate({**AGE, field: 1})


@pytest.mark.parametrize(
    "broken", [{"name": ""}, {"name": "n" * 257}, {"type": "int"}, {"granularity": 0}, {"granularity": -1}, {"semantic": "s" * 65}]
)
def test_a_property_out_of_range_is_refused(broken: dict[str, Any]) -> None:
    """Names have 1 to 256 characters, a granularity is positive, types are those of the list."""
    with pytest.raises(ValidationError, match=next(iter(broken))):
        ColumnSchema.model_validate({**AGE, **broken})


@pytest.mark.parametrize("kind", ColumnType)
def test_a_domain_is_declared_by_what_its_type_needs(kind: ColumnType) -> None:
    """Bounds for ranges, both of them; categories for codes; nothing for booleans; for text nothing will do."""
    dates, times = ("2024-01-01", "2024-12-31"), ("08:00", "17:30")
    low, high = {ColumnType.DATE: dates, ColumnType.DATETIME: dates, ColumnType.TIME: times}.get(kind, (0, 9))
    bare = ColumnSchema(name="c", type=kind)
    assert bare.domain_declared == (kind is ColumnType.BOOLEAN)
    if kind in BOUNDED:
        assert ColumnSchema(name="c", type=kind, minimum=low, maximum=high).domain_declared
        assert not ColumnSchema(name="c", type=kind, minimum=low).domain_declared
        assert not ColumnSchema(name="c", type=kind, maximum=high).domain_declared
    if kind is ColumnType.CATEGORICAL:
        assert ColumnSchema(name="c", type=kind, categories=(1, 2)).domain_declared


def test_a_column_is_found_by_its_name() -> None:
    """As written; a name that is not there is a KeyError."""
    table = TableSchema.model_validate({"columns": [AGE, SEX]})
    assert table.column("sex") == ColumnSchema.model_validate(SEX)
    with pytest.raises(KeyError, match="Sex"):
        table.column("Sex")


def test_codes_keep_their_type_through_json() -> None:
    """The integer 1 and the text "1" are different categories, and stay so."""
    table = TableSchema.model_validate({"columns": [{"name": "code", "type": "categorical", "categories": [1, "1", "01"]}]})
    again = DatasetSchema.model_validate_json(DatasetSchema(tables=(table,)).model_dump_json())
    assert again.tables[0].columns[0].categories == (1, "1", "01")
