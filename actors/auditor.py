"""The auditor: makes every event a leaf of a Merkle tree, and signs what the tree has come to.

The log's order is its own. It knows an event by its id, so that a broker that repeats itself, or was replaced, adds nothing twice.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from nats.errors import Error as NatsError
from pydantic import ValidationError
from sqlalchemy import Column, LargeBinary, MetaData, Table, Text, bindparam, func, select

from actors.log_keys import ORIGIN, SigningKeys
from actors.log_witness import NotDelivered, Witness
from contracts import subjects
from contracts.envelope import Context, Envelope
from contracts.ids import SYSTEM, MessageId, derived_message_id
from contracts.jobs import Actor
from contracts.recorded import KeyRotated
from contracts.records import AuditAppended, AuditEntry, CheckpointSigned, DeadLetter
from halftone.merkle import (
    EMPTY_ROOT,
    MOST_ENTRY_BYTES,
    CanonicalError,
    Checkpoint,
    Keys,
    LogError,
    VerifierKey,
    appended,
    canonical,
    leaf_hash,
    root,
    sign_checkpoint,
    verify_rotation,
)
from infra import tracing
from infra.bus.tail import AGAIN_AFTER, PositionLost, Stored, Tail, last_message
from infra.database.dialect import Integer, insert
from infra.database.positions import read_position, write_position
from infra.database.prepared import Prepared
from infra.database.store import Transaction
from infra.home import write_secret
from infra.runtime import Runtime, running
from infra.settings import Settings

log = structlog.get_logger()

SIGN_EVERY = 0.25
"""Seconds between two checkpoints while the log grows."""
GATHER_SECONDS = 0.05
"""How long an event may wait for others, to be logged and announced with them."""
MOST_UNREADABLE = 32 * 1024
"""Bytes kept of a message that is no event, or too long for an entry."""
LAST_SECONDS = 3.0
"""How long the last checkpoint may take when the auditor stops."""
LOOK_FOR_KEY = 1.0
"""Seconds between two looks for a key that is to follow."""
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
    Table(
        "checkpoints",
        metadata,
        Column("size", Integer, primary_key=True, autoincrement=False, comment="leaves that the note is over"),
        Column("note", Text, nullable=False, comment="as it was signed and announced"),
    )
    return metadata


_ENTRIES, _NODES, _CHECKPOINTS = (tables().tables[name] for name in ("entries", "nodes", "checkpoints"))
_SIZE = Prepared(select(func.coalesce(func.max(_ENTRIES.c.idx) + 1, 0).label("size")))
_NODE = Prepared(select(_NODES.c.hash).where((_NODES.c.level == bindparam("at")) & (_NODES.c.idx == bindparam("index"))))
_KNOWN = Prepared(select(_ENTRIES.c.idx).where(_ENTRIES.c.event == bindparam("id")))
_ADD_ENTRY, _ADD_NODE = Prepared(insert(_ENTRIES)), Prepared(insert(_NODES))
_ADD_CHECKPOINT = Prepared(insert(_CHECKPOINTS).on_conflict_do_nothing())
_LAST_CHECKPOINT = Prepared(select(_CHECKPOINTS).order_by(_CHECKPOINTS.c.size.desc()).limit(1))


@dataclass(frozen=True)
class Entry:
    """An event, as it is to be logged."""

    event: MessageId
    content: dict[str, Any]
    body: bytes

    @classmethod
    def of(cls, envelope: Envelope) -> Entry:
        """Raises CanonicalError."""
        content = envelope.model_dump(mode="json", exclude_none=True)
        return cls(envelope.id, content, canonical(content))


class Log:
    """The log's tables within one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._connection = tx.connection

    def size(self) -> int:
        return int(_SIZE.first(self._connection).size)

    def node(self, level: int, index: int) -> bytes:
        return bytes(_NODE.first(self._connection, at=level, index=index).hash)

    def root(self, size: int) -> bytes:
        """The root over the first so many leaves."""
        return root(size, self.node)

    def announced(self) -> str | None:
        """The note that was signed last."""
        row = _LAST_CHECKPOINT.first(self._connection)
        return None if row is None else str(row.note)

    def keep(self, size: int, note: str) -> None:
        """Keep a note that is about to be announced."""
        _ADD_CHECKPOINT.run(self._connection, size=size, note=note)

    def append(self, given: Sequence[Entry]) -> list[AuditEntry]:
        """Add the events that are not in the log yet, in order."""
        new = self._unknown(given)
        if not new:
            return []
        size = self.size()
        leaves = [leaf_hash(entry.body) for entry in new]
        rows = ({"idx": size + i, "event": entry.event, "entry": entry.body, "leaf": leaves[i]} for i, entry in enumerate(new))
        _ADD_ENTRY.run_many(self._connection, rows)
        nodes = ({"level": level, "idx": index, "hash": digest} for level, index, digest in appended(size, leaves, self.node))
        _ADD_NODE.run_many(self._connection, nodes)
        return [AuditEntry(index=size + i, event=e.event, leaf=leaves[i].hex(), entry=e.content) for i, e in enumerate(new)]

    def _unknown(self, given: Sequence[Entry]) -> list[Entry]:
        wanted = {entry.event: entry for entry in given}
        return [entry for event, entry in wanted.items() if _KNOWN.first(self._connection, id=event) is None]


