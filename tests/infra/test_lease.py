"""Leases, and two instances on one database: one publishes, in order; another goes on when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from nats.js import JetStreamContext
from sqlalchemy import MetaData

from contracts import subjects
from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted
from contracts.ids import new_id
from contracts.jobs import NoopSpec
from infra.bus.relay import Relay
from infra.database import lease as lease_module
from infra.database.lease import Lease
from infra.database.store import Store
from tests.conftest import PATIENCE, Bus, Databases, Heard, Keep, OpenStore

ReadStream = Callable[[JetStreamContext, str], Awaitable[list[tuple[int, str]]]]


class Who:
    """An instance that knows of others what it was told."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.gone: set[str] = set()

    def is_gone(self, other: str | None) -> bool:
        return other in self.gone


@pytest.fixture
def databases(both_databases: Databases) -> Databases:
    return both_databases


@pytest.fixture
async def stores(open_store: OpenStore) -> tuple[Store, Store]:
    """One database, opened by two."""
    return await open_store("edge", MetaData()), await open_store("edge", MetaData())


def accepted() -> Envelope:
    return Envelope.wrap(JobAccepted(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")


async def until(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), PATIENCE)


async def test_one_holds_it_and_the_other_gets_it_when_it_is_given_up(stores: tuple[Store, Store], keep: Keep) -> None:
    """Each hold has a higher number; the earlier one is fenced off."""
    first, second = Lease(stores[0], "x", Who("a")), Lease(stores[1], "x", Who("b"))
    holding = asyncio.create_task(first.keep())
    await until(first.held)
    keep(second.keep())
    assert await stores[1].write(second._take) == 0
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    await until(second.held)
    assert (first.fence, second.fence) == (1, 2)
    assert await stores[0].write(first.fenced)
    assert not await stores[1].write(second.fenced)


async def test_it_is_taken_at_once_from_who_is_known_to_be_gone_and_else_when_it_has_run_out(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder says nothing any more; until its time is over nobody else has it, unless the kernel knows better."""
    dead, other = Lease(stores[0], "x", Who("a")), Who("b")
    assert await stores[0].write(dead._take) == 1
    waiting = Lease(stores[1], "x", other)
    assert await stores[1].write(waiting._take) == 0
    other.gone.add("a")
    assert await stores[1].write(waiting._take) == 2
    other.gone.clear()
    third = Lease(stores[1], "x", Who("c"))
    assert await stores[1].write(third._take) == 0
    later = lease_module._now
    monkeypatch.setattr(lease_module, "_now", lambda tx: later(tx) + 2 * int(lease_module.LEASE_SECONDS * 1000))
    assert await stores[1].write(third._take) == 3


async def test_a_holder_that_stood_still_knows_by_its_own_clock(stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it asks anybody: it does nothing more under the lease."""
    lease = Lease(stores[0], "x", Who("a"))
    holding = asyncio.create_task(lease.keep())
    await until(lease.held)
    assert lease.valid()
    lease._until = 0.0
    assert not lease.valid()
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def test_two_instances_publish_in_the_order_of_their_common_outbox(
    bus: Bus, stores: tuple[Store, Store], keep: Keep, heard: Heard, read_stream: ReadStream
) -> None:
    """Written by turns, from both: one relays, and the other's word reaches it."""
    relays = [Relay(store, await bus.connect("edge"), "/edge", Who(name)) for store, name in zip(stores, "ab", strict=True)]
    tasks = [keep(relay.run()) for relay in relays]
    rows = [accepted() for _ in range(60)]
    for n, row in enumerate(rows):
        await stores[n % 2].write(lambda tx, row=row: tx.send(row))  # type: ignore[misc]
    await heard.until(JobAccepted, count=len(rows))
    held = await read_stream(await bus.provisioner(), subjects.EVENTS)
    assert [message for _, message in held] == [row.id for row in rows]
    assert sum(relay._lease.valid() for relay in relays) == 1
    assert not any(task.done() for task in tasks)


async def test_the_other_relay_goes_on_where_one_was_killed(
    bus: Bus, stores: tuple[Store, Store], keep: Keep, heard: Heard, read_stream: ReadStream
) -> None:
    """What the first had published, marked or not, comes once; what it had not follows."""
    one, two = Who("a"), Who("b")
    first = Relay(stores[0], await bus.connect("edge"), "/edge", one)
    running = asyncio.create_task(first.run())
    before, after = [accepted() for _ in range(5)], [accepted() for _ in range(5)]
    for row in before:
        asked = asyncio.ensure_future(first.published(row.id))
        await asyncio.sleep(0)
        await stores[0].write(lambda tx, row=row: tx.send(row))  # type: ignore[misc]
        await asyncio.wait_for(asked, PATIENCE)
    # Killed: it gives nothing up, and no mark of what it has published is kept.
    first._lease.held.clear()
    stores[0]._writer._along.clear()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for row in after:
        await stores[0].write(lambda tx, row=row: tx.send(row))  # type: ignore[misc]
    two.gone.add("a")
    keep(Relay(stores[1], await bus.connect("edge"), "/edge", two).run())
    await heard.until(JobAccepted, count=len(before + after))
    held = await read_stream(await bus.provisioner(), subjects.EVENTS)
    assert [message for _, message in held] == [row.id for row in before + after]
