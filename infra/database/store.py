"""A database with one writer: changes queue up, and those that wait together are committed together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, MetaData, Table, bindparam, select

from contracts.envelope import Envelope
from contracts.ids import MessageId
from infra.database.dialect import insert
from infra.database.prepared import Prepared
from infra.database.tables import common_tables
from infra.database.versions import prepare
from infra.database.writer import Queued, Writer
from infra.failpoints import around

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A row of the outbox that is to be published."""

    n: int
    message_id: MessageId
    subject: str
    body: bytes


class _Statements:
    """Statements that every change uses."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        inbox, outbox = tables["inbox"], tables["outbox"]
        self.note = Prepared(insert(inbox).on_conflict_do_nothing())
        self.send = Prepared(insert(outbox).returning(outbox.c.n), ["message_id", "subject", "body", "made_at"])
        self.sent = Prepared(select(outbox.c.n).where(outbox.c.message_id == bindparam("message")))


class Transaction:
    """What a change works with: a connection, the inbox, the outbox. Its effects are kept together or not at all."""

    def __init__(self, connection: Connection, tables: Mapping[str, Table], statements: _Statements) -> None:
        self.connection = connection
        self.tables = tables
        self._statements = statements
        self.sent: list[Outgoing] = []

    def first_time(self, message_id: MessageId) -> bool:
        """Note that a message is handled; false if it was before, and nothing is to be done."""
        return self._statements.note.run(self.connection, message_id=message_id, handled_at=now_ms()) == 1

    def has_sent(self, message_id: MessageId) -> bool:
        """Whether a message was put into the outbox before."""
        return self._statements.sent.first(self.connection, message=message_id) is not None

    @around("transaction.send")
    def send(self, *envelopes: Envelope) -> None:
        """Put messages into the outbox, in order: the relay publishes them after the commit."""
        for e in envelopes:
            body = e.dump()
            row = self._statements.send.first(self.connection, message_id=e.id, subject=e.subject, body=body, made_at=now_ms())
            self.sent.append(Outgoing(row.n, e.id, e.subject, body))


@dataclass
class _Change(Queued):
    """What a caller wants to have changed, and the caller."""

    store: Store | None = None
    apply: Callable[[Transaction], Any] | None = None
    done: asyncio.Future[Any] | None = None
    """None where nobody waits."""
    result: Any = None
    sent: Sequence[Outgoing] = ()

    def make(self, connection: Connection) -> None:
        assert self.store is not None  # noqa: S101  # given by the store, always
        assert self.apply is not None  # noqa: S101
        transaction = self.store.transaction(connection)
        self.sent = ()
        self.result = self.apply(transaction)
        self.sent = transaction.sent


class StoreClosed(RuntimeError):
    """The database was closed: nothing is written any more."""


class Store:
    """One database. ``write`` runs a change in a transaction on the writer's thread and answers once it is on disk."""

    def __init__(self, url: str, metadata: MetaData, *, synchronous: str = "FULL", database: str | None = None) -> None:
        """``database`` names one whose tables are brought up to date by migrations when it is opened; others are made as they are."""
        if "outbox" not in metadata.tables:
            common_tables(metadata)
        self.metadata = metadata
        self.url = url
        self._database = database
        self._statements = _Statements(metadata.tables)
        self._writer = Writer(url, synchronous, self._settled)
        self._closed = False
        self._loop: asyncio.AbstractEventLoop
        self._sent: list[Outgoing] = []
        self.outgoing = asyncio.Event()
        """Set when a commit has put something into the outbox."""

    async def open(self) -> None:
        """Make or migrate the tables, and begin to write. Raises DatabaseTooNew."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(prepare, self._writer.engine, self.url, self.metadata, self._database)
        self._writer.start()

    async def close(self) -> None:
        """Finish what is queued, then close."""
        self._closed = True
        await asyncio.to_thread(self._writer.finish)

    async def write(self, change: Callable[[Transaction], T]) -> T:
        """Apply a change; its result is given once the commit is durable. A change that raises leaves no trace.

        It may be applied more than once, where a transaction came to nothing because the database was away. Raises what the change
        raises, what the database does when it stays away, or StoreClosed.
        """
        if self._closed:
            raise StoreClosed(self.url.rpartition("@")[2])
        done = self._loop.create_future()
        self._writer.put(_Change(store=self, apply=change, done=done))
        return cast("T", await done)

    def write_along(self, change: Callable[[Transaction], Any]) -> None:
        """Apply a change with the next group, before what else is in it: for what is lost without harm, should none come."""
        self._writer.put_along(_Change(store=self, apply=change))

    def take_sent(self) -> list[Outgoing]:
        """The rows that commits have put into the outbox since this was last asked, in order."""
        self.outgoing.clear()
        sent, self._sent = self._sent, []
        return sent

    def transaction(self, connection: Connection) -> Transaction:
        """What a change works with on a connection."""
        return Transaction(connection, self.metadata.tables, self._statements)

    def _settled(self, group: Sequence[_Change]) -> None:
        # The loop may be gone at shutdown: what was committed is committed, and nobody waits for the answer.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._answer, group)

    def _answer(self, group: Sequence[_Change]) -> None:
        for item in group:
            if item.error is None and item.sent:
                self._sent += item.sent
                self.outgoing.set()
            if item.done is None or item.done.cancelled():
                continue
            if item.error is None:
                item.done.set_result(item.result)
            else:
                item.done.set_exception(item.error)


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
