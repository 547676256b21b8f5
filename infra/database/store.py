"""A database with one writer: changes queue up, and those that wait together are committed together."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import structlog
from sqlalchemy import Connection, Engine, MetaData, Table, bindparam, create_engine, event, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import make_url
from sqlalchemy.pool import StaticPool

from contracts.envelope import Envelope
from contracts.ids import MessageId
from infra.database.prepared import Prepared
from infra.database.tables import common_tables
from infra.failpoints import around

log = structlog.get_logger()

T = TypeVar("T")
GROUP = 64
"""Most changes that share one commit."""


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
class _Change:
    apply: Callable[[Transaction], Any]
    done: asyncio.Future[Any] | None
    """None where nobody waits."""
    result: Any = None
    error: BaseException | None = None
    sent: Sequence[Outgoing] = ()


class StoreClosed(RuntimeError):
    """The database was closed: nothing is written any more."""


class Store:
    """One database. ``write`` runs a change in a transaction on the writer's thread and answers once it is on disk."""

    def __init__(self, url: str, metadata: MetaData, *, synchronous: str = "FULL") -> None:
        if "outbox" not in metadata.tables:
            common_tables(metadata)
        self.metadata = metadata
        self.url = url
        self._statements = _Statements(metadata.tables)
        self._engine = _engine(url, synchronous)
        self._changes: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="writer", daemon=True)
        self._closed = False
        self._loop: asyncio.AbstractEventLoop
        self._unhurried: deque[_Change] = deque()
        self._sent: list[Outgoing] = []
        self.outgoing = asyncio.Event()
        """Set when a commit has put something into the outbox."""

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self.metadata.create_all, self._engine)
        self._thread.start()

    async def close(self) -> None:
        """Finish what is queued, then close."""
        self._closed = True
        if self._thread.is_alive():
            self._changes.put(None)
            await asyncio.to_thread(self._thread.join)
        self._engine.dispose()

    async def write(self, change: Callable[[Transaction], T]) -> T:
        """Apply a change; its result is given once the commit is durable. A change that raises leaves no trace.

        Raises what the change raises, or StoreClosed.
        """
        if self._closed:
            raise StoreClosed(self.url)
        done = self._loop.create_future()
        self._changes.put(_Change(change, done))
        return cast("T", await done)

    def write_along(self, change: Callable[[Transaction], Any]) -> None:
        """Apply a change with the next group, before what else is in it: for what is lost without harm, should none come."""
        self._unhurried.append(_Change(change, None))

    def take_sent(self) -> list[Outgoing]:
        """The rows that commits have put into the outbox since this was last asked, in order."""
        self.outgoing.clear()
        sent, self._sent = self._sent, []
        return sent

    def _serve(self) -> None:
        with self._engine.connect() as connection:
            while True:
                first = self._changes.get()
                if first is None:
                    self._commit(connection, [])
                    return
                group = [first]
                closing = False
                while len(group) < GROUP and not self._changes.empty():
                    following = self._changes.get()
                    if following is None:
                        closing = True
                        break
                    group.append(following)
                self._commit(connection, group)
                if closing:
                    self._commit(connection, [])
                    return

    @around("store.commit")
    def _commit(self, connection: Connection, group: Sequence[_Change]) -> None:
        # Left where they are until they are kept: after a group that fails, the next takes them along.
        along = list(self._unhurried)
        try:
            with connection.begin():
                for item in (*along, *group):
                    self._apply(connection, item)
        except BaseException as error:  # noqa: BLE001  # whatever it was, none of the group happened, and each caller must hear it
            for item in group:
                item.error = item.error or error
            # A commit that failed has ended the transaction for SQLAlchemy, but not for SQLite.
            with contextlib.suppress(sqlite3.Error):
                connection.connection.rollback()
        else:
            for item in along:
                self._unhurried.popleft()
                if item.error is not None:
                    log.error("store.change_failed", exc_info=item.error)
        # The loop may be gone at shutdown: what was committed is committed, and nobody waits for the answer.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._answer, group)

    def _apply(self, connection: Connection, item: _Change) -> None:
        transaction = Transaction(connection, self.metadata.tables, self._statements)
        # The driver's own savepoints: SQLAlchemy's cost more than the change they guard.
        cursor = connection.connection.cursor()
        cursor.execute("SAVEPOINT change")
        try:
            item.result = item.apply(transaction)
        except Exception as error:  # noqa: BLE001  # it belongs to this change alone; the others of the group go on
            cursor.execute("ROLLBACK TO change")
            item.error = error
        else:
            item.sent = transaction.sent
        cursor.execute("RELEASE change")

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


def _engine(url: str, synchronous: str) -> Engine:
    if not url.startswith("sqlite"):
        raise ValueError(f"only SQLite databases are supported, not {make_url(url).get_backend_name()}")
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False, "timeout": 30})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # SQLAlchemy begins transactions below: the driver's own implicit ones would start too late for savepoints.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.connection.cursor().execute("BEGIN IMMEDIATE")

    return engine


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
