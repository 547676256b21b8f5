"""What one instance alone may do of those that share a database: a lease, with a number that fences off whoever had it before."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol

import structlog
from sqlalchemy import bindparam, select, text
from sqlalchemy.exc import SQLAlchemyError

from infra.database.dialect import insert
from infra.database.prepared import Prepared
from infra.database.store import Store, StoreClosed, Transaction, now_ms

log = structlog.get_logger()

LEASE_SECONDS = 5.0
"""After so long without a word from its holder, another instance takes a lease."""
RENEW_SECONDS = 1.5
"""Between two words of a holder, and between two looks of those who wait."""


class Identity(Protocol):
    """Who asks, and what it knows of others."""

    id: str

    def is_gone(self, other: str | None) -> bool:
        """Whether another is known to have ended."""


class Lease:
    """One instance's hold on one thing. ``keep`` runs beside what needs it; ``held`` is set while it may go on.

    Its holder goes by its own monotonic clock, counted from before it asked; who waits goes by the database's clock: neither can be
    set wrong in a way that gives it to two. A process can stand still between looking and doing: what is done under a lease must be
    harmless when another has begun to do it as well, or ask for ``fenced`` in the transaction that keeps it.
    """

    def __init__(self, store: Store, name: str, who: Identity) -> None:
        self._store, self._name, self._who = store, name, who
        leases = store.metadata.tables["leases"]
        self._read = Prepared(select(leases).where(leases.c.name == bindparam("key")))
        adding = insert(leases)
        renewed = {column: adding.excluded[column] for column in ("holder", "fence", "until")}
        self._write = Prepared(adding.on_conflict_do_update(index_elements=["name"], set_=renewed))
        self._until = 0.0
        self.fence = 0
        """Number of this hold; 0 before the first."""
        self.held = asyncio.Event()

    def valid(self) -> bool:
        """Whether it is held at this moment."""
        if self.held.is_set() and time.monotonic() >= self._until:
            self._lose()
        return self.held.is_set()

    def fenced(self, tx: Transaction) -> bool:
        """Whether somebody else has taken it, as the database says; then nothing may be kept that was done under it."""
        row = self._read.first(tx.connection, key=self._name)
        return row is None or (row.holder, row.fence) != (self._who.id, self.fence)

    async def keep(self) -> None:
        """Take it as soon as it can be had, and hold it, for ever; given up when cancelled."""
        try:
            while True:
                asked = time.monotonic()
                fence = await self._store.write(self._take)
                if fence:
                    self.fence, self._until = fence, asked + LEASE_SECONDS
                    if not self.held.is_set():
                        log.info("lease.taken", lease=self._name, fence=fence)
                    self.held.set()
                else:
                    self._lose()
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            held = self.held.is_set()
            self.held.clear()
            if held:
                # Where that cannot be written, it runs out.
                with contextlib.suppress(StoreClosed, SQLAlchemyError):
                    await asyncio.shield(self._store.write(self._release))

    def _take(self, tx: Transaction) -> int:
        """The fence under which it is held from now on; 0 if another has it."""
        row, now = self._read.first(tx.connection, key=self._name), _now(tx)
        mine = row is not None and (row.holder, row.fence) == (self._who.id, self.fence)
        if row is not None and not mine and row.until > now and row.holder != self._who.id and not self._who.is_gone(row.holder):
            return 0
        fence = 1 if row is None else row.fence + (not mine)
        self._write.run(tx.connection, name=self._name, holder=self._who.id, fence=fence, until=now + int(LEASE_SECONDS * 1000))
        return int(fence)

    def _release(self, tx: Transaction) -> None:
        if not self.fenced(tx):
            self._write.run(tx.connection, name=self._name, holder=self._who.id, fence=self.fence, until=0)

    def _lose(self) -> None:
        if self.held.is_set():
            log.warning("lease.lost", lease=self._name, fence=self.fence)
        self.held.clear()


def _now(tx: Transaction) -> int:
    """The database's clock, in ms since 1970: instances on several machines have one clock in common."""
    if tx.connection.dialect.name == "sqlite":
        return now_ms()
    return int(tx.connection.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")).scalar_one())
