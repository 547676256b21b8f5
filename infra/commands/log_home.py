"""The log as a home on this machine keeps it: read, checked with all that is recorded beside it, and written out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands import places
from infra.commands.output import fail

if TYPE_CHECKING:
    from halftone.merkle import Report, Row

MOST_NOTES = 256
"""Kept checkpoints that are looked at to tell where a log goes wrong."""


class HomeLog:
    """Reads one state of the log: what is written meanwhile is not seen."""

    def __init__(self, connection: sqlite3.Connection, audit: Path) -> None:
        self._connection, self._audit = connection, audit

    def rows(self) -> Iterator[Row]:
        """Entries in order, as they are kept. Raises TamperedError where the database cannot be read."""
        from halftone.merkle import Row

        index = 0
        try:
            for place, event, entry, leaf in self._connection.execute("SELECT idx, event, entry, leaf FROM entries ORDER BY idx"):
                yield Row(_bytes(entry), _bytes(leaf), str(event), place)
                index += 1
        except sqlite3.Error as error:
            raise damaged(index, error) from error

    def nodes(self, level: int) -> Iterator[tuple[int, bytes]]:
        """The tree's nodes of a level, in order."""
        try:
            for index, value in self._connection.execute("SELECT idx, hash FROM nodes WHERE level = ? ORDER BY idx", (level,)):
                yield index, _bytes(value)
        except sqlite3.Error as error:
            raise damaged(0, error) from error

    def node(self, level: int, index: int) -> bytes:
        """One node. Raises MissingNodeError."""
        from halftone.merkle import MissingNodeError

        row = self._connection.execute("SELECT hash FROM nodes WHERE level = ? AND idx = ?", (level, index)).fetchone()
        if row is None:
            raise MissingNodeError(level, index)
        return _bytes(row[0])

    def notes(self) -> list[str]:
        """Checkpoints that were signed, spread over the log, the last among them."""
        try:
            notes = [str(row[0]) for row in self._connection.execute("SELECT note FROM checkpoints ORDER BY size DESC")]
        except sqlite3.Error:
            # An older home keeps none; a damaged one is found out by its entries.
            return []
        return notes[:: max(1, -(-len(notes) // MOST_NOTES))][::-1]

    def rotations(self) -> list[str]:
        """How the log's key changed."""
        return rotations(self._audit)

    def verify(self, checkpoint: str, key: str, since: Sequence[str]) -> Report:
        """Check everything. Raises LogError; a TamperedError as close to the fault as the kept checkpoints allow."""
        from halftone.merkle import LogError, TamperedError, verify_rows

        kept, turns = self.notes(), self.rotations()
        try:
            return verify_rows(self.rows(), checkpoint, key, nodes=self.nodes, earlier=[*since, *kept[-1:]], rotations=turns)
        except TamperedError as found:
            if len(found.span) < 2:
                raise
            try:
                verify_rows(self.rows(), checkpoint, key, earlier=[*since, *kept], rotations=turns)
            except TamperedError as closer:
                raise closer from None
            except LogError:
                # The kept checkpoints were tampered with as well.
                raise found from None
            raise


def _bytes(value: object) -> bytes:
    """What is kept as bytes; another type is as wrong as other bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


def damaged(index: int, error: sqlite3.Error) -> Exception:
    """The database of the log cannot be read."""
    from halftone.merkle import TamperedError

    return TamperedError(f"The log's database is damaged: reading entry {index}: {error}.", span=range(index, index + 1), index=index)


@contextmanager
def opened(home: Path | None) -> Iterator[HomeLog]:
    """The log of a home. Raises TamperedError where its database is none."""
    source = (places.home_of(home) / "db" / "auditor.sqlite").absolute()
    if not source.exists():
        fail(f"{source} does not exist: name the home with --home, or an exported log with --export")
    connection = sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise damaged(0, error) from error
        yield HomeLog(connection, audit_of(home))
    finally:
        connection.close()


def audit_of(home: Path | None) -> Path:
    """Where a home keeps keys and checkpoint."""
    from infra.home import Home

    return Home(places.home_of(home)).audit


def rotations(audit: Path) -> list[str]:
    """How the log's key changed, oldest first."""
    path = audit / "rotations.json"
    return list(json.loads(path.read_text())) if path.exists() else []


def write_out(log: HomeLog, checkpoint: str, key: str, target: Path, *, with_tiles: bool) -> int:
    """Write the log into a directory, with its own proof; how many entries. Raises LogError."""
    from halftone.merkle import Checkpoint, Head, Keys, Stretch, entry_line

    turns = log.rotations()
    signed: Checkpoint = Keys(key, turns).verify(checkpoint)
    stretch = Stretch.make(0, signed.size, signed.size, log.node)
    target.mkdir(parents=True, exist_ok=True)
    notes = [note for note in log.notes() if Keys(key, turns).verify(note).size <= signed.size]
    with (target / "log.jsonl").open("wb") as file:
        file.write(Head(stretch, checkpoint, key, tuple(turns), tuple(notes)).line())
        for index, row in enumerate(log.rows()):
            if index == signed.size:
                break
            file.write(entry_line(index, row.leaf or b"", row.entry))
    (target / "checkpoint").write_text(checkpoint)
    (target / "public-key").write_text(key + "\n")
    (target / "verify_log.py").write_bytes(files("halftone").joinpath("verify_log.py").read_bytes())
    if with_tiles:
        _write_tiles(log, signed.size, target)
    return signed.size


def _write_tiles(log: HomeLog, size: int, target: Path) -> None:
    """The log as C2SP tlog-tiles has it, beside its checkpoint."""
    from itertools import islice

    from halftone.merkle import entry_bundle, hash_tile, tiles

    rows = log.rows()
    for tile in tiles(size):
        path = target / "tile" / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        bundle = tile.level is None
        path.write_bytes(entry_bundle(row.entry for row in islice(rows, tile.width)) if bundle else hash_tile(tile, log.node))


def ask_for_rotation(home: Path) -> str:
    """Lay a new key ready for the auditor, which goes over to it; the public key that it has. Asking again changes nothing."""
    from halftone.merkle import dump_key, generate_key, load_key, verifier_key
    from infra.home import Home, write_secret

    path = Home(home).audit / "signing-key.next"
    if not path.exists():
        write_secret(path, dump_key(generate_key()) + "\n")
    return verifier_key("halftone", load_key(path.read_text()).public_key())
