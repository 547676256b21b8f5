"""Changes in no hurry: they go with the next commit, and what is published is marked by one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from sqlalchemy import func, select

from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted
from contracts.ids import new_id
from contracts.jobs import NoopSpec
from infra.bus.relay import Relay
from infra.database.store import Store, Transaction
from tests.conftest import PATIENCE, OpenStore


def noted(message: str, tx: Transaction) -> bool:
    return tx.first_time(message)


async def test_it_is_applied_before_what_it_goes_with(open_store: OpenStore) -> None:
    """Nothing is written until something else is; then it is there already."""
    store = await open_store()
    store.write_along(partial(noted, "along"))
    assert await store.write(partial(noted, "along")) is False


async def test_it_is_applied_when_the_database_is_closed(open_store: OpenStore) -> None:
    """Whether or not anything else was written after it."""
    store = await open_store()
    store.write_along(partial(noted, "along"))
    await store.close()
    assert await (await open_store()).write(partial(noted, "along")) is False


async def test_one_that_fails_harms_nothing(open_store: OpenStore) -> None:
    """What it goes with is kept, so is the next of its kind, and it is not tried for ever."""
    store, tried = await open_store(), []

    def failing(_tx: Transaction) -> None:
        tried.append(1)
        raise LookupError

    store.write_along(failing)
    store.write_along(partial(noted, "along"))
    assert await store.write(partial(noted, "hurried")) is True
    assert await store.write(lambda tx: [noted(name, tx) for name in ("along", "hurried")]) == [False, False]
    assert tried == [1]


async def test_after_a_commit_that_fails_it_goes_with_the_next(open_store: OpenStore) -> None:
    """It was not kept, and so it waits on."""
    store = await open_store()
    store.write_along(partial(noted, "along"))

    def torn(_tx: Transaction) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await store.write(torn)
    assert await store.write(partial(noted, "along")) is False


def unsent(tx: Transaction) -> int:
    outbox = tx.tables["outbox"]
    return int(tx.connection.execute(select(func.count()).where(outbox.c.sequence.is_(None))).scalar_one())


async def test_what_was_published_is_marked_at_the_latest_when_the_database_is_closed(
    relayed: Callable[..., Awaitable[tuple[Store, Relay]]], open_store: OpenStore
) -> None:
    """The next process finds nothing to publish again."""
    store, relay = await relayed()
    event = Envelope.wrap(JobAccepted(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")
    asked = asyncio.ensure_future(relay.published(event.id))
    await store.write(lambda tx: tx.send(event))
    assert await asyncio.wait_for(asked, PATIENCE) == 1
    # What the relay does at the broker's word it has done once another write has passed.
    await store.write(lambda _: None)
    await store.close()
    assert await (await open_store()).write(unsent) == 0
