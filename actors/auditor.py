"""The auditor: makes every event a leaf of a Merkle tree, and signs what the tree has come to.

The log's order is its own. It knows an event by its id, so that a broker that repeats itself, or was replaced, adds nothing twice.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text, bindparam, func, select
from sqlalchemy.dialects.sqlite import insert

from contracts import subjects
from contracts.envelope import Context, Envelope
from contracts.ids import SYSTEM, derived_message_id
from contracts.jobs import Actor
from contracts.records import AuditAppended, AuditEntry, CheckpointSigned, DeadLetter
from halftone.merkle import (
    EMPTY_ROOT,
    CanonicalError,
    Checkpoint,
    appended,
    canonical,
    dump_key,
    generate_key,
    leaf_hash,
    load_key,
    root,
    sign_checkpoint,
    verifier_key,
    verify_checkpoint,
)
from infra import tracing
from infra.bus.tail import PositionLost, Stored, Tail
from infra.database.positions import read_position, write_position
from infra.database.prepared import Prepared
from infra.database.store import Transaction
from infra.home import Home, write_secret
from infra.runtime import Runtime, running
from infra.settings import Settings

log = structlog.get_logger()

ORIGIN = "halftone"
"""Name of the log and of its key."""
SIGN_EVERY = 0.25
"""Seconds between two checkpoints while the log grows."""
GATHER_SECONDS = 0.05
"""How long an event may wait for others, to be logged and announced with them."""
MOST_UNREADABLE = 64 * 1024
"""Bytes kept of a message that is no event."""
ENTRIES_PER_MESSAGE = 100
ENTRY_BYTES_PER_MESSAGE = 512 * 1024


class LogRolledBack(RuntimeError):
    """The log holds less than, or other than, what was signed before: nothing is signed until an operator has looked."""


def tables() -> MetaData:
    """The log: entries with their leaves, and the hashes of complete subtrees."""
    metadata = MetaData()
    Table(
        "entries",
        metadata,
        Column("idx", Integer, primary_key=True, autoincrement=False, comment="place in the log, from 0, without gaps"),
        Column("event", Text, nullable=False, unique=True),
        Column("entry", LargeBinary, nullable=False, comment="the event's envelope as canonical JSON (RFC 8785)"),
        Column("leaf", LargeBinary, nullable=False, comment="RFC 9162 leaf hash of the entry"),
    )
    Table(
        "nodes",
        metadata,
        Column("level", Integer, primary_key=True),
        Column("idx", Integer, primary_key=True),
        Column("hash", LargeBinary, nullable=False),
    )
    return metadata


_ENTRIES, _NODES = (tables().tables[name] for name in ("entries", "nodes"))
_SIZE = Prepared(select(func.coalesce(func.max(_ENTRIES.c.idx) + 1, 0).label("size")))
_NODE = Prepared(select(_NODES.c.hash).where((_NODES.c.level == bindparam("at")) & (_NODES.c.idx == bindparam("index"))))
_KNOWN = Prepared(select(_ENTRIES.c.idx).where(_ENTRIES.c.event == bindparam("id")))
_ADD_ENTRY, _ADD_NODE = Prepared(insert(_ENTRIES)), Prepared(insert(_NODES))


class Log:
    """The log's tables within one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._connection = tx.connection

    def size(self) -> int:
        return int(_SIZE.first(self._connection).size)

    def node(self, level: int, index: int) -> bytes:
        return bytes(_NODE.first(self._connection, at=level, index=index).hash)

    def append(self, envelopes: Sequence[Envelope]) -> list[AuditEntry]:
        """Add the events that are not in the log yet, in order."""
        new = self._unknown(envelopes)
        if not new:
            return []
        size = self.size()
        contents = [envelope.model_dump(mode="json", exclude_none=True) for envelope in new]
        bodies = [canonical(content) for content in contents]
        leaves = [leaf_hash(body) for body in bodies]
        rows = ({"idx": size + i, "event": envelope.id, "entry": bodies[i], "leaf": leaves[i]} for i, envelope in enumerate(new))
        _ADD_ENTRY.run_many(self._connection, rows)
        nodes = ({"level": level, "idx": index, "hash": digest} for level, index, digest in appended(size, leaves, self.node))
        _ADD_NODE.run_many(self._connection, nodes)
        return [AuditEntry(index=size + i, event=envelope.id, leaf=leaves[i].hex(), entry=contents[i]) for i, envelope in enumerate(new)]

    def _unknown(self, envelopes: Sequence[Envelope]) -> list[Envelope]:
        wanted = {envelope.id: envelope for envelope in envelopes}
        return [envelope for event, envelope in wanted.items() if _KNOWN.first(self._connection, id=event) is None]