class Auditor:
    """Appends what the stream brings, and signs."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._keys = SigningKeys(runtime.home, runtime.settings.signing_key)
        self._checkpoint_file = runtime.home.audit / "checkpoint"
        self._grown = asyncio.Event()
        self._newest: tuple[int, str] | None = None
        self.witness = Witness(runtime.settings, lambda: self._newest)
        self._elsewhere: list[Checkpoint] | None = None
        """What was signed before by other words than the home's: the broker's and the witness's. None until they were asked."""

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
        given = [_entry(message) for message in messages]

        def change(tx: Transaction) -> int:
            entries = Log(tx).append(given)
            for batch in _batches(entries):
                tx.send(_announcement(AuditAppended(entries=batch), f"appended:{batch[0].index}"))
            write_position(subjects.EVENTS, messages[-1].sequence, messages[-1].message_id, tx)
            return len(entries)

        # Below no event's span: a batch belongs to many traces, and names them.
        links = [entry.content.get("traceparent") for entry in given]
        with tracing.span("audit.append", links=links, attributes={"halftone.events": len(given)}):
            added = await self._runtime.store.write(change)
        if added:
            log.info("audit.appended", entries=added, sequence=messages[-1].sequence)
            self._grown.set()

    async def sign(self) -> None:
        """Sign a checkpoint whenever the log has grown, and go over to another key when one is laid ready. Raises LogRolledBack."""
        await self._sign_once()
        await self._tell_rotations()
        while True:
            await self._rotate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_FOR_KEY):
                    await self._grown.wait()
            if self._grown.is_set():
                self._grown.clear()
                await self._sign_once()
                await asyncio.sleep(SIGN_EVERY)

    async def finish(self) -> None:
        """Sign what came in last, and have it delivered: whatever happens to the home now, this is what it held."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._sign_once()
                await self.witness.deliver()
        except (NotDelivered, LogRolledBack, LogError, TimeoutError) as error:
            log.warning("audit.not_finished", error=type(error).__name__, reason=str(error))

    async def _sign_once(self) -> None:
        before = await self._signed_before()

        def change(tx: Transaction) -> tuple[int, str] | None:
            held = Log(tx)
            size, own = held.size(), held.announced()
            last = None if own is None else self._keys.verifying.verify(own, origin=ORIGIN)
            for checkpoint in (*before, *([last] if last else [])):
                _require_prefix(checkpoint, held, size)
            if own is not None and last is not None and last.size == size:
                # A crash may have come between the commit and the file below; the note is the same one.
                return size, own
            if size == 0:
                return None
            note = sign_checkpoint(Checkpoint(ORIGIN, size, held.root(size)), self._keys.key, ORIGIN)
            held.keep(size, note)
            announcement = _announcement(CheckpointSigned(size=size, note=note), f"checkpoint:{size}")
            # Another auditor on the same tables may have been faster; the note would be the same one.
            if not tx.has_sent(announcement.id):
                tx.send(announcement)
            return size, note

        signed = await self._runtime.store.write(change)
        if signed is not None and signed != self._newest:
            # Kept in a file of its own: a database put back from an older copy is found out by it.
            await asyncio.to_thread(self._write, *signed)
            self._newest = signed

    async def _signed_before(self) -> list[Checkpoint]:
        """Every checkpoint that is known to be signed, by the file, the broker and the witness."""
        if self._elsewhere is None:
            notes = [*await asyncio.to_thread(self.witness.kept), *await self._announced()]
            self._elsewhere = [self._keys.verifying.verify(note, origin=ORIGIN) for note in notes]
        file = self._checkpoint_file
        kept = [self._keys.verifying.verify(file.read_text(), origin=ORIGIN)] if file.exists() else []
        return [*self._elsewhere, *kept]

    async def _announced(self) -> list[str]:
        """The newest note on the stream; none where the broker is another, and knows of none. Waits for a broker that is away."""
        while True:
            try:
                body = await last_message(self._runtime.client, subjects.AUDIT, subjects.CHECKPOINTS_ALL)
            except (NatsError, TimeoutError, OSError) as error:
                if self._runtime.client.is_closed:
                    raise
                log.info("audit.broker_away", error=type(error).__name__)
                await asyncio.sleep(AGAIN_AFTER)
                continue
            signed = None if body is None else Envelope.load(body).message
            return [signed.note] if isinstance(signed, CheckpointSigned) else []

    def _write(self, size: int, note: str) -> None:
        """Keep the newest note; never an older one in its place, should two auditors share a home."""
        with exclusive(self._checkpoint_file.with_name("lock")):
            if size >= last_signed(self._checkpoint_file, self._keys.verifying).size:
                write_secret(self._checkpoint_file, note)

    async def _rotate(self) -> None:
        new = self._keys.following()
        if new is None:
            return
        await self._sign_once()
        at = last_signed(self._checkpoint_file, self._keys.verifying)
        await asyncio.to_thread(self._keys.rotate, at, new)
        await self._tell_rotations()

    async def _tell_rotations(self) -> None:
        """Say of each change of keys that it was; again only what a crash kept from being said."""
        told = []
        for note in self._keys.rotations:
            rotation = verify_rotation(note)
            old, key = (VerifierKey.parse(each).id.hex() for each in (rotation.old, rotation.new))
            told.append(_announcement(KeyRotated(key=key, before=old, size=rotation.at.size, note=note), f"rotation:{old}:{key}"))
        await self._runtime.store.write(lambda tx: tx.send(*(each for each in told if not tx.has_sent(each.id))))


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock against other processes."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _entry(message: Stored) -> Entry:
    """The event; of a message that is none, a letter that holds it. Whatever the stream holds has a leaf, and nothing stops the log."""
    source = f"/actors/{Actor.AUDITOR}"
    try:
        envelope = Envelope.load(message.body)
        entry = Entry.of(envelope)
    except (ValidationError, CanonicalError) as error:
        log.error("audit.unreadable", sequence=message.sequence, error=type(error).__name__)  # noqa: TRY400  # the letter holds it all
        letter = DeadLetter(reason="unreadable", attempts=0, stream_subject=f"{subjects.EVENTS}.{message.sequence}", body=_kept(message))
        message_id = derived_message_id(f"unreadable:{subjects.EVENTS}", "audit", message.sequence)
        return Entry.of(Envelope.wrap(letter, Context(principal=SYSTEM, correlation=message_id), source=source, message_id=message_id))
    if len(entry.body) > MOST_ENTRY_BYTES:
        # Under its own id, so that it is one entry all the same.
        log.error("audit.too_long", sequence=message.sequence, bytes=len(message.body))
        letter = DeadLetter(reason="too-long", attempts=0, stream_subject=envelope.subject, body=_kept(message))
        return Entry.of(Envelope.wrap(letter, envelope.context, source=source, message_id=envelope.id))
    return entry


def _kept(message: Stored) -> str:
    return base64.b64encode(message.body[:MOST_UNREADABLE]).decode()


def _require_prefix(before: Checkpoint, held: Log, size: int) -> None:
    if before.size > size:
        raise LogRolledBack(f"a checkpoint of {before.size} entries was signed, the log holds {size}")
    if before.size and held.root(before.size) != before.root:
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


def _announcement(message: AuditAppended | CheckpointSigned | KeyRotated, cause: str) -> Envelope:
    # The log's own messages are caused by its growth, not by a request: index and size name them for good.
    context = Context(principal=SYSTEM, correlation=derived_message_id(cause, "audit", 0))
    return Envelope.wrap(message, context, source=f"/actors/{Actor.AUDITOR}", message_id=derived_message_id(cause, "audit", 0))


def last_signed(path: Path, keys: Keys) -> Checkpoint:
    """The checkpoint that was signed last; of an empty log if none was."""
    return keys.verify(path.read_text(), origin=ORIGIN) if path.exists() else Checkpoint(ORIGIN, 0, EMPTY_ROOT)


async def run(settings: Settings) -> None:
    """Keep the log until stopped."""
    async with running(Actor.AUDITOR, settings, tables()) as runtime:
        auditor = Auditor(runtime)
        runtime.keep("intake", auditor.take_in)
        runtime.keep("sign", auditor.sign)
        runtime.keep("witness", auditor.witness.run)
        runtime.ready()
        await runtime.until_stopped()
        await auditor.finish()
