"""The relay: publishes a database's outbox, in order per stream, and marks what the broker has stored."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError
from sqlalchemy import Row, bindparam, select, update

from contracts import subjects
from contracts.envelope import CONTENT_TYPE
from contracts.ids import MessageId
from infra.bus.batch import BatchRefused, publish_batch
from infra.bus.connection import PUBLISH_TIMEOUT, jetstream
from infra.database.store import Store, Transaction

log = structlog.get_logger()

FETCH = 512
"""Rows read at a time, of commands and of everything else: commands that wait for their place never hide what follows them."""
BATCH_FROM = 8
"""From so many waiting messages of one stream on, an atomic batch (one fsync for all) beats single publishes."""
BUSY = 10077
"""The broker's code for both a full stream and a subject whose one place is taken."""
RETRY_SECONDS = 0.25


@dataclass(frozen=True)
class Sent:
    """A row that the broker has stored."""

    n: int
    message_id: MessageId
    sequence: int


class Relay:
    """One per database. Rows leave in order per stream; a command whose place is taken waits without holding up others."""

    def __init__(self, store: Store, client: Client) -> None:
        self._store = store
        self._client = client
        self._js: JetStreamContext = jetstream(client)
        self._outbox = store.metadata.tables["outbox"]
        self._waiting: defaultdict[MessageId, set[asyncio.Future[int]]] = defaultdict(set)
        self.backlog = 0
        """Rows seen waiting at the last look, at most twice FETCH."""

    async def run(self) -> None:
        """Publish for ever. Raises nothing that passes: the broker may be away for as long as it likes."""
        sent: list[Sent] = []
        while True:
            self._store.outgoing.clear()
            rows = await self._store.write(partial(self._advance, sent))
            self.backlog = len(rows)
            sent = await self._publish(rows) if rows else []
            if not sent:
                # What waits for its place is tried again after a while, and does not hold up what comes meanwhile.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS if rows else None):
                        await self._store.outgoing.wait()

    def _advance(self, sent: Sequence[Sent], tx: Transaction) -> list[Row[int, str, str, bytes]]:
        """Mark what was sent and read what is next, in one transaction."""
        t = self._outbox
        if sent:
            mark = update(t).where(t.c.n == bindparam("row")).values(sequence=bindparam("at"))
            tx.connection.execute(mark, [{"row": s.n, "at": s.sequence} for s in sent])
        query = select(t.c.n, t.c.message_id, t.c.subject, t.c.body).where(t.c.sequence.is_(None)).order_by(t.c.n).limit(FETCH)
        command = t.c.subject.startswith(subjects.COMMANDS_ALL.removesuffix(">"))
        return [row for part in (command, ~command) for row in tx.connection.execute(query.where(part))]

    async def _publish(self, rows: Sequence[Row[int, str, str, bytes]]) -> list[Sent]:
        streams = defaultdict(list)
        for row in rows:
            streams[subjects.stream_of(row.subject)].append(row)
        done = await asyncio.gather(*(self._publish_stream(stream, waiting) for stream, waiting in streams.items()))
        return [s for part in done for s in part]

    async def _publish_stream(self, stream: str, rows: Sequence[Row[int, str, str, bytes]]) -> list[Sent]:
        # The broker may leave a batch unanswered in which two commands want the same place.
        rivals = stream == subjects.COMMANDS and len({row.subject for row in rows}) < len(rows)
        if len(rows) >= BATCH_FROM and not rivals:
            try:
                first = await publish_batch(self._client, [(r.subject, r.message_id, r.body) for r in rows])
            except BatchRefused as refusal:
                log.info("relay.batch_refused", stream=stream, rows=len(rows), code=refusal.code)
            except (NatsError, TimeoutError, OSError) as error:
                log.info("relay.broker_away", stream=stream, error=type(error).__name__)
                return []
            else:
                sent = [Sent(row.n, row.message_id, first + i) for i, row in enumerate(rows)]
                self._announce(sent)
                return sent
        return await self._publish_singly(stream, rows)

    async def _publish_singly(self, stream: str, rows: Sequence[Row[int, str, str, bytes]]) -> list[Sent]:
        sent = []
        for row in rows:
            headers = {"Nats-Msg-Id": row.message_id, "Content-Type": CONTENT_TYPE}
            try:
                ack = await self._js.publish(row.subject, row.body, timeout=PUBLISH_TIMEOUT, stream=stream, headers=headers)
            except APIError as error:
                if error.err_code == BUSY and stream == subjects.COMMANDS:
                    continue
                log.warning("relay.refused", stream=stream, code=error.err_code, description=error.description)
                break
            except (NatsError, TimeoutError, OSError) as error:
                log.info("relay.broker_away", stream=stream, error=type(error).__name__)
                break
            sent.append(Sent(row.n, row.message_id, ack.seq))
            # At once: who waits for the broker's word need not wait for our note of it as well.
            self._announce(sent[-1:])
        return sent

    async def published(self, message_id: MessageId) -> int:
        """Wait for the sequence of a message that was put into the outbox. Ask before the change is written."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[message_id].add(future)
        try:
            return await future
        finally:
            self._waiting[message_id].discard(future)
            if not self._waiting[message_id]:
                del self._waiting[message_id]

    def _announce(self, sent: Sequence[Sent]) -> None:
        for s in sent:
            for future in self._waiting.get(s.message_id, ()):
                if not future.done():
                    future.set_result(s.sequence)
