"""Tables in and out: files, bytes, Arrow and pandas. pyarrow and pandas are imported where they are used, and not before."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftone.client.errors import TableNotUsable
from halftone.client.request import FilePart

if TYPE_CHECKING:
    import pyarrow as pa

Source = str | os.PathLike[str] | bytes | Any
"""A path, the bytes of a file, an Arrow table, a pandas frame, or anything else with ``__arrow_c_stream__`` (polars, DuckDB)."""


def file_part(source: Source, filename: str | None) -> FilePart:
    """What is uploaded for a source. Raises TableNotUsable."""
    if isinstance(source, str | os.PathLike):
        path = Path(source).expanduser()
        if not path.is_file():
            raise TableNotUsable(f"There is no file {str(path)!r}.", path=str(path))
        return FilePart(filename or path.name, lambda: path.open("rb"))
    if isinstance(source, bytes | bytearray | memoryview):
        return FilePart.of_bytes(filename or "table.csv", bytes(source))
    return FilePart.of_bytes(filename or "table.parquet", _parquet(_as_arrow(source)), "application/vnd.apache.parquet")


def _as_arrow(source: Any) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415  # heavy, and not for every use

    if isinstance(source, pa.Table):
        return source
    try:
        if type(source).__module__.partition(".")[0] == "pandas":
            # An index is no column: who wants it as one says reset_index().
            return pa.Table.from_pandas(source, preserve_index=False)
        if hasattr(source, "__arrow_c_stream__"):
            return pa.table(source)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise TableNotUsable(f"The {type(source).__name__} cannot be made an Arrow table: {error}.") from error
    raise TableNotUsable(f"A {type(source).__name__} is no table: give a path, bytes, an Arrow table or a pandas frame.")


def _parquet(table: pa.Table) -> bytes:
    import pyarrow as pa  # noqa: PLC0415  # heavy, and not for every use
    import pyarrow.parquet as pq  # noqa: PLC0415  # heavy, and not for every use

    columns = [column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column for column in table.itercolumns()]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, names=table.column_names), sink, compression="zstd")
    return sink.getvalue()


def arrow_table(content: bytes) -> pa.Table:
    """The table of a Parquet file."""
    import pyarrow as pa  # noqa: PLC0415  # heavy, and not for every use
    import pyarrow.parquet as pq  # noqa: PLC0415  # heavy, and not for every use

    return pq.read_table(pa.BufferReader(content))