class Auditor:
    """Appends what the stream brings, and signs."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._key = signing_key(runtime.home)
        self._verifier = verifier_key(ORIGIN, self._key.public_key())
        self._checkpoint_file = runtime.home.audit / "checkpoint"
        self._grown = asyncio.Event()

    async def take_in(self) -> None:
        """Follow the events for ever; a broker that was replaced is read from its start."""
        position, message_id = await self._runtime.store.write(partial(read_position, subjects.EVENTS))
        while True:
            tail = Tail(self._runtime.client, subjects.EVENTS, subjects.STORED_EVENTS_ALL, gather=GATHER_SECONDS)
            self._runtime.tally.behind = tail.behind
            try:
                await tail.follow(position, message_id, self._append)
            except PositionLost:
                log.warning("audit.position_lost", position=tail.position)
                position, message_id = 0, None

    async def _append(self, messages: Sequence[Stored]) -> None:
        envelopes = [_envelope(message) for message in messages]

        def change(tx: Transaction) -> int:
            entries = Log(tx).append(envelopes)
            for batch in _batches(entries):
                tx.send(_announcement(AuditAppended(entries=batch), f"appended:{batch[0].index}"))
            write_position(subjects.EVENTS, messages[-1].sequence, messages[-1].message_id, tx)
            return len(entries)

        # Below no event's span: a batch belongs to many traces, and names them.
        with tracing.span(
            "audit.append", links=[envelope.traceparent for envelope in envelopes], attributes={"halftone.events": len(envelopes)}
        ):
            added = await self._runtime.store.write(change)
        if added:
            log.info("audit.appended", entries=added, sequence=messages[-1].sequence)
            self._grown.set()

    async def sign(self) -> None:
        """Sign a checkpoint whenever the log has grown. Raises LogRolledBack."""
        await self._sign_once()
        while True:
            await self._grown.wait()
            self._grown.clear()
            await self._sign_once()
            await asyncio.sleep(SIGN_EVERY)

    async def _sign_once(self) -> None:
        before = last_signed(self._checkpoint_file, self._verifier)

        def change(tx: Transaction) -> str | None:
            held = Log(tx)
            size = held.size()
            _require_prefix(before, held, size)
            if size == before.size:
                return None
            note = sign_checkpoint(Checkpoint(ORIGIN, size, root(size, held.node)), self._key, ORIGIN)
            announcement = _announcement(CheckpointSigned(size=size, note=note), f"checkpoint:{size}")
            # A crash may have come between this commit and the file below; the note would be the same one.
            if not tx.has_sent(announcement.id):
                tx.send(announcement)
            return note

        note = await self._runtime.store.write(change)
        if note is not None:
            # Kept in a file of its own: a database put back from an older copy is found out by it.
            await asyncio.to_thread(write_secret, self._checkpoint_file, note)


def _envelope(message: Stored) -> Envelope:
    """The event; of a message that is none, a letter that holds it. Whatever the stream holds has a leaf, and nothing stops the log."""
    try:
        envelope = Envelope.load(message.body)
        canonical(envelope.data)
    except (ValidationError, CanonicalError) as error:
        log.error("audit.unreadable", sequence=message.sequence, error=type(error).__name__)  # noqa: TRY400  # the letter holds it all
        body = base64.b64encode(message.body[:MOST_UNREADABLE]).decode()
        letter = DeadLetter(reason="unreadable", attempts=0, stream_subject=f"{subjects.EVENTS}.{message.sequence}", body=body)
        message_id = derived_message_id(f"unreadable:{subjects.EVENTS}", "audit", message.sequence)
        context = Context(principal=SYSTEM, correlation=message_id)
        return Envelope.wrap(letter, context, source=f"/actors/{Actor.AUDITOR}", message_id=message_id)
    return envelope


def _require_prefix(before: Checkpoint, held: Log, size: int) -> None:
    if before.size > size:
        raise LogRolledBack(f"a checkpoint of {before.size} entries was signed, the log holds {size}")
    if before.size and root(before.size, held.node) != before.root:
        raise LogRolledBack(f"the first {before.size} entries are not those that were signed")


def _batches(entries: Sequence[AuditEntry]) -> Iterator[tuple[AuditEntry, ...]]:
    """Entries in messages that are well below the broker's largest payload."""
    batch: list[AuditEntry] = []
    weight = 0
    for entry in entries:
        size = len(json.dumps(entry.entry))
        if batch and (len(batch) == ENTRIES_PER_MESSAGE or weight + size > ENTRY_BYTES_PER_MESSAGE):
            yield tuple(batch)
            batch, weight = [], 0
        batch.append(entry)
        weight += size
    if batch:
        yield tuple(batch)


def _announcement(message: AuditAppended | CheckpointSigned, cause: str) -> Envelope:
    # The log's own messages are caused by its growth, not by a request: index and size name them for good.
    context = Context(principal=SYSTEM, correlation=derived_message_id(cause, "audit", 0))
    return Envelope.wrap(message, context, source=f"/actors/{Actor.AUDITOR}", message_id=derived_message_id(cause, "audit", 0))


def signing_key(home: Home) -> Ed25519PrivateKey:
    """The log's key: made once. The public one lies beside the log for whoever wants to check it."""
    secret = home.audit / "signing-key"
    if not secret.exists():
        write_secret(secret, dump_key(generate_key()) + "\n")
    key = load_key(secret.read_text())
    (home.audit / "public-key").write_text(verifier_key(ORIGIN, key.public_key()) + "\n")
    return key


def last_signed(path: Path, verifier: str) -> Checkpoint:
    """The checkpoint that was signed last; of an empty log if none was."""
    return verify_checkpoint(path.read_text(), verifier) if path.exists() else Checkpoint(ORIGIN, 0, EMPTY_ROOT)


async def run(settings: Settings) -> None:
    """Keep the log until stopped."""
    async with running(Actor.AUDITOR, settings, tables()) as runtime:
        auditor = Auditor(runtime)
        runtime.keep("intake", auditor.take_in)
        runtime.keep("sign", auditor.sign)
        runtime.ready()
        await runtime.until_stopped()
