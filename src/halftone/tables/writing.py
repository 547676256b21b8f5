"""A Parquet file written in the background, that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_GROUP_BYTES = 32 * 2**20
_GROUP_ROWS = 2**19
_SAMPLE_ROWS = 2**14
_FEW = 16


class TableWriter:
    """Collects batches into row groups of bounded size, and writes one while the next is made."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._writer: pq.ParquetWriter | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._batches: list[pa.RecordBatch] = []
        self._bytes = self._rows = 0
        self._pending: Future[None] | None = None
        self._kept: dict[bytes, bytes] = {}

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows. Blocks while the disk is behind, so that memory stays bounded."""
        self._batches.append(batch)
        self._bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._bytes >= _GROUP_BYTES or self._rows >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._wait()
        if self._batches:
            table = pa.Table.from_batches(self._batches, self._schema)
            self._batches, self._bytes, self._rows = [], 0, 0
            self._pending = self._pool.submit(self._write, table)

    def _write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd", use_dictionary=_repetitive(table))
        self._writer.write_table(table, _GROUP_ROWS)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def note(self, kept: dict[bytes, bytes]) -> None:
        """Keep texts in the footer, by their keys."""
        self._kept |= kept

    def finish(self) -> None:
        """Write what is left, and the footer."""
        self._flush()
        self._wait()
        if self._writer is None:
            self._write(self._schema.empty_table())
        if self._writer is not None and self._kept:
            self._writer.add_key_value_metadata(self._kept)

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._pool.shutdown()
        if self._writer is not None:
            self._writer.close()


def _repetitive(table: pa.Table) -> list[str]:
    """The columns in which values come again: a dictionary of the others doubles the time to write them, and then is thrown away."""
    sample = table.slice(0, _SAMPLE_ROWS)
    most = max(_FEW, sample.num_rows // 4)
    return [name for name in sample.column_names if pc.count_distinct(sample[name]).as_py() <= most]


@contextlib.contextmanager
def partial(target: Path) -> Iterator[Path]:
    """A path beside the target that takes its place if the block ends well, and is removed if not."""
    path = target.with_name(f"{target.name}.part")
    try:
        yield path
        _sync(path)
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: Path, schema: pa.Schema) -> Iterator[TableWriter]:
    """Write batches of one schema to a Parquet file (zstd)."""
    writer = TableWriter(path, schema)
    try:
        yield writer
        writer.finish()
    finally:
        writer.close()
