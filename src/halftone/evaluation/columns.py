"""Two tables as arrays that can be compared: doubles for what has an order and a distance, codes for everything else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from contracts.schema import BOUNDED, ColumnType, TableSchema
from halftone.evaluation.errors import ColumnIncomparable, ColumnsMissing, TableEmpty

Values = npt.NDArray[np.float64] | npt.NDArray[np.int64]
_FEW = 20
"""A number with at most this many distinct values is compared value by value, unless a schema says otherwise."""
_NAMES_FROM = 50


class Kind(StrEnum):
    """How a column is compared."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TEXT = "text"
    """Identifiers and free text: their values are not meant to recur, so shapes and pairs leave them out."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of both tables."""

    name: str
    kind: Kind
    size: int
    """Number of codes, the last of which stands for missing; 0 for a numeric column, where missing is NaN."""
    real: Values
    """Shape (rows,): float64 if numeric; else int64 codes, in order of first appearance in the real table."""
    synthetic: Values

    def against(self, other: Values) -> Column:
        """The same real column beside another one."""
        return replace(self, synthetic=other)


def load(real: pa.Table, synthetic: pa.Table, *, schema: TableSchema | None = None, numeric: Collection[str] | None = None) -> list[Column]:
    """Read the columns of the real table from both; what the synthetic one has besides is left out.

    The schema's type decides how a column is compared, ``numeric`` overrides it, and without either numbers of more than 20 distinct
    values, dates and times are numeric. Raises TableEmpty, ColumnsMissing or ColumnIncomparable.
    """
    if not real.num_rows or not real.num_columns or not synthetic.num_rows:
        which = "synthetic" if real.num_rows and real.num_columns else "real"
        raise TableEmpty(f"the {which} table has no rows or no columns: there is nothing to compare", table=which)
    missing = [name for name in real.column_names if name not in synthetic.column_names]
    if missing:
        raise ColumnsMissing(
            f"the synthetic table lacks {', '.join(map(repr, missing[:10]))}{' and more' if len(missing) > 10 else ''}: it must have "
            "every column of the real one",
            columns=tuple(missing),
        )
    declared = {column.name: column.type for column in schema.columns} if schema else {}
    loaded = []
    for name in real.column_names:
        values = _without_nan(real[name])
        kind = _kind(values, declared.get(name))
        if numeric is not None:
            kind = Kind.NUMERIC if name in numeric else Kind.CATEGORICAL
        loaded.append(_column(name, kind, values, _without_nan(synthetic[name])))
    return loaded


def _without_nan(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pt.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    if pt.is_null(values.type):
        return pc.cast(values, pa.string())
    if pt.is_floating(values.type):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values


def _kind(values: pa.ChunkedArray, declared: ColumnType | None) -> Kind:
    if declared is not None:
        return Kind.NUMERIC if declared in BOUNDED else Kind.TEXT if declared is ColumnType.TEXT else Kind.CATEGORICAL
    if pt.is_temporal(values.type):
        return Kind.NUMERIC
    distinct = pc.count_distinct(values).as_py()
    if _is_number(values.type):
        return Kind.NUMERIC if distinct > _FEW else Kind.CATEGORICAL
    return Kind.TEXT if distinct > max(_NAMES_FROM, len(values) / 2) else Kind.CATEGORICAL


def _is_number(type_: pa.DataType) -> bool:
    return bool(pt.is_integer(type_) or pt.is_floating(type_) or pt.is_decimal(type_))


def _column(name: str, kind: Kind, real: pa.ChunkedArray, synthetic: pa.ChunkedArray) -> Column:
    try:
        if kind is Kind.NUMERIC:
            return Column(name, kind, 0, _numbers(real), _numbers(synthetic))
        return _coded(name, kind, real, synthetic)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise ColumnIncomparable(
            f"column {name!r} is {real.type} in the real table and {synthetic.type} in the synthetic one, and is compared as {kind}: "
            "both must have one type",
            column=name,
            real=str(real.type),
            synthetic=str(synthetic.type),
        ) from None


def _numbers(values: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """As doubles, shape (n,), missing as NaN; dates and times count in microseconds."""
    if pt.is_date(values.type) or pt.is_timestamp(values.type):
        values = pc.cast(pc.cast(values, pa.timestamp("us", getattr(values.type, "tz", None)), safe=False), pa.int64())
    elif pt.is_time(values.type):
        values = pc.cast(pc.cast(values, pa.time64("us"), safe=False), pa.int64())
    return np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _coded(name: str, kind: Kind, real: pa.ChunkedArray, synthetic: pa.ChunkedArray) -> Column:
    common = real.type
    if real.type != synthetic.type:
        common = pa.float64() if _is_number(real.type) and _is_number(synthetic.type) else pa.large_string()
    both = pa.chunked_array([*pc.cast(real, common).chunks, *pc.cast(synthetic, common).chunks], common)
    encoded = both.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    last = len(encoded.dictionary)
    codes = pc.fill_null(encoded.indices, pa.scalar(last, encoded.indices.type)).to_numpy(zero_copy_only=False).astype(np.int64)
    return Column(name, kind, last + 1, codes[: len(real)], codes[len(real) :])
