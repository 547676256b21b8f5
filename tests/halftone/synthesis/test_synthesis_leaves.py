"""Noisy counts of single columns: two looks at a long range, put together."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.synthesis.encoding import Encoding, open_handle
from halftone.synthesis.leaves import Leaves, _combined, measure_leaves

RHO = 10**11


def test_two_looks_count_by_what_each_is_worth_and_a_split_cell_by_the_second_alone() -> None:
    """Inverse-variance weights: 10 (variance 1) and 20 (variance 3) are 12.5 (variance 0.75)."""
    first = Leaves(np.array([0, 4]), np.array([10.0, 100.0]), np.array([1.0, 1.0]), 8)
    second = Leaves(np.array([0, 4, 6]), np.array([20.0, 30.0, 60.0]), np.array([3.0, 3.0, 3.0]), 8)
    both = _combined(first, second)
    assert both.starts.tolist() == [0, 4, 6]
    assert both.widths.tolist() == [4, 2, 2]
    assert both.counts.tolist() == pytest.approx([12.5, 30.0, 60.0])
    assert both.variance.tolist() == [0.75, 3.0, 3.0]


def test_where_the_rows_are_a_long_range_is_seen_finely() -> None:
    """Values under a thousandth of a range's length fall in one cell at first, and in many at the second look; no row is lost."""
    schema = TableSchema(columns=(ColumnSchema(name="pay", type=ColumnType.NUMBER, minimum=0, maximum=1e7, nullable=True),))
    values = np.linspace(1, 30_000, 5000)
    table = pa.table({"pay": pa.array(values, mask=values < 600)})
    leaves = measure_leaves(open_handle(table, schema, RHO, noise=lambda exact, _: exact), Encoding(schema), RHO)["pay"]
    assert leaves.counts.sum() == 5000
    assert (leaves.counts > 0).sum() > 100
    assert leaves.counts[-1] == (values < 600).sum()
