"""Parquet to our Parquet: the few types that a stored table may have, and no others."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from halftone.tables.errors import ColumnTypeUnsupported, FileDamaged, FileEmpty, FileTooLarge, TooManyRows
from halftone.tables.header import check_names
from halftone.tables.limits import Ingested, Limits, Progress
from halftone.tables.options import ReadOptions
from halftone.tables.source import Source
from halftone.tables.stored import column_type
from halftone.tables.writing import TableWriter, writing

_BATCH_ROWS = 2**16
_INT64_MAX = 2**63 - 1


def convert(source: Source, target: Path, limits: Limits, progress: Progress, _options: ReadOptions) -> Ingested:
    """Write a Parquet file with the types of a stored table. Raises a TableError; what is at the target then is of no use.

    Whole numbers beyond 64 bits become text, decimals become doubles, and NaN becomes missing.
    """
    try:
        with pq.ParquetFile(source.path, buffer_size=1 << 20) as file:
            return _convert(file, target, limits, progress)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FileDamaged("the Parquet file cannot be decoded: write and upload it again") from None


def _convert(file: pq.ParquetFile, target: Path, limits: Limits, progress: Progress) -> Ingested:
    schema = file.schema_arrow
    check_names(schema.names, limits)
    rows = file.metadata.num_rows
    if rows > limits.rows:
        raise TooManyRows(f"the table has {rows:,} rows; {limits.rows:,} is the most", rows=rows, limit=limits.rows)
    if rows == 0:
        raise FileEmpty("the Parquet file has no rows: at least one row is needed")
    stored = pa.schema([(field.name, _stored_type(file, field)) for field in schema])
    with writing(target, stored) as writer:
        data_bytes = _copy(file, writer, stored, limits, progress)
    return Ingested(
        rows=rows,
        columns=tuple((field.name, column_type(field.type)) for field in stored),
        source_format="parquet",
        compression=None,
        data_bytes=data_bytes,
    )


def _copy(file: pq.ParquetFile, writer: TableWriter, stored: pa.Schema, limits: Limits, progress: Progress) -> int:
    data_bytes = done = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        data_bytes += batch.nbytes
        if data_bytes > limits.data_bytes:
            raise FileTooLarge(f"the file holds more than {limits.data_bytes:,} bytes of data: upload it in parts", limit=limits.data_bytes)
        arrays = [_as_stored(array, field.type) for array, field in zip(batch.columns, stored, strict=True)]
        writer.write(pa.RecordBatch.from_arrays(arrays, schema=stored))
        done += batch.num_rows
        progress(done / file.metadata.num_rows)
    return data_bytes


def _stored_type(file: pq.ParquetFile, field: pa.Field) -> pa.DataType:
    type_ = field.type.value_type if pt.is_dictionary(field.type) else field.type
    if pt.is_integer(type_):
        return pa.string() if pt.is_uint64(type_) and _beyond_int64(file, field.name) else pa.int64()
    if pt.is_floating(type_) or pt.is_decimal(type_):
        return pa.float64()
    if pt.is_boolean(type_):
        return pa.bool_()
    if pt.is_string(type_) or pt.is_large_string(type_) or pt.is_string_view(type_) or pt.is_null(type_):
        return pa.string()
    if pt.is_date(type_):
        return pa.date32()
    if pt.is_timestamp(type_):
        return pa.timestamp("ns" if type_.unit == "ns" else "us", "UTC" if type_.tz else None)
    if pt.is_time(type_):
        return pa.time64("ns" if type_.unit == "ns" else "us")
    raise ColumnTypeUnsupported(
        f"column {field.name!r} holds values of type {type_}: numbers, booleans, text, dates and times can be used",
        column=field.name,
        found=str(type_),
    )


def _beyond_int64(file: pq.ParquetFile, name: str) -> bool:
    return any(
        pc.any(pc.greater(batch.column(0), pa.scalar(_INT64_MAX, pa.uint64()))).as_py()
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[name])
    )


def _as_stored(array: pa.Array, stored: pa.DataType) -> pa.Array:
    plain = array.dictionary_decode() if pt.is_dictionary(array.type) else array
    values = pc.cast(plain, stored)
    if pt.is_floating(stored):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, stored), values)
    return values
