"""The relay: publishes a database's outbox, in order per stream, and marks what the broker has stored."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js import JetStreamContext
from nats.js.errors import APIError
from sqlalchemy import bindparam, func, select, update

from contracts import subjects
from contracts.envelope import CONTENT_TYPE
from contracts.ids import MessageId
from infra.bus.batch import BatchRefused, publish_batch
from infra.bus.connection import PUBLISH_TIMEOUT, Connection, jetstream
from infra.bus.reconcile import Reconciler
from infra.bus.retries import dead_letter
from infra.bus.topology import MAX_COMMAND_BYTES
from infra.database.lease import Identity, Lease
from infra.database.prepared import Prepared
from infra.database.store import Outgoing, Store, Transaction
from infra.failpoints import around

log = structlog.get_logger()

FETCH = 512
"""Most rows of a stream that leave together."""
BATCH_FROM = 8
"""From so many waiting messages of one stream on, an atomic batch (one fsync for all) beats single publishes."""
BUSY = 10077
"""The broker's code for both a full stream and a subject whose one place is taken: its words tell which."""
FULL = "maximum messages exceeded"
TOO_LARGE = 10054
"""The broker's code for a message that its stream will never take."""
HEADERS = 512
"""Bytes of a message that are none of its body."""
REFUSED = 0
"""In place of the sequence of a row that was refused for good."""
PAGE = 5_000
"""Most rows that are read from the table at a time."""
RETRY_SECONDS = 0.25
LOOK_SECONDS = 2.0
"""Between two looks for rows of other instances, and whether the connection is another, while there is nothing to publish."""
MARK_SECONDS = 0.1
"""How long the marks of what was sent wait for a commit that takes them along."""


@dataclass(frozen=True)
class Sent:
    """A row that the broker has stored."""

    n: int
    message_id: MessageId
    sequence: int


