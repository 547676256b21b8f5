"""The thread that writes: changes queue up, and those that wait together are committed together, once, whatever becomes of the server."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from infra.database.dialect import can_pass
from infra.database.engine import begin_writing, was_committed, writing
from infra.failpoints import around

log = structlog.get_logger()

GROUP = 64
"""Most changes that share one commit."""
AWAY_SECONDS = 10.0
"""For so long a group is tried again while the database is away; then its callers hear of it, and try again or give up themselves."""
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between two attempts; the last goes for all that follow."""

C = TypeVar("C", bound="Queued")


@dataclass
class Queued:
    """A change in the queue: made within a transaction on the writer's thread."""

    error: BaseException | None = None

    def make(self, connection: Connection) -> None:
        """Do it, within the transaction; what it raises undoes it alone."""
        raise NotImplementedError


class Writer(Generic[C]):
    """One connection, one thread. ``settled`` is called on it with each group whose outcome is known."""

    def __init__(self, url: str, synchronous: str, settled: Callable[[Sequence[C]], None]) -> None:
        self._url, self._settled = url, settled
        self.engine = writing(url, synchronous)
        self._queue: queue.SimpleQueue[C | None] = queue.SimpleQueue()
        self._along: deque[C] = deque()
        self._thread = threading.Thread(target=self._serve, name="writer", daemon=True)
        self._held: Connection | None = None

    def start(self) -> None:
        self._thread.start()

    def put(self, change: C) -> None:
        """Have a change made and committed."""
        self._queue.put(change)

    def put_along(self, change: C) -> None:
        """Have a change made with the next group, before what else is in it."""
        self._along.append(change)

    def finish(self) -> None:
        """Make what is queued, then end. Waits for it."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self.engine.dispose()

    def _serve(self) -> None:
        while True:
            first = self._queue.get()
            group = [] if first is None else [first]
            closing = first is None
            while not closing and len(group) < GROUP and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    closing = True
                else:
                    group.append(following)
            self._commit(group)
            if closing:
                if group:
                    self._commit([])
                self._drop()
                return

    @around("store.commit")
    def _commit(self, group: Sequence[C]) -> None:
        """Make a group's changes and commit them. What can pass is tried again: a change is made once, or its caller hears an error."""
        # Left where they are until they are kept: after a group that fails, the next takes them along.
        along = list(self._along)
        unanswered: str | None = None
        began, attempt = time.monotonic(), 0
        while True:
            number: str | None = None
            try:
                connection = self._connection()
                with connection.begin():
                    number = begin_writing(connection, self._url)
                    if unanswered is None or not was_committed(connection, unanswered):
                        unanswered = None
                        for item in (*along, *group):
                            _make(connection, item)
            except BaseException as error:  # noqa: BLE001  # whatever it was, each caller must hear it
                self._drop()
                if can_pass(error) and time.monotonic() - began < AWAY_SECONDS:
                    # Without a number nothing had begun. With one, the commit may have been made and its answer lost.
                    unanswered = number or unanswered
                    log.warning("store.away", attempt=attempt, error=type(error).__name__)
                    time.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
                    attempt += 1
                    continue
                for item in group:
                    item.error = item.error or error
            else:
                for item in along:
                    self._along.popleft()
                    if item.error is not None:
                        log.error("store.change_failed", exc_info=item.error)
            break
        self._settled(group)

    def _connection(self) -> Connection:
        if self._held is None:
            self._held = self.engine.connect()
        return self._held

    def _drop(self) -> None:
        """Have the next group begin on a connection that nothing is left of."""
        connection, self._held = self._held, None
        if connection is None:
            return
        # A commit that failed has ended the transaction for SQLAlchemy, but not for SQLite.
        with contextlib.suppress(Exception):
            connection.connection.rollback()
        with contextlib.suppress(SQLAlchemyError):
            if connection.dialect.name != "sqlite":
                connection.invalidate()
            connection.close()


def _make(connection: Connection, item: Queued) -> None:
    # The driver's own savepoints: SQLAlchemy's cost more than the change they guard.
    cursor: Any = connection.connection.cursor()
    cursor.execute("SAVEPOINT change")
    item.error = None
    try:
        item.make(connection)
    except Exception as error:
        if can_pass(error):
            # It is not this change's own: the whole group is made again.
            raise
        item.error = error
        cursor.execute("ROLLBACK TO change")
    cursor.execute("RELEASE change")
