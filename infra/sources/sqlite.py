"""Queries to a SQLite file, which is opened for reading alone."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL

from infra.sources.errors import QueryFailed, QueryRefused, QueryTooSlow, SourceUnreachable
from infra.sources.sql import Deadline, Row

_STEPS = 10_000
"""Of SQLite's machine, between two looks at the clock."""
_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_AWAY = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_NOTADB", "SQLITE_CORRUPT"})


class _Rows:
    def __init__(self, cursor: sqlite3.Cursor, deadline: Deadline) -> None:
        self._cursor, self._deadline = cursor, deadline
        self.names: tuple[str, ...] = tuple(column[0] for column in cursor.description)

    def fetch(self, count: int) -> Sequence[Row]:
        if self._deadline.left <= 0:
            raise _too_slow(self._deadline)
        with _explained(self._deadline):
            return self._cursor.fetchmany(count)


@contextlib.contextmanager
def reading(url: URL, query: str, deadline: Deadline) -> Iterator[_Rows]:
    """Run a query. Raises SourceUnreachable, QueryRefused, QueryFailed or QueryTooSlow."""
    path = Path(url.database or "")
    with _explained(deadline):
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
    with contextlib.closing(connection):
        connection.set_progress_handler(lambda: deadline.left <= 0, _STEPS)
        with _explained(deadline):
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opened is a file only now
        connection.set_authorizer(_allowed)
        _prepare(connection, query)
        with _explained(deadline):
            cursor = connection.execute(query)
        yield _Rows(cursor, deadline)


def _allowed(action: int, *_about: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY


def _prepare(connection: sqlite3.Connection, query: str) -> None:
    """Have the query understood. What is said against it now is of names and words: no row was read yet."""
    try:
        connection.execute(f"EXPLAIN {query}").fetchall()
    except sqlite3.Error as error:
        raise QueryRefused(f"The database does not take the query: {error}.") from None


@contextlib.contextmanager
def _explained(deadline: Deadline) -> Iterator[None]:
    """Say what went wrong in words of our own: those of the database may quote a row."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if name == "SQLITE_INTERRUPT":
            raise _too_slow(deadline) from None
        if any(name.startswith(away) for away in _AWAY):
            raise SourceUnreachable(f"The database cannot be read now ({name}): try the job again in a while.", reason=name) from None
        raise QueryFailed(f"The query failed while it ran ({name}): a row holds what it cannot work with.", reason=name) from None


def _too_slow(deadline: Deadline) -> QueryTooSlow:
    limit = int(deadline.seconds)
    detail = f"The query takes longer than {limit:,} seconds: select fewer rows, or have HALFTONE_SQL_SECONDS raised."
    return QueryTooSlow(detail, limit=limit)
