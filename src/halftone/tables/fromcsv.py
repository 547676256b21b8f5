"""CSV to Parquet: written while it is read, on the types seen so far, and once more if a later row shows them wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from halftone.tables.errors import FileEmpty, TooManyRows
from halftone.tables.header import Header, read_header
from halftone.tables.limits import Ingested, Limits, Progress
from halftone.tables.narrow import Kind, Narrowing
from halftone.tables.options import ReadOptions
from halftone.tables.reader import CsvReader
from halftone.tables.source import Source
from halftone.tables.text import located
from halftone.tables.writing import writing

_THREADS = 2
_TASKS = 32
"""Into which a block's columns are divided: a table may have thousands."""


class _Conversion:
    """One file on its way: what is known of its columns, and whether what was written still agrees with it."""

    def __init__(self, source: Source, limits: Limits, options: ReadOptions, pool: ThreadPoolExecutor) -> None:
        self.header: Header = read_header(source, limits, options)
        self.columns = [Narrowing() for _ in self.header.names]
        self.rows = 0
        self.reader = CsvReader(source, self.header, limits)
        self._limits, self._pool = limits, pool

    @property
    def kinds(self) -> list[Kind]:
        return [column.kind for column in self.columns]

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, kind.arrow) for name, kind in zip(self.header.names, self.kinds, strict=True)])

    def first_pass(self, target: Path, read_to: Callable[[int], None]) -> bool:
        """See every row; write them too, until a column turns out wider than its first block. Returns whether all were written."""
        batches = self._seen(read_to)
        first = next(batches)
        begun = self.kinds
        with writing(target, self.schema) as writer:
            writer.write(first)
            for batch in batches:
                if self.kinds != begun:
                    break
                writer.write(batch)
            else:
                return True
        for _ in batches:
            pass
        return False

    def second_pass(self, target: Path, read_to: Callable[[int], None]) -> None:
        """Write every row, on the types of the whole file."""
        with writing(target, self.schema) as writer:
            for batch in self.reader.batches(read_to):
                writer.write(self._typed(Narrowing.read, batch))

    def _seen(self, read_to: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
        for batch in self.reader.batches(read_to):
            self.rows += batch.num_rows
            if self.rows > self._limits.rows:
                raise TooManyRows(f"the table has more than {self._limits.rows:,} rows, which is the most", limit=self._limits.rows)
            yield self._typed(Narrowing.see, batch)

    def _typed(self, read: Callable[[Narrowing, pa.Array], pa.Array], batch: pa.RecordBatch) -> pa.RecordBatch:
        pairs = list(zip(self.columns, batch.columns, strict=True))
        size = -(-len(pairs) // _TASKS)
        some = [pairs[begin : begin + size] for begin in range(0, len(pairs), size)]
        done = self._pool.map(lambda part: [read(column, array) for column, array in part], some)
        arrays = [array for part in done for array in part]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def convert(source: Source, target: Path, limits: Limits, progress: Progress, options: ReadOptions) -> Ingested:
    """Write a CSV file as Parquet. Raises a TableError; what is at the target then is of no use."""

    def share(start: float, end: float) -> Callable[[int], None]:
        return lambda position: progress(start + (end - start) * min(1.0, position / source.size))

    with located(source), ThreadPoolExecutor(_THREADS, thread_name_prefix="columns") as pool:
        conversion = _Conversion(source, limits, options, pool)
        if not conversion.first_pass(target, share(0.0, 0.5)):
            conversion.second_pass(target, share(0.5, 1.0))
    if conversion.rows == 0:
        raise FileEmpty("the file has a header line and no rows: at least one row is needed")
    names, kinds = conversion.header.names, conversion.kinds
    return Ingested(
        rows=conversion.rows,
        columns=tuple((name, kind.type) for name, kind in zip(names, kinds, strict=True)),
        source_format="csv",
        compression=source.compression,
        data_bytes=conversion.reader.data_bytes,
        delimiter=conversion.header.delimiter,
        quote=conversion.header.quote,
        encoding=source.encoding,
    )
