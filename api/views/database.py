"""The views' database file: one writer, a few readers, and no care for a file of another version."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import itertools
import os
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self, TypeVar

import structlog
from sqlalchemy import Connection, Row, Select, delete
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateIndex, CreateTable

from api.views.tables import FOLDED, RULES, view_tables
from infra.database.readers import Readers
from infra.database.store import Store, Transaction
from infra.home import Home

log = structlog.get_logger()

T = TypeVar("T")


class Database:
    """Reads go to the readers, writes to the one writer. What a power cut undoes is folded again."""

    def __init__(self, url: str) -> None:
        self.metadata = view_tables()
        self.tables = self.metadata.tables
        self._url = make_url(url)
        self._store = Store(url, self.metadata, synchronous="NORMAL")
        self._readers = Readers(url)
        self.leading = True
        """Whether it is the home's first, whose edge local clients are sent to."""
        self._lock: int | None = None

    @classmethod
    def claimed(cls, home: Home) -> Self:
        """The first of a home's view files that no other edge holds: each has its own, and folds the events into it itself."""
        for n in itertools.count(1):
            name = "views" if n == 1 else f"views-{n}"
            lock = os.open(home.databases / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            made = cls(home.database_url(name))
            made.leading, made._lock = n == 1, lock
            return made
        raise AssertionError

    async def open(self) -> None:
        """Open the database, an empty one where the file is of another version, or damaged."""
        await asyncio.to_thread(self._discard_other_version)
        await self._store.open()
        await asyncio.to_thread(self._mark_version)

    async def close(self) -> None:
        await self._readers.close()
        await self._store.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def write(self, change: Callable[[Transaction], T]) -> T:
        """Apply a change in one transaction; one that raises leaves no trace."""
        return await self._store.write(change)

    async def position(self, stream: str) -> tuple[int, str | None]:
        """How far a stream is folded: sequence and message id; 0 and None at its start."""
        t = self.tables["positions"]
        row = await self.first(t.select().where(t.c.stream == stream))
        return (0, None) if row is None else (row.sequence, row.message_id)

    async def wipe(self, stream: str) -> None:
        """Forget all that a stream was folded into, and that it ever was."""

        def forget(tx: Transaction) -> None:
            for name in FOLDED[stream]:
                tx.connection.execute(delete(self.tables[name]))
            positions = self.tables["positions"]
            tx.connection.execute(delete(positions).where(positions.c.stream == stream))

        await self.write(forget)

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """Run a function of a connection that reads and does not write."""
        return await self._readers.ask(question)

    async def first(self, query: Select[Any]) -> Row[Any] | None:
        return await self._readers.first(query)

    async def all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return await self._readers.all(query)

    @property
    def _path(self) -> Path:
        return Path(self._url.database or "")

    @functools.cached_property
    def _version(self) -> int:
        """A number for the shape of the tables and the rules of folding: if either is another, so is the number."""
        tables = self.metadata.sorted_tables
        made = [str(CreateTable(t)) for t in tables] + sorted(str(CreateIndex(i)) for t in tables for i in t.indexes)
        return zlib.crc32("".join([str(RULES), *made]).encode()) & 0x7FFFFFFF

    def _discard_other_version(self) -> None:
        if not self._path.exists():
            return
        try:
            with closing(sqlite3.connect(self._path, timeout=30)) as connection:
                (held,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError:
            held = None
        if held == self._version:
            return
        log.warning("views.discarded", file=self._path.name, version=held, expected=self._version)
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _mark_version(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=30)) as connection:
            connection.execute(f"PRAGMA user_version={self._version}")
