"""Verifying a whole log offline, in one pass: its entries, a signed checkpoint and the public key are all it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from halftone.merkle.canonical import check_canonical
from halftone.merkle.errors import CanonicalError, NoteError, TamperedError
from halftone.merkle.frontier import Frontier
from halftone.merkle.note import Checkpoint, verify
from halftone.merkle.tree import leaf_hash


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of a log that holds."""

    #: The signed checkpoint that the entries fulfil.
    checkpoint: Checkpoint
    #: Entries read.
    entries: int

    @property
    def uncovered(self) -> int:
        """Entries after those of the checkpoint: written, but not signed yet, and neither hashed nor parsed here."""
        return self.entries - self.checkpoint.size


def verify_log(
    entries: Iterable[bytes],
    checkpoint_note: str,
    vkey: str,
    *,
    leaf_hashes: Iterable[bytes] | None = None,
    earlier: Iterable[str] = (),
    origin: str | None = None,
) -> Report:
    """Check that the log's entries are those, in that order, to which a signed checkpoint commits.

    The checkpoint alone tells whether the log holds. To tell where it does not, give what else is at hand: recorded leaf hashes
    name the first bad entry (where entry and hash disagree the log fails, whichever of the two was altered), and earlier
    checkpoints narrow it to those between two of them.

    Args:
        entries: the canonical bytes of each entry, in order; read once, in O(log n) memory.
        checkpoint_note: the signed checkpoint.
        vkey: the log's verifier key.
        leaf_hashes: the hashes recorded beside the entries, in order.
        earlier: older signed checkpoints of the same log, in any order; they must hold too.
        origin: the log it must be of; None accepts every log for which the key signs.

    Raises:
        TamperedError: entries were edited, dropped, added or moved, or some are missing at the end; its ``index`` names the first
            bad entry where that can be told, its ``span`` the entries among which it is.
        KeyFormatError: the verifier key is malformed.
        NoteError: a checkpoint is malformed, of another log, or an earlier one is not earlier.
        SignatureError: a checkpoint is not signed by the key, or was altered.

    """
    checkpoint = verify(checkpoint_note, vkey, origin=origin)
    marks = _marks(checkpoint, earlier, vkey)
    source = iter(entries)
    recorded = None if leaf_hashes is None else iter(leaf_hashes)
    frontier = Frontier()
    for mark in marks:
        proven = frontier.size
        _grow(frontier, source, recorded, mark)
        if frontier.root() != mark.root:
            raise TamperedError(
                f"The entries {proven} to {mark.size - 1} are not those that were signed{_but(proven)}.", span=range(proven, mark.size)
            )
    return Report(checkpoint, checkpoint.size + sum(1 for _ in source))


def _marks(checkpoint: Checkpoint, earlier: Iterable[str], vkey: str) -> list[Checkpoint]:
    """All checkpoints to pass, one per size, by rising size; the last is the one that is verified."""
    marks = {checkpoint.size: checkpoint}
    for text in earlier:
        older = verify(text, vkey, origin=checkpoint.origin)
        if older.size > checkpoint.size:
            raise NoteError(f"An earlier checkpoint has {older.size} entries, more than the {checkpoint.size} of the one to verify.")
        if marks.setdefault(older.size, older) != older:
            message = f"Two signed checkpoints of {older.size} entries contradict each other: the log was forked."
            raise TamperedError(message, span=range(older.size))
    return [marks[size] for size in sorted(marks)]


def _grow(frontier: Frontier, source: Iterator[bytes], recorded: Iterator[bytes] | None, mark: Checkpoint) -> None:
    """Append the entries up to a checkpoint, stopping at the first that is missing, not as recorded or not canonical."""
    proven = frontier.size
    for index in range(proven, mark.size):
        # What the record vouches for is not suspect; without one, a fault seen here may have begun at any unproven entry.
        first = proven if recorded is None else index
        entry = next(source, None)
        if entry is None:
            raise _missing(index, first, mark)
        leaf = leaf_hash(entry)
        if recorded is not None and next(recorded, None) != leaf:
            raise TamperedError(
                f"Entry {index} does not have the hash that was recorded for it.", span=range(index, index + 1), index=index
            )
        try:
            check_canonical(entry)
        except CanonicalError as error:
            message = f"Entry {index} is not as the log writes entries: {error}"
            raise TamperedError(message, span=range(first, index + 1), index=index) from error
        frontier.append(leaf)


def _missing(count: int, first: int, mark: Checkpoint) -> TamperedError:
    """Fewer entries than were signed: which are missing can be told only if all that are there are vouched for."""
    message = f"The log has {count} entries where {mark.size} were signed"
    if first == count:
        return TamperedError(f"{message}: it ends before entry {count}.", span=range(count, count + 1), index=count)
    return TamperedError(f"{message}{_but(first)}.", span=range(first, mark.size))


def _but(proven: int) -> str:
    return f"; the first {proven} hold" if proven else ""
