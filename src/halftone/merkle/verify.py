"""Verifying a whole log offline, in one pass: its entries, a signed checkpoint and the public key are all it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice, repeat
from typing import NamedTuple

from halftone.merkle.canonical import check_canonical
from halftone.merkle.errors import CanonicalError, TamperedError
from halftone.merkle.frontier import Frontier
from halftone.merkle.note import Checkpoint
from halftone.merkle.rotation import Keys

BATCH = 256
"""Entries that are hashed together."""

StoredNodes = Callable[[int], Iterable[tuple[int, bytes]]]
"""The nodes that a log keeps of one level, with their indexes, in order."""


class Row(NamedTuple):
    """An entry as a log keeps it, with what is recorded beside it; None where nothing is."""

    entry: bytes
    leaf: bytes | None = None
    event: str | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of a log that holds."""

    #: The largest signed checkpoint that the entries fulfil.
    checkpoint: Checkpoint
    #: Entries read.
    entries: int

    @property
    def uncovered(self) -> int:
        """Entries after those of the checkpoint: written, but not signed yet."""
        return self.entries - self.checkpoint.size


def verify_log(
    entries: Iterable[bytes],
    checkpoint_note: str,
    vkey: str,
    *,
    leaf_hashes: Iterable[bytes] | None = None,
    earlier: Iterable[str] = (),
    origin: str | None = None,
    rotations: Iterable[str] = (),
) -> Report:
    """Check that the log's entries are those, in that order, to which a signed checkpoint commits.

    The checkpoint alone tells whether the log holds. To tell where it does not, give what else is at hand: recorded leaf hashes
    name the first bad entry (where entry and hash disagree the log fails, whichever of the two was altered), and earlier
    checkpoints narrow it to those between two of them.

    Args:
        entries: the canonical bytes of each entry, in order; read once, in O(log n) memory. Those after the largest checkpoint are
            counted, and neither hashed nor parsed.
        checkpoint_note: the signed checkpoint.
        vkey: the log's verifier key: the one of today, or one of before with the rotations since.
        leaf_hashes: the hashes recorded beside the entries, in order.
        earlier: other signed checkpoints of the same log, in any order; they must hold too.
        origin: the log it must be of; None accepts every log for which the key signs.
        rotations: the notes by which the log went over from one key to the next.

    Raises:
        TamperedError: entries were edited, dropped, added or moved, or some are missing at the end; its ``index`` names the first
            bad entry where that can be told, its ``span`` the entries among which it is.
        KeyFormatError: the verifier key is malformed.
        NoteError: a checkpoint is malformed, or of another log.
        SignatureError: a checkpoint is not signed by the key, or was altered.

    """
    keys = Keys(vkey, rotations)
    marks = marks_of(checkpoint_note, earlier, keys, origin=origin)
    source = iter(entries)
    # Where hashes are recorded, one that is missing is as wrong as one that differs.
    recorded: Iterator[bytes | None] = repeat(None) if leaf_hashes is None else chain(leaf_hashes, repeat(b""))
    verifying = _Pass(map(Row, source, recorded), None)
    for mark in marks:
        verifying.reach(mark)
    return Report(marks[-1], verifying.size + sum(1 for _ in source))


def verify_rows(
    rows: Iterable[Row],
    checkpoint_note: str,
    vkey: str,
    *,
    nodes: StoredNodes | None = None,
    earlier: Iterable[str] = (),
    origin: str | None = None,
    rotations: Iterable[str] = (),
) -> Report:
    """Check a log with all that it keeps: also what is recorded beside its entries, and what no checkpoint covers yet.

    As :func:`verify_log`; the ``nodes`` that are kept must be those of the tree, all of them and no others.
    """
    marks = marks_of(checkpoint_note, earlier, Keys(vkey, rotations), origin=origin)
    verifying = _Pass(iter(rows), nodes)
    for mark in marks:
        verifying.reach(mark)
    verifying.finish()
    return Report(marks[-1], verifying.size)


def marks_of(checkpoint_note: str, earlier: Iterable[str], keys: Keys, *, origin: str | None = None) -> list[Checkpoint]:
    """All checkpoints to pass, one per size, by rising size; those at which the key was changed are among them.

    Raises:
        NoteError: one is malformed, or of another log.
        SignatureError: one is not signed by the log's keys.
        TamperedError: two of them contradict each other.

    """
    checkpoint = keys.verify(checkpoint_note, origin=origin)
    marks = {checkpoint.size: checkpoint}
    turns = (rotation.at for rotation in keys.rotations if rotation.at.size <= checkpoint.size)
    for other in chain((keys.verify(text, origin=checkpoint.origin) for text in earlier), turns):
        if marks.setdefault(other.size, other) != other:
            message = f"Two signed checkpoints of {other.size} entries contradict each other: the log was forked."
            raise TamperedError(message, span=range(other.size))
    return [marks[size] for size in sorted(marks)]


