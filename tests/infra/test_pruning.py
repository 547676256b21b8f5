"""Rows that are kept for days: what is older goes, what was never sent stays, however old."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update

from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted
from contracts.ids import new_id, new_message_id
from contracts.jobs import NoopSpec
from infra.database.pruning import DAY_MS, TOGETHER, prune_once
from infra.database.store import Store, Transaction
from infra.settings import Settings
from tests.conftest import OpenStore

NOW = 100 * DAY_MS


async def left(store: Store, table: str, column: str) -> list[int]:
    """What a column holds now."""
    t = store.metadata.tables[table]

    def read(tx: Transaction) -> list[int]:
        return sorted(tx.connection.execute(select(t.c[column])).scalars())

    return await store.write(read)


async def test_what_was_sent_goes_in_time_and_what_was_not_stays(open_store: OpenStore) -> None:
    """More rows than are removed together: those that are old and sent go, the oldest unsent one stays, and so do all young ones."""
    store, count = await open_store(), TOGETHER + 50
    events = [Envelope.wrap(JobAccepted(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge") for _ in range(count)]

    def change(tx: Transaction) -> None:
        t = tx.tables["outbox"]
        tx.send(*events)
        tx.connection.execute(update(t).values(made_at=NOW - 31 * DAY_MS, sequence=t.c.n))
        tx.connection.execute(update(t).where(t.c.n == 1).values(sequence=None))
        tx.connection.execute(update(t).where(t.c.n > count - 10).values(made_at=NOW - 29 * DAY_MS))

    await store.write(change)
    assert await prune_once(store, NOW, 60, 30) == count - 11
    assert await left(store, "outbox", "n") == [1, *range(count - 9, count + 1)]
    assert await prune_once(store, NOW, 60, 30) == 0


async def test_what_was_handled_and_what_failed_is_forgotten_in_time(open_store: OpenStore) -> None:
    """By when it was handled, or failed last."""
    store = await open_store()

    def change(tx: Transaction) -> None:
        for days in (59, 61):
            for _ in range(TOGETHER + 1):
                tx.connection.execute(tx.tables["inbox"].insert(), {"message_id": new_message_id(), "handled_at": NOW - days * DAY_MS})
            row = {"message_id": new_message_id(), "attempts": 1, "last_at": NOW - days * DAY_MS}
            tx.connection.execute(tx.tables["failures"].insert(), row)

    await store.write(change)
    assert await prune_once(store, NOW, 60, 30) == TOGETHER + 2
    assert await left(store, "inbox", "handled_at") == [NOW - 59 * DAY_MS] * (TOGETHER + 1)
    assert await left(store, "failures", "last_at") == [NOW - 59 * DAY_MS]


def test_what_may_be_sent_again_must_be_known_again() -> None:
    """A shorter memory than the outbox's would handle repaired messages twice."""
    with pytest.raises(ValidationError, match=r"inbox_days \(5\) must be at least outbox_days \(30\)"):
        Settings(inbox_days=5)
