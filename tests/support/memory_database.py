"""A database in memory with the tables of a real one: a change is a transaction, and one that raises leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import MetaData, select

from contracts.envelope import Envelope
from infra.database import store
from infra.database.store import Transaction
from infra.database.tables import common_tables

T = TypeVar("T")


class MemoryDatabase:
    """Transactions one after the other, as a writer makes them, without its thread."""

    def __init__(self, metadata: MetaData) -> None:
        if "outbox" not in metadata.tables:
            common_tables(metadata)
        self._metadata = metadata
        self._store = store.Store("sqlite://", metadata, synchronous="OFF")
        self._engine = self._store._writer.engine
        metadata.create_all(self._engine)
        self._sent: list[Envelope] = []

    def close(self) -> None:
        self._engine.dispose()

    def do(self, change: Callable[[Transaction], T]) -> T:
        """Apply a change and keep it, unless it raises."""
        with self._engine.begin() as connection:
            return change(self._store.transaction(connection))

    def peek(self, look: Callable[[Transaction], T]) -> T:
        """Look, and keep nothing."""
        with self._engine.connect() as connection, connection.begin() as transaction:
            found = look(self._store.transaction(connection))
            transaction.rollback()
            return found

    def sent(self) -> list[Envelope]:
        """The outbox, in order; rows are only ever added."""
        outbox = self._metadata.tables["outbox"]
        query = select(outbox.c.body).order_by(outbox.c.n).offset(len(self._sent))
        with self._engine.begin() as connection:
            self._sent += map(Envelope.load, connection.execute(query).scalars())
        return self._sent