class _Pass:
    """One way through a log, from its first entry on."""

    def __init__(self, rows: Iterator[Row], nodes: StoredNodes | None) -> None:
        self._rows, self._nodes = rows, nodes
        self._frontier = Frontier()
        self._proven = 0
        self._recorded = True
        """Whether everything since the last checkpoint was vouched for by a recorded hash."""
        self._levels: list[Iterator[tuple[int, bytes]]] = []

    @property
    def size(self) -> int:
        return self._frontier.size

    def reach(self, mark: Checkpoint) -> None:
        """Append the entries up to a checkpoint, which must hold then."""
        while self.size < mark.size:
            if not self._batch(min(BATCH, mark.size - self.size)):
                raise self._missing(mark)
        if self._frontier.root() != mark.root:
            but = f"; the first {self._proven} hold" if self._proven else ""
            message = f"The entries {self._proven} to {mark.size - 1} are not those that were signed{but}."
            raise TamperedError(message, span=range(self._proven, mark.size))
        self._proven = mark.size
        self._recorded = True

    def finish(self) -> None:
        """Go through what is left, and see that no node is kept that the tree has not."""
        while self._batch(BATCH):
            pass
        if self._nodes is not None:
            for level in range(max(len(self._levels), self.size.bit_length()) + 1):
                for index, _ in self._level(level):
                    raise self._node_wrong(level, index)

    def _batch(self, count: int) -> int:
        leaves = self._leaves(count)
        if self._nodes is not None:
            self._compare(leaves)
        self._frontier.extend(leaves)
        return len(leaves)

    def _leaves(self, count: int) -> list[bytes]:
        """The hashes of the next entries, which must be as they are recorded."""
        index = self.size
        leaves = []
        for entry, recorded, event, place in islice(self._rows, count):
            if place is not None and place != index:
                raise _named(index, f"Entry {index} is missing: entry {place} is kept in its place.")
            leaf = sha256(b"\x00" + entry).digest()
            if recorded is None:
                self._recorded = False
                self._require_canonical(entry, index)
            elif recorded != leaf:
                raise _named(index, f"Entry {index} does not have the hash that was recorded for it.")
            if event is not None and b'"id":"%b"' % event.encode() not in entry:
                raise _named(index, f"Entry {index} is kept under the id {event[:40]!r}, which is not its own.")
            leaves.append(leaf)
            index += 1
        return leaves

    def _require_canonical(self, entry: bytes, index: int) -> None:
        try:
            check_canonical(entry)
        except CanonicalError as error:
            # Without a record, a fault that shows here may have begun at any entry that no checkpoint vouches for.
            message = f"Entry {index} is not as the log writes entries: {error}"
            raise TamperedError(message, span=range(self._proven, index + 1), index=index) from error

    def _missing(self, mark: Checkpoint) -> TamperedError:
        """Fewer entries than were signed: which are missing can be told only if all that are there are vouched for."""
        count = self.size
        message = f"The log has {count} entries where {mark.size} were signed"
        if self._recorded:
            return _named(count, f"{message}: it ends before entry {count}.")
        but = f"; the first {self._proven} hold" if self._proven else ""
        return TamperedError(f"{message}{but}.", span=range(self._proven, mark.size))

    def _level(self, level: int) -> Iterator[tuple[int, bytes]]:
        assert self._nodes is not None  # noqa: S101  # asked for only where there are any
        while len(self._levels) <= level:
            self._levels.append(iter(self._nodes(len(self._levels))))
        return self._levels[level]

    def _compare(self, leaves: list[bytes]) -> None:
        for level, index, value in self._frontier.completed(leaves):
            if next(self._level(level), None) != (index, value):
                raise self._node_wrong(level, index)

    def _node_wrong(self, level: int, index: int) -> TamperedError:
        first = index << level
        message = f"The tree's node {index} of level {level}, over the entries from {first} on, is not what the entries make it."
        return TamperedError(message, span=range(first, (index + 1) << level), index=first if level == 0 else None)


def _named(index: int, message: str) -> TamperedError:
    return TamperedError(message, span=range(index, index + 1), index=index)
