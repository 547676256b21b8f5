"""What is kept for days and no longer: messages that were handled, and messages that were sent."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog
from sqlalchemy import delete, func, select

from infra.database.store import Store, Transaction, now_ms

log = structlog.get_logger()

EVERY_SECONDS = 3600.0
TOGETHER = 500
"""Rows that are removed in one transaction: what else waits for the writer does not wait long."""
DAY_MS = 86_400_000


async def prune(store: Store, inbox_days: int, outbox_days: int) -> None:
    """Remove, for ever, what is older than it has to be."""
    while True:
        removed = await prune_once(store, now_ms(), inbox_days, outbox_days)
        if removed:
            log.info("database.pruned", rows=removed)
        await asyncio.sleep(EVERY_SECONDS)


async def prune_once(store: Store, now: int, inbox_days: int, outbox_days: int) -> int:
    """Remove what is older than so many days at a moment (ms since 1970); how many rows that were."""
    removed = 0
    for table, when in (("inbox", "handled_at"), ("failures", "last_at")):
        while count := await store.write(partial(_forget, table, when, now - inbox_days * DAY_MS)):
            removed += count
    after: int | None = 0
    while after is not None:
        after, count = await store.write(partial(_unload, now - outbox_days * DAY_MS, after))
        removed += count
    return removed


def _forget(table: str, when: str, before: int, tx: Transaction) -> int:
    t = tx.tables[table]
    old = select(t.c.message_id).where(t.c[when] < before).limit(TOGETHER)
    return tx.connection.execute(delete(t).where(t.c.message_id.in_(old))).rowcount


def _unload(before: int, after: int, tx: Transaction) -> tuple[int | None, int]:
    """Remove sent rows in the order in which they were made: nothing has to be read beyond the first that is young enough.

    Gives where to go on, None at the end, and how many rows were removed. What was never sent is never too old.
    """
    t = tx.tables["outbox"]
    query = select(t.c.n, t.c.made_at, t.c.sequence).where(t.c.n > after).order_by(t.c.n).limit(TOGETHER)
    rows = tx.connection.execute(query).all()
    old = [row for row in rows if row.made_at < before]
    # The last one stays: SQLite would give its number again, and numbers only rise.
    last = tx.connection.execute(select(func.max(t.c.n))).scalar()
    sent = [row.n for row in old if row.sequence is not None and row.n != last]
    if sent:
        tx.connection.execute(delete(t).where(t.c.n.in_(sent)))
    return (rows[-1].n if len(old) == TOGETHER else None), len(sent)
