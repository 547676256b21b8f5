"""JSON lines to Parquet: one object per line, keys in order of appearance, absent keys missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from halftone.tables.ahead import ahead
from halftone.tables.errors import FileEmpty
from halftone.tables.jsonlines import JsonReader
from halftone.tables.limits import Ingested, Limits, Progress
from halftone.tables.options import ReadOptions
from halftone.tables.source import Source
from halftone.tables.text import located
from halftone.tables.values import Block, store


def convert(source: Source, target: Path, limits: Limits, progress: Progress, _options: ReadOptions) -> Ingested:
    """Write a file of JSON lines as Parquet. Raises a TableError; what is at the target then is of no use."""
    reader = JsonReader(source, limits)
    turn = 0

    def blocks(as_text: bool) -> Iterator[Block]:
        nonlocal turn
        position = 0

        def read_to(where: int) -> None:
            nonlocal position
            position = where

        for block in ahead(reader.blocks(read_to, as_text=as_text)):
            progress(min(1.0, turn + position / source.size) / 2)
            yield block
        turn = 1

    with located(source):
        rows, kinds = store(blocks, (), target, limits)
    if rows == 0 or not kinds:
        raise FileEmpty("the file holds no object with a key: at least one is needed")
    return Ingested(
        rows=rows,
        columns=tuple((name, kind.type) for name, kind in kinds),
        source_format="jsonl",
        compression=source.compression,
        data_bytes=reader.data_bytes,
        encoding=source.encoding,
    )
