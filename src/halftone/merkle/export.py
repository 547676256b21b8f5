"""An exported log, or a stretch of one, in one file that proves itself: JSON lines, to be checked with the public key alone.

The first line is the head: the signed checkpoint, what proves the stretch whole, key rotations, and other checkpoints that help to say
where an altered file is wrong. Each line after it is one entry, exactly ``{"entry":E,"index":N,"leaf":"H"}``, where the bytes of E are
what is hashed to H.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from halftone.merkle.canonical import canonical
from halftone.merkle.errors import ProofError, TamperedError
from halftone.merkle.note import Checkpoint
from halftone.merkle.rotation import Keys
from halftone.merkle.stretch import Stretch
from halftone.merkle.tree import leaf_hash
from halftone.merkle.verify import Report, Row, verify_rows

FORMAT = "halftone-log/1"
MOST_NOTES = 256
"""Other checkpoints that a head carries at most."""
_LINE = re.compile(rb'\{"entry":(\{.*\}),"index":(0|[1-9][0-9]{0,18}),"leaf":"([0-9a-f]{64})"\}', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Head:
    """What the first line of an export says."""

    stretch: Stretch
    checkpoint: str
    key: str
    """The key that signed the checkpoint, for information: who checks brings the key that they trust."""
    rotations: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()

    def line(self) -> bytes:
        """The line, with its end."""
        fields = {
            "format": FORMAT,
            "checkpoint": self.checkpoint,
            "key": self.key,
            "rotations": list(self.rotations),
            "checkpoints": list(self.checkpoints),
            **self.stretch.to_dict(),
        }
        return canonical(fields) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Head:
        """Read the first line.

        Raises:
            ProofError: it is none.

        """
        try:
            data = json.loads(line)
            texts: list[Any] = [data["checkpoint"], data["key"], *data["rotations"], *data["checkpoints"]]
            known = data["format"] == FORMAT and all(isinstance(text, str) for text in texts)
        except (ValueError, KeyError, TypeError, RecursionError):
            known = False
        if not known:
            raise ProofError(f"The first line is not the head of an exported log ({FORMAT}).")
        return cls(Stretch.from_dict(data), data["checkpoint"], data["key"], tuple(data["rotations"]), tuple(data["checkpoints"]))


def entry_line(index: int, leaf: bytes, entry: bytes) -> bytes:
    """One entry of an export, with the end of its line."""
    return b'{"entry":%b,"index":%d,"leaf":"%b"}\n' % (entry, index, leaf.hex().encode())


def verify_export(lines: Iterable[bytes], vkey: str, *, since: Sequence[str] = (), origin: str | None = None) -> tuple[Head, Report]:
    """Check an exported log, or a stretch of one, with a key and, of a whole log, with checkpoints that were kept from before.

    Raises:
        TamperedError: entries were edited, dropped, added or moved; ``index`` and ``span`` say where.
        ProofError: the file is no export, or a stretch cannot be compared with an earlier checkpoint.
        NoteError, SignatureError, KeyFormatError: of the checkpoints and keys.

    """
    source = iter(lines)
    head = Head.parse(next(source, b""))
    stretch, rows = head.stretch, _rows(source, head.stretch.start)
    checkpoint = Keys(vkey, head.rotations).verify(head.checkpoint, origin=origin)
    if checkpoint.size != stretch.size:
        raise ProofError(f"The export is of a log of {stretch.size} entries, its checkpoint of {checkpoint.size}.")
    if (stretch.start, stretch.end) == (0, stretch.size):
        report = verify_rows(rows, head.checkpoint, vkey, earlier=[*since, *head.checkpoints], origin=origin, rotations=head.rotations)
        if report.uncovered:
            raise _unsigned(checkpoint.size, report.entries)
        return head, report
    if since:
        raise ProofError("An earlier checkpoint can be compared with a whole log, and not with a stretch of one: export it from entry 0.")
    _verify_stretch(rows, stretch, checkpoint)
    return head, Report(checkpoint, checkpoint.size)


def _verify_stretch(rows: Iterator[Row], stretch: Stretch, checkpoint: Checkpoint) -> None:
    frontier, index = stretch.begin(), stretch.start
    for row in rows:
        if index == stretch.end:
            raise _unsigned(index, index + 1)
        frontier.append(_leaf(row, index))
        index += 1
    if index < stretch.end:
        message = f"The stretch ends before entry {index}: it should have those up to {stretch.end - 1}."
        raise TamperedError(message, span=range(index, index + 1), index=index)
    if stretch.close(frontier) != checkpoint.root:
        message = f"The entries {stretch.start} to {stretch.end - 1} are not those that were signed, or the hashes around them are not."
        raise TamperedError(message, span=range(stretch.start, max(stretch.end, stretch.start + 1)))


def _leaf(row: Row, index: int) -> bytes:
    """The hash of an entry of a stretch, which must be in its place and as it was recorded."""
    found = leaf_hash(row.entry)
    if (row.place, row.leaf) != (index, found):
        moved = row.place != index
        told = f"is missing: entry {row.place} is in its place" if moved else "does not have the hash that was recorded for it"
        raise TamperedError(f"Entry {index} {told}.", span=range(index, index + 1), index=index)
    return found


def _rows(lines: Iterator[bytes], start: int) -> Iterator[Row]:
    for index, line in enumerate(lines, start):
        match = _LINE.fullmatch(line.removesuffix(b"\n"))
        if match is None:
            message = f"Entry {index} is not written as an export writes entries."
            raise TamperedError(message, span=range(index, index + 1), index=index)
        yield Row(match[1], bytes.fromhex(match[3].decode()), None, int(match[2]))


def _unsigned(size: int, count: int) -> TamperedError:
    return TamperedError(
        f"The export has entries from {size} on, which nothing in it vouches for.", span=range(size, max(count, size + 1)), index=size
    )
