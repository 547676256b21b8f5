"""What a broker lost is published again: the outbox is compared with the streams, whenever a connection begins.

A broker may have lost the tail of its streams, all of them, or have had its store replaced by an older copy, in which sequences are
used again for other messages. Rows leave in order, and so what is lost of an outbox is everything after some row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial

import structlog
from nats.aio.client import Client
from sqlalchemy import bindparam, func, null, select, update

from contracts import subjects
from contracts.envelope import Context, Envelope
from contracts.events import BusRepaired
from contracts.ids import SYSTEM, MessageId
from infra.bus.connection import PUBLISH_TIMEOUT, jetstream
from infra.database.prepared import Prepared
from infra.database.store import Store, Transaction

log = structlog.get_logger()

KEPT = {subjects.EVENTS: subjects.EVENTS_ALL, subjects.AUDIT: subjects.AUDIT_ALL, subjects.DEAD: subjects.DEAD_ALL}
"""Streams that keep every message: one that is not there was lost."""


@dataclass(frozen=True)
class Place:
    """Where a row of the outbox was stored."""

    n: int
    sequence: int
    message_id: MessageId


class Reconciler:
    """Compares one database's outbox with the streams."""

    def __init__(self, store: Store, client: Client, source: str) -> None:
        self._store, self._client, self._source = store, client, source
        t = store.metadata.tables["outbox"]
        ours = (t.c.sequence > 0) & t.c.subject.like(bindparam("subject"))
        placed = select(t.c.n, t.c.sequence, t.c.message_id).where(ours, t.c.n <= bindparam("most"))
        self._at = Prepared(placed.order_by(t.c.n.desc()).limit(1))
        self._end = Prepared(select(func.coalesce(func.max(t.c.n), 0).label("n")))
        self._after = Prepared(update(t).where(ours, t.c.n > bindparam("last")).values(sequence=null()))
        self._beyond = Prepared(update(t).where(ours, t.c.sequence > bindparam("last")).values(sequence=null()))

    async def repair(self) -> int:
        """Have everything that was lost published again; how many messages that is.

        Raises what the connection raises while the broker, or a stream, is away.
        """
        end = await self._store.write(lambda tx: int(self._end.first(tx.connection).n))
        lost = {stream: await self._last_intact(stream, end) for stream in KEPT}
        held = await self._last_command(end)
        if held is None and all(last is None for last in lost.values()):
            return 0
        return await self._store.write(partial(self._repair, {stream: n for stream, n in lost.items() if n is not None}, held))

    async def _last_intact(self, stream: str, end: int) -> int | None:
        """The row up to which a stream holds what was stored in it; None if that is all."""
        last = await self._row(stream, end)
        if last is None or await self._holds(stream, last):
            return None
        intact, gone = 0, last.n
        while gone - intact > 1:
            row = await self._row(stream, (intact + gone) // 2)
            if row is None or row.n <= intact or await self._holds(stream, row):
                intact = (intact + gone) // 2
            else:
                gone = row.n
        return intact

    async def _row(self, stream: str, most: int) -> Place | None:
        """The last row of a stream up to a place in the outbox."""
        subject = KEPT.get(stream, subjects.COMMANDS_ALL).replace(">", "%")
        row = await self._store.write(lambda tx: self._at.first(tx.connection, subject=subject, most=most))
        return row and Place(*row)

    async def _holds(self, stream: str, row: Place) -> bool:
        request = json.dumps({"seq": row.sequence}).encode()
        answer = await self._client.request(f"$JS.API.DIRECT.GET.{stream}", request, timeout=PUBLISH_TIMEOUT)
        return (answer.headers or {}).get("Nats-Msg-Id") == row.message_id

    async def _last_command(self, end: int) -> int | None:
        """The last sequence of COMMANDS, if that is less than was stored there; what was consumed is not there, and not lost."""
        last = await self._row(subjects.COMMANDS, end)
        if last is None:
            return None
        held = (await jetstream(self._client).stream_info(subjects.COMMANDS)).state.last_seq
        return held if held < last.sequence else None

    def _repair(self, lost: dict[str, int], held: int | None, tx: Transaction) -> int:
        again: dict[str, int] = {}
        for stream, intact in lost.items():
            again[stream] = self._after.run(tx.connection, subject=KEPT[stream].replace(">", "%"), last=intact)
        commands, again[subjects.COMMANDS] = subjects.COMMANDS_ALL.replace(">", "%"), 0
        if held is not None:
            again[subjects.COMMANDS] = self._beyond.run(tx.connection, subject=commands, last=held)
        if subjects.EVENTS in lost:
            # Nobody can tell which of them were consumed before they were lost. Who has handled one passes it over.
            again[subjects.COMMANDS] += self._after.run(tx.connection, subject=commands, last=lost[subjects.EVENTS])
        for stream, messages in again.items():
            if messages:
                log.error("bus.lost", stream=stream, messages=messages)
                told = BusRepaired(part=self._source.rsplit("/", 1)[1], stream=stream.lower(), messages=messages)
                tx.send(Envelope.wrap(told, Context.new(SYSTEM), source=self._source))
        return sum(again.values())