class Relay:
    """One per instance; of those that share a database one at a time publishes, the one with the lease.

    Rows leave in order per stream; a command whose place is taken waits without holding up others. A relay that stood still, and does
    not know yet that it has lost its lease, repeats at most what the next has published: the broker knows the ids.

    What commits of its own put into the outbox is handed over in memory. The table is read when it gets the lease or a connection, and
    when there is something that another instance has put there: that one says so, and should its word be lost, there is a look every
    few seconds. When a connection begins, the outbox is compared with the streams: what the broker had lost is unsent again.
    """

    def __init__(self, store: Store, client: Connection, source: str, who: Identity) -> None:
        self._store, self._source = store, source
        self._client = client
        self._js: JetStreamContext = jetstream(client)
        outbox = store.metadata.tables["outbox"]
        unsent = select(outbox.c.n, outbox.c.message_id, outbox.c.subject, outbox.c.body).where(outbox.c.sequence.is_(None))
        self._unsent = Prepared(unsent.where(outbox.c.n > bindparam("after")).order_by(outbox.c.n).limit(PAGE))
        self._last = Prepared(select(func.coalesce(func.max(outbox.c.n), 0).label("n")))
        self._mark = Prepared(update(outbox).where(outbox.c.n == bindparam("row")).values(sequence=bindparam("at")))
        self._waiting: defaultdict[MessageId, set[asyncio.Future[int]]] = defaultdict(set)
        self._taken: set[str] = set()
        """Subjects of commands whose place was taken when they were last tried."""
        self._unmarked = False
        self._known, self._behind = 0, True
        """Row up to which all that is unsent is in memory, and whether there is more than that in the database."""
        self._reconciler = Reconciler(store, client, source)
        self._subject = subjects.outbox(source.rpartition("/")[2])
        self._lease = Lease(store, "relay", who)
        self._look = False
        """Whether another instance may have put something into the outbox."""
        self.backlog = 0
        """Rows that waited at the last look."""
        self.unanswered = False
        """Whether the broker left all that was last published without a word: it is there, and does nothing."""
        self._timed_out = False

    async def run(self) -> None:
        """Publish for ever. Raises nothing that passes: the broker may be away for as long as it likes."""
        subscription = await self._client.subscribe(self._subject, cb=self._hear)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._lease.keep())
                while True:
                    await self._stand_by()
                    await self._lead()
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    async def _stand_by(self) -> None:
        """Leave publishing to another instance, and tell it whenever there is something to publish."""
        while not self._lease.valid():
            waiting = {asyncio.create_task(event.wait()) for event in (self._lease.held, self._store.outgoing)}
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
            if self._store.take_sent() and not self._lease.valid():
                with contextlib.suppress(NatsError, OSError):
                    await self._client.publish(self._subject, b"")

    async def _lead(self) -> None:
        """Publish for as long as the lease is held."""
        rows: list[Outgoing] = []
        checked, retry_at, look_at = -1, 0.0, 0.0
        while self._lease.valid():
            connection, now = self._connection(), time.monotonic()
            if checked != connection:
                # The broker may be another than before, or hold less: what it lost goes before what is new.
                if not await self._repair():
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                checked, self._known, self._behind, rows = connection, 0, True, []
            if self._look or now >= look_at:
                self._look, look_at, self._behind = False, now + LOOK_SECONDS, True
            rows += await self._fresh(room=len(rows) < FETCH)
            self.backlog = len(rows)
            if now >= retry_at:
                self._taken.clear()
                retry_at = now + RETRY_SECONDS
            ready = [row for row in rows if row.subject not in self._taken]
            # What was on its way when the connection was lost is not waited for: it is published again, and known again.
            sent = (await self._client.unless_lost(self._publish(ready)) if ready else None) or []
            if sent and connection != self._connection():
                # Which broker has stored them is not known: they are published again, and known again, once it was looked at.
                continue
            if sent:
                self._unmarked = True
                self._store.write_along(partial(self._marked, sent))
                gone = {s.n for s in sent}
                rows = [row for row in rows if row.n not in gone]
                self.backlog = len(rows)
            elif not self._store.outgoing.is_set():
                await self._pause(RETRY_SECONDS if rows else MARK_SECONDS if self._unmarked else LOOK_SECONDS)

    async def _fresh(self, *, room: bool) -> list[Outgoing]:
        """What came since the last time, in order; if there is more of it than memory should hold, and no room, it stays in the table."""
        handed = [row for row in self._store.take_sent() if row.n > self._known]
        if handed and handed[-1].n != self._known + len(handed):
            # Rows of others stand in between, or came before: the table has them all.
            self._behind = True
        if not self._behind:
            self._known += len(handed)
            return handed
        return await self._store.write(self._left) if room else []

    def _connection(self) -> int:
        """Which connection this is, counted by the client."""
        return int(self._client.stats["reconnects"])

    async def _repair(self) -> bool:
        """See to it that what the broker lost is unsent again; false while the broker is away."""
        try:
            await self._reconciler.repair()
        except (NatsError, TimeoutError, OSError) as error:
            if self._client.is_closed:
                raise
            log.info("relay.broker_away", error=type(error).__name__)
            return False
        self.unanswered = False
        return True

    async def _hear(self, _message: Msg) -> None:
        self._look = True
        self._store.outgoing.set()

    async def _pause(self, seconds: float) -> None:
        """Wait for new rows. Marks that no commit has taken along by then get one of their own."""
        try:
            async with asyncio.timeout(seconds):
                await self._store.outgoing.wait()
        except TimeoutError:
            if self._unmarked:
                self._unmarked = False
                await self._store.write(lambda _: None)

    def _left(self, tx: Transaction) -> list[Outgoing]:
        """The next of what is unsent, a page of it. With the last page, all that there is up to the last row is known."""
        found = [Outgoing(*row) for row in self._unsent.all(tx.connection, after=self._known)]
        self._behind = len(found) == PAGE
        self._known = found[-1].n if self._behind else self._last.first(tx.connection).n
        return found

    def _marked(self, sent: Sequence[Sent], tx: Transaction) -> None:
        # In no hurry: a mark that a crash loses is made when the row is published again, which the broker recognises.
        self._mark.run_many(tx.connection, [{"row": s.n, "at": s.sequence} for s in sent])

    @around("relay.publish")
    async def _publish(self, rows: Sequence[Outgoing]) -> list[Sent]:
        streams = defaultdict(list)
        for row in rows:
            streams[subjects.stream_of(row.subject)].append(row)
        self._timed_out = False
        done = await asyncio.gather(*(self._publish_stream(stream, waiting[:FETCH]) for stream, waiting in streams.items()))
        sent = [s for part in done for s in part]
        self.unanswered = self._timed_out and not sent
        return sent

    async def _publish_stream(self, stream: str, rows: Sequence[Outgoing]) -> list[Sent]:
        # The broker may leave a batch unanswered in which two commands want the same place.
        rivals = stream == subjects.COMMANDS and len({row.subject for row in rows}) < len(rows)
        if len(rows) >= BATCH_FROM and not rivals:
            try:
                first = await publish_batch(self._client, [(r.subject, r.message_id, r.body) for r in rows])
            except BatchRefused as refusal:
                log.info("relay.batch_refused", stream=stream, rows=len(rows), code=refusal.code)
            except MaxPayloadError:
                log.info("relay.batch_refused", stream=stream, rows=len(rows), code=TOO_LARGE)
            except (NatsError, TimeoutError, OSError) as error:
                self._away(stream, error)
                return []
            else:
                sent = [Sent(row.n, row.message_id, first + i) for i, row in enumerate(rows)]
                self._announce(sent)
                return sent
        return await self._publish_singly(stream, rows)

    async def _publish_singly(self, stream: str, rows: Sequence[Outgoing]) -> list[Sent]:
        sent = []
        for row in rows:
            if row.subject in self._taken:
                continue
            if not self._lease.valid():
                break
            headers = {"Nats-Msg-Id": row.message_id, "Content-Type": CONTENT_TYPE}
            try:
                ack = await self._js.publish(row.subject, row.body, timeout=PUBLISH_TIMEOUT, stream=stream, headers=headers)
            except MaxPayloadError:
                sent.append(await self._refused(row))
                continue
            except APIError as error:
                # Larger than what is declared, and not only than what some operator has set for a while.
                if error.err_code == TOO_LARGE and stream == subjects.COMMANDS and len(row.body) > MAX_COMMAND_BYTES - HEADERS:
                    sent.append(await self._refused(row))
                    continue
                if error.err_code != BUSY:
                    log.warning("relay.refused", stream=stream, code=error.err_code, description=error.description)
                if stream == subjects.COMMANDS and FULL not in (error.description or ""):
                    # Commands are apart from each other: what one has to wait for is nothing to those behind it.
                    self._taken.add(row.subject)
                    continue
                break
            except (NatsError, TimeoutError, OSError) as error:
                self._away(stream, error)
                break
            sent.append(Sent(row.n, row.message_id, ack.seq))
            # At once: who waits for the broker's word need not wait for our note of it as well.
            self._announce(sent[-1:])
        return sent

    async def _refused(self, row: Outgoing) -> Sent:
        """Keep a copy of what no stream will ever take, with the reason: what is behind it goes on."""
        log.error("relay.refused_for_good", subject=row.subject, message=row.message_id, bytes=len(row.body))
        letter = dead_letter(self._source, row.message_id, row.subject, row.body, reason="too-large", attempts=1)

        def change(tx: Transaction) -> None:
            if tx.first_time(letter.id):
                tx.send(letter)

        await self._store.write(change)
        return Sent(row.n, row.message_id, REFUSED)

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

    def _away(self, stream: str, error: Exception) -> None:
        self._timed_out |= isinstance(error, TimeoutError)
        log.info("relay.broker_away", stream=stream, error=type(error).__name__)

    def heard(self, message_id: MessageId, sequence: int) -> None:
        """Say that a message is in its stream, as whoever reads that knows: another instance may have published it."""
        for future in self._waiting.get(message_id, ()):
            if not future.done():
                future.set_result(sequence)

    def _announce(self, sent: Sequence[Sent]) -> None:
        for s in sent:
            self.heard(s.message_id, s.sequence)
