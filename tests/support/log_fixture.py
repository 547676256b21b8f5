"""A log as the auditor keeps it, in a database of its own, with a key and checkpoints: something to verify, and to tamper with."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted
from contracts.ids import new_id
from contracts.jobs import NoopSpec
from halftone.merkle import Checkpoint, Head, MemoryNodes, Stretch, canonical, entry_line, leaf_hash, root, sign_checkpoint, verifier_key

NAME = "halftone"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = verifier_key(NAME, KEY.public_key())


def event() -> Envelope:
    return Envelope.wrap(JobAccepted(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")


def body(envelope: Envelope) -> bytes:
    return canonical(envelope.model_dump(mode="json", exclude_none=True))


def note(nodes: MemoryNodes, size: int, key: Ed25519PrivateKey = KEY) -> str:
    return sign_checkpoint(Checkpoint(NAME, size, root(size, nodes.get)), key, NAME)


def exported(entries: list[bytes], start: int = 0, end: int | None = None, checkpoints: tuple[int, ...] = ()) -> list[bytes]:
    """The lines of an export of entries, or of a stretch of them, under a checkpoint over all."""
    leaves = [leaf_hash(entry) for entry in entries]
    nodes, size = MemoryNodes(leaves), len(entries)
    stretch = Stretch.make(start, size if end is None else end, size, nodes.get)
    head = Head(stretch, note(nodes, size), VKEY, (), tuple(note(nodes, each) for each in checkpoints))
    return [head.line(), *(entry_line(i, leaves[i], entries[i]) for i in range(stretch.start, stretch.end))]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A database, closed in the end, its changes kept."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield connection
        connection.commit()
