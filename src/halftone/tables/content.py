"""What a table says, whatever file it came in: one hash for all the ways of writing down the same rows.

Two tables have the same content if they would be the same table had both come as CSV: the same columns, by name, and the same rows, as
often as they occur. The order of rows and of columns does not count, nor do format, compression, encoding, delimiter, line ends, whether
whole numbers are stored as doubles, days as moments at midnight, or numbers as text that reads as numbers. A row more, or one value
other than before, is another content.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from halftone.tables.limits import Progress, no_progress
from halftone.tables.narrow import EXACT, Narrowing
from halftone.tables.reader import MISSING
from halftone.tables.tally import mixed, text_hashes

VERSION = 1
"""Goes into the hash: another way of counting what is the same gives other hashes, and must say so."""
_BATCH_ROWS = 2**15
_MOST_BYTES = 2**22
"""Text that is hashed at a time, except for a row that alone has more: working space is some twenty times as much."""
_MOMENTS_A_DAY = 86_400 * 10**6
_MISSING = np.uint64(0x5EED_0F_A_9A9)
_LANE = np.uint64(0xD1B54A32D192ED03)

Hashes = npt.NDArray[np.uint64]


def content_hash(table_path: Path, *, progress: Progress = no_progress) -> str:
    """The content of a stored table, as 64 hexadecimal digits.

    Each value has a hash of 64 bits, and so has each row; what is added up over the rows does not depend on their order. Reads text
    columns until it is seen that they are no numbers, and then the whole table once, in batches: memory does not grow with the rows.
    """
    with pq.ParquetFile(table_path) as file:
        columns = [_Column(field) for field in file.schema_arrow]
        _narrow(file, [column for column in columns if column.text])
        sums, rows, total = np.zeros(2, np.uint64), 0, file.metadata.num_rows
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for part in _parts(batch):
                sums += _added(columns, part)
            rows += batch.num_rows
            progress(rows / max(1, total))
    said = [VERSION, rows, sorted(column.name for column in columns), *(f"{lane:016x}" for lane in sums.tolist())]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _parts(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    """The batch in parts that are small enough to work on."""
    rows = max(1, batch.num_rows * _MOST_BYTES // max(_MOST_BYTES, batch.nbytes))
    return [batch.slice(begin, rows) for begin in range(0, batch.num_rows, rows)]


def _added(columns: list[_Column], batch: pa.RecordBatch) -> Hashes:
    """The sum over some rows, shape (2,); sums of 64 bits go round."""
    row = np.zeros(batch.num_rows, np.uint64)
    for column, array in zip(columns, batch.columns, strict=True):
        row += column.hashes(array)
    return np.array([mixed(row).sum(dtype=np.uint64), mixed(row ^ _LANE).sum(dtype=np.uint64)])


def _narrow(file: pq.ParquetFile, columns: list[_Column]) -> None:
    """See what columns of text can be read as, in all of their rows."""
    if not columns:
        return
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[column.stored for column in columns]):
        for column, array in zip(columns, batch.columns, strict=True):
            column.see(array)
        if all(column.narrowing.settled for column in columns):
            return


class _Column:
    """One column: how its values are read, and hashed."""

    def __init__(self, field: pa.Field) -> None:
        self.stored: str = field.name
        self.name = field.name.strip()
        self.text = pt.is_string(field.type) or pt.is_large_string(field.type) or pt.is_null(field.type)
        self.narrowing = Narrowing()
        self._seed = np.uint64(int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big"))

    def see(self, array: pa.Array) -> None:
        if not self.narrowing.settled:
            self.narrowing.see(_without_markers(array))

    def hashes(self, array: pa.Array) -> Hashes:
        """A hash of each value that differs from those of other columns, shape (n,)."""
        values = self.narrowing.read(_without_markers(array)) if self.text else array
        hashes = np.full(len(values), _MISSING)
        hashes[_valid(values)] = _hashes(values.drop_null())
        return mixed(hashes ^ self._seed)


def _without_markers(array: pa.Array) -> pa.Array:
    """Text in which what stands for a missing value in a CSV file is one."""
    text = pc.cast(array, pa.string())
    return pc.if_else(pc.is_in(text, pa.array(MISSING)), pa.scalar(None, pa.string()), text)


def _valid(values: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.is_valid(values).to_numpy(zero_copy_only=False), np.bool_)


def _hashes(values: pa.Array) -> Hashes:
    """A hash of each value, none of them missing: by what it means, not by how it is stored."""
    type_ = values.type
    if pt.is_string(type_):
        encoded = pc.dictionary_encode(values)
        places: npt.NDArray[np.int32] = encoded.indices.to_numpy()
        return text_hashes(pc.cast(encoded.dictionary, pa.large_string()))[places]
    if pt.is_integer(type_) or pt.is_floating(type_):
        return mixed(_number(values.to_numpy(zero_copy_only=False)))
    if pt.is_boolean(type_):
        return mixed(values.to_numpy(zero_copy_only=False).astype(np.uint64) + np.uint64(_kind("truth")))
    return mixed(_moment(values) + np.uint64(_kind("time" if pt.is_time(type_) else "moment")))


def _kind(name: str) -> int:
    """What keeps five apart from five microseconds after 1970."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _number(values: npt.NDArray[Any]) -> Hashes:
    """The bits of the double that the number is; of a whole number that is none, its own."""
    doubles: npt.NDArray[np.float64] = values.astype(np.float64) + 0.0  # there is one zero
    bits: Hashes = doubles.view(np.uint64)
    if values.dtype.kind != "i":
        return bits
    # Not by the absolute value: that of the smallest integer is negative.
    beyond: npt.NDArray[np.bool_] = (values >= EXACT) | (values <= -EXACT)
    return np.where(beyond, values.astype(np.int64).view(np.uint64) ^ _LANE, bits)


def _moment(values: pa.Array) -> Hashes:
    """Microseconds, and what is left of nanoseconds in the bits that no year reaches."""
    if pt.is_date(values.type):
        days: npt.NDArray[np.int32] = values.view(pa.int32()).to_numpy()
        return (days.astype(np.int64) * _MOMENTS_A_DAY).view(np.uint64)
    units: npt.NDArray[np.int64] = values.view(pa.int64()).to_numpy()
    fine = values.type.unit == "ns"
    whole, rest = np.divmod(units, 1000 if fine else 1)
    return whole.view(np.uint64) ^ (rest.astype(np.uint64) << np.uint64(53))
