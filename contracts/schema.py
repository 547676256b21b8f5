"""What is publicly known of a table: the contract between its owner and every engine.

A declared domain is public knowledge. What was read off the data is a proposal until a named person attests it.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, StrictInt, StringConstraints, model_validator

from contracts.base import Contract

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Scalar = int | float | str
"""A bound: a number, or an ISO 8601 date or time."""


class ColumnType(StrEnum):
    """How a column's values are stored and compared."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"
    """Text, or integers used as codes, with a finite public domain."""
    DATE = "date"
    DATETIME = "datetime"
    TIME = "time"
    TEXT = "text"
    """Free text or identifiers: no statistic of it is modelled."""


BOUNDED = frozenset({ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.DATE, ColumnType.DATETIME, ColumnType.TIME})
"""Types whose public domain is a range."""


LARGEST_BOUND = sys.float_info.max
"""The largest number that a table can hold."""
LARGEST_CODE = 2**63 - 1
"""The largest integer that a table can hold."""
_ISO: dict[ColumnType, Callable[[str], dt.date | dt.time]] = {
    ColumnType.DATE: dt.date.fromisoformat,
    ColumnType.DATETIME: dt.datetime.fromisoformat,
    ColumnType.TIME: dt.time.fromisoformat,
}


class ColumnSchema(Contract):
    """One column: its type, its public domain, and who said that the domain is public."""

    name: Name
    type: ColumnType
    semantic: str | None = Field(default=None, max_length=64, description="what the values mean, e.g. 'country' or 'age'")
    nullable: bool = Field(default=False, description="whether a value may be missing")
    categories: tuple[StrictInt | str, ...] | None = Field(
        default=None, description="public domain of a categorical column, missing not counted"
    )
    minimum: Scalar | None = Field(default=None, description="public lower bound, inclusive")
    maximum: Scalar | None = Field(default=None, description="public upper bound, inclusive")
    granularity: float | None = Field(default=None, gt=0, description="step between values: 1 for whole numbers, 0.01 for cents")
    pii: str | None = Field(default=None, max_length=64, description="class of personal data, e.g. 'email'; such values are made fresh")
    format: str | None = Field(default=None, max_length=64, description="how values are written, e.g. a date pattern")
    attested_by: str | None = Field(default=None, description="principal who attested that this is public; absent on a proposal")

    @model_validator(mode="after")
    def _domain_fits_type(self) -> Self:
        if self.categories is not None:
            if self.type is not ColumnType.CATEGORICAL:
                raise ValueError(f"column {self.name!r}: categories belong to a categorical column, not to one of type {self.type}")
            if not self.categories:
                raise ValueError(f"column {self.name!r}: categories must name at least one value")
            if any(isinstance(code, int) and abs(code) > LARGEST_CODE for code in self.categories):
                raise ValueError(f"column {self.name!r}: a category that is an integer is at most {LARGEST_CODE}")
            if len(set(self.categories)) != len(self.categories):
                raise ValueError(f"column {self.name!r}: a category is listed twice")
        for bound in (self.minimum, self.maximum):
            self._check_bound(bound)
        if self.minimum is not None and self.maximum is not None and self._order(self.minimum) > self._order(self.maximum):
            raise ValueError(f"column {self.name!r}: minimum is above maximum")
        return self

    def _check_bound(self, bound: Scalar | None) -> None:
        """A bound is a finite number for numbers, ISO 8601 text for dates and times, and absent for the rest."""
        if bound is None:
            return
        if self.type not in BOUNDED:
            raise ValueError(f"column {self.name!r}: minimum and maximum do not apply to type {self.type}")
        parse = _ISO.get(self.type)
        if parse is None:
            if isinstance(bound, str) or not -LARGEST_BOUND <= bound <= LARGEST_BOUND:
                raise ValueError(f"column {self.name!r}: a bound of type {self.type} is a finite number")
            return
        try:
            parse(bound if isinstance(bound, str) else "")
        except ValueError:
            raise ValueError(f"column {self.name!r}: a bound of type {self.type} is text in ISO 8601") from None

    def _order(self, bound: Scalar) -> Any:
        """What bounds of this column are compared by."""
        parse = _ISO.get(self.type)
        if parse is None:
            return bound
        moment = parse(str(bound))
        return moment.replace(tzinfo=dt.UTC) if isinstance(moment, dt.datetime) and moment.tzinfo is None else moment

    @property
    def domain_declared(self) -> bool:
        """Whether an engine with differential privacy knows the column's domain without looking."""
        match self.type:
            case ColumnType.BOOLEAN:
                return True
            case ColumnType.CATEGORICAL:
                return self.categories is not None
            case ColumnType.TEXT:
                return False
            case _:
                return self.minimum is not None and self.maximum is not None


class TableSchema(Contract):
    """One table: its columns in order, and its keys."""

    name: Name = "table"
    columns: tuple[ColumnSchema, ...] = Field(min_length=1, max_length=10_000)
    primary_key: tuple[Name, ...] = ()
    sequence_key: Name | None = Field(default=None, description="column that says to which sequence a row belongs")
    sequence_index: Name | None = Field(default=None, description="column that orders the rows of a sequence")

    @model_validator(mode="after")
    def _names_are_known_and_unique(self) -> Self:
        names = [column.name for column in self.columns]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"column {twice[0]!r} is declared twice")
        keys = [*self.primary_key, *(k for k in (self.sequence_key, self.sequence_index) if k is not None)]
        for key in keys:
            if key not in names:
                raise ValueError(f"key column {key!r} is not among the columns")
        return self

    def column(self, name: str) -> ColumnSchema:
        """The column of that name. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


class ForeignKey(Contract):
    """Rows of one table that name rows of another."""

    table: Name
    columns: tuple[Name, ...] = Field(min_length=1)
    references: Name
    referenced_columns: tuple[Name, ...] = Field(min_length=1)


class DatasetSchema(Contract):
    """Every table of a dataset and how they hang together."""

    tables: tuple[TableSchema, ...] = Field(min_length=1)
    foreign_keys: tuple[ForeignKey, ...] = ()
