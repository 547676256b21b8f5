"""A few rows of a stored table, picked at random, for a person to look at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from halftone.tables.wording import json_lines

MOST_ROWS = 100


def pick(table_path: Path, *, seed: int, most: int = MOST_ROWS) -> bytes:
    """At most that many rows as a JSON document: ``columns``, their names in order, and ``rows``, one object each, in random order.

    Every row is equally likely to be among them. Values are written as in JSON lines (``halftone.tables.export``). Row groups without a
    picked row are not read.
    """
    with pq.ParquetFile(table_path) as file:
        schema, rng = file.schema_arrow, np.random.default_rng(seed)
        places = np.sort(rng.choice(file.metadata.num_rows, min(most, file.metadata.num_rows), replace=False))
        lines = b"".join(json_lines(schema, _rows(file, places))).splitlines()
    rows = b",".join(lines[place] for place in rng.permutation(len(lines)))
    return b'{"columns":' + json.dumps(schema.names, ensure_ascii=False).encode() + b',"rows":[' + rows + b"]}"


def _rows(file: pq.ParquetFile, places: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Iterator[pa.RecordBatch]:
    """The rows at places of the whole table, which ascend."""
    begin = 0
    for group in range(file.num_row_groups):
        end = begin + file.metadata.row_group(group).num_rows
        here = places[(begin <= places) & (places < end)] - begin
        if len(here):
            yield from file.read_row_group(group).take(pa.array(here)).to_batches()
        begin = end
