"""The gateway's one transaction: all of a promise is on disk, or nothing is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from api import gateway as module
from api.gateway import Gateway, Key, Order
from api.problems import BacklogFull, BusAway, KeyReused
from api.tables import edge_tables
from api.underway import UnderWay
from contracts.envelope import Context
from contracts.events import DatasetRegistered, Origin
from contracts.ids import new_id
from contracts.jobs import NoopSpec
from infra.database.store import Store


class Bus:
    """As much of a client as the gateway looks at."""

    is_connected = True


class Relay:
    """Answers when the test says so."""

    unanswered = False

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.sequence: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def published(self, message_id: str) -> int:
        self.asked.set()
        return await asyncio.shield(self.sequence)


class Parts:
    """As much of a runtime as a gateway needs; nothing is ever published."""

    source = "/edge"

    def __init__(self, store: Store) -> None:
        self.store, self.client, self.relay = store, Bus(), Relay()


@pytest_asyncio.fixture
async def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    monkeypatch.setattr(module, "ACKNOWLEDGED_WITHIN", 0.01)
    store = Store(f"sqlite:///{tmp_path / 'edge.sqlite'}", edge_tables())
    await store.open()
    yield Parts(store)
    await store.close()


class NothingUnderWay:
    """As much of views and projector as counting asks."""

    def position(self, stream: str) -> int:
        return 0

    async def under_way(self, project: str) -> list[str]:
        return []


def gateway_of(parts: Any) -> Gateway:
    return Gateway(parts, UnderWay(cast("Any", NothingUnderWay()), cast("Any", NothingUnderWay()), 1000))


def noop(**more: Any) -> Order:
    return Order(new_id("job"), NoopSpec(), **more)


async def rows(parts: Any, table: str) -> int:
    t = parts.store.metadata.tables[table]
    return int(await parts.store.write(lambda tx: tx.connection.execute(select(func.count()).select_from(t)).scalar_one()))


async def test_without_the_brokers_word_the_sequence_is_unknown(parts: Any) -> None:
    """The promise does not wait for the broker for longer than it says: what counts is on disk."""
    promise = await gateway_of(parts).accept(noop(), Context.new())
    assert promise.sequence is None
    assert await rows(parts, "outbox") == 2


async def test_the_brokers_word_is_part_of_the_promise(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that answers in time says where the acceptance is stored."""
    monkeypatch.setattr(module, "ACKNOWLEDGED_WITHIN", 5.0)
    promised = asyncio.create_task(gateway_of(parts).accept(noop(), Context.new()))
    await parts.relay.asked.wait()
    parts.relay.sequence.set_result(77)
    assert (await promised).sequence == 77


async def test_a_promise_whose_rows_cannot_be_written_is_not_made(parts: Any) -> None:
    """Key, events, command and the rows beside them stand or fall together."""

    def broken(_: Any) -> None:
        raise LookupError

    dataset = new_id("ds")
    order = noop(
        dataset=dataset, before=(DatasetRegistered(dataset=dataset, origin=Origin.REAL, account=new_id("acc"), job=new_id("job")),)
    )
    with pytest.raises(LookupError):
        await gateway_of(parts).accept(Order(order.job, order.spec, dataset, order.before, broken), Context.new(), Key.of("k", "a"))
    assert [await rows(parts, table) for table in ("outbox", "requests")] == [0, 0]


async def test_a_key_is_its_principals_own(parts: Any) -> None:
    """Two people may choose the same key; for one of them, another request under it is a conflict."""
    gateway, key = gateway_of(parts), Key.of("k", "a")
    mine, theirs = Context.new(), Context.new(new_id("prn"))
    first = await gateway.accept(noop(), mine, key)
    assert (await gateway.accept(noop(), mine, key)).job == first.job
    assert (await gateway.accept(noop(), theirs, key)).job != first.job
    assert await gateway.promised(theirs.principal, Key.of("other", "a")) is None
    with pytest.raises(KeyReused):
        await gateway.accept(noop(), mine, Key.of("k", "b"))
    assert await rows(parts, "outbox") == 4


def test_a_request_is_told_from_another_wherever_its_parts_are_cut() -> None:
    """What was asked for is hashed part by part."""
    assert Key.of("k", "ab", "c") != Key.of("k", "a", "bc")


async def test_a_full_outbox_refuses_before_anything_is_written(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and to be tried again: an edge that cannot pass on what it accepts stops accepting."""
    monkeypatch.setattr(module, "_UNSENT", module._UNSENT.replace("10001", "3"))
    monkeypatch.setattr(module, "MOST_UNSENT", 2)
    gateway = gateway_of(parts)
    await gateway.accept(noop(), Context.new())
    await gateway.accept(noop(), Context.new())
    with pytest.raises(BacklogFull) as refused:
        await gateway.accept(noop(), Context.new())
    assert (refused.value.status, refused.value.retry_after) == (503, 2)
    assert await rows(parts, "outbox") == 4


async def test_without_a_broker_nothing_is_promised(parts: Any) -> None:
    """503 before the commit, never 202 for what nobody may ever hear of."""
    parts.client.is_connected = False
    with pytest.raises(BusAway):
        await gateway_of(parts).accept(noop(), Context.new())
    assert await rows(parts, "outbox") == 0
