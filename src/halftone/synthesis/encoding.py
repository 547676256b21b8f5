"""One encoding for all engines: a table of declared columns as codes, and back.

Codes depend on the public schema and on a row's own values, never on other rows, so a row added or removed is one code per column more or
less. What is outside a declared domain is moved into it without a word: to say how often that happens would be a query on its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.privacy.measure import Measurer, Noise
from halftone.synthesis.columns import ColumnEncoder, DrawnColumn, FreshColumn, ListedColumn
from halftone.synthesis.domain import DomainNotDeclared
from halftone.synthesis.numeric import RangeColumn

__all__ = ["DomainNotDeclared", "Encoding", "open_handle"]

_NUMBERED = frozenset({ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.CATEGORICAL, ColumnType.TEXT})
"""Types of which there are as many different values as rows."""


class Encoding:
    """The columns of a schema that are modelled, with their encoders, and those made fresh.

    Made fresh are columns with a PII class, a primary key of one column, and free text (null, if it may be). Raises DomainNotDeclared for
    the first other column without a public domain.
    """

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self.columns: dict[str, ColumnEncoder] = {}
        self.fresh: dict[str, FreshColumn | DrawnColumn] = {}
        for column in schema.columns:
            key = schema.primary_key == (column.name,) and column.type in _NUMBERED
            if (
                key
                or column.type is ColumnType.TEXT
                or (column.pii is not None and column.type in _NUMBERED and not column.domain_declared)
            ):
                self.fresh[column.name] = FreshColumn(column, key=key)
            elif column.pii is not None:
                self.fresh[column.name] = DrawnColumn(_encoder(column))
            else:
                self.columns[column.name] = _encoder(column)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of codes per modelled column."""
        return {name: column.size for name, column in self.columns.items()}

    def encode(self, table: pa.Table) -> dict[str, NDArray[np.int32]]:
        """Codes per modelled column, shape (rows,). Raises KeyError for a declared column that the table has not."""
        return {name: encoder.encode(table.column(name)) for name, encoder in self.columns.items()}

    def decode(self, codes: Mapping[str, NDArray[Any]], rows: int, rng: np.random.Generator, *, first: int = 0) -> pa.Table:
        """A table of the declared columns, in their order and types; codes have shape (rows,).

        Of a table that is made in parts, ``first`` is how many rows came before: what is numbered goes on there.
        """
        arrays = {
            name: self.fresh[name].make(rows, rng, first=first) if name in self.fresh else self.columns[name].decode(codes[name], rng)
            for name in (column.name for column in self.schema.columns)
        }
        return pa.table(arrays)


def open_handle(table: pa.Table, schema: TableSchema, rho: int, *, noise: Noise | None = None) -> Measurer:
    """The handle that an engine gets on a table, with a grant of rho in 1e-12. Raises DomainNotDeclared, and KeyError for a missing column.

    ``noise`` is a test's seam.
    """
    encoding = Encoding(schema)
    return Measurer(encoding.encode(table), encoding.sizes, rows=table.num_rows, rho=rho, noise=noise)


def _encoder(column: ColumnSchema) -> ColumnEncoder:
    if column.type is ColumnType.BOOLEAN:
        return ListedColumn((False, True), nullable=column.nullable)
    if column.type is not ColumnType.CATEGORICAL:
        return RangeColumn(column)
    if column.categories is None:
        raise DomainNotDeclared(column.name, "categories")
    return ListedColumn(column.categories, nullable=column.nullable)
