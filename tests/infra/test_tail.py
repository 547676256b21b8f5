"""Reading a stream in order: no gap, nothing twice, and no mistaking one stream for another."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence

import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts import subjects
from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted
from contracts.ids import new_id
from contracts.jobs import NoopSpec
from infra.bus import connection as connection_module
from infra.bus import tail as tail_module
from infra.bus.connection import jetstream
from infra.bus.provision import provision
from infra.bus.tail import PositionLost, Stored, Tail
from tests.conftest import PATIENCE, Bus, Keep


class Reader:
    """Applies what a tail brings, and remembers it."""

    def __init__(self) -> None:
        self.read: list[Stored] = []
        self.runs: list[int] = []
        self._news = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def apply(self, messages: Sequence[Stored]) -> None:
        await self.gate.wait()
        self.read += messages
        self.runs.append(len(messages))
        self._news.set()

    async def until(self, count: int) -> list[str]:
        """The ids that were read, once there are so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self.read) < count:
                self._news.clear()
                await self._news.wait()
        return [stored.message_id for stored in self.read]


def tail_of(client: Client) -> Tail:
    return Tail(client, subjects.EVENTS, subjects.STORED_EVENTS_ALL)


async def store(client: Client, count: int) -> list[str]:
    """Publish events; their ids, in order."""
    events = [Envelope.wrap(JobAccepted(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge") for _ in range(count)]
    for event in events:
        await jetstream(client).publish(event.subject, event.dump(), headers={"Nats-Msg-Id": event.id})
    return [event.id for event in events]


@pytest.fixture
async def edge(bus: Bus) -> Client:
    return await bus.connect("edge")


async def replace_stream(bus: Bus) -> None:
    """Another broker's stream under the same name."""
    js = await bus.provisioner()
    await js.delete_stream(subjects.EVENTS)
    await provision(js)


async def test_what_was_missed_and_what_is_new_come_in_order(edge: Client, keep: Keep) -> None:
    """First the past, in batches, then the news, each once, with its sequence."""
    past = await store(edge, 30)
    reader, tail = Reader(), tail_of(edge)
    keep(tail.follow(0, None, reader.apply))
    assert await reader.until(30) == past
    news = await store(edge, 20)
    assert await reader.until(50) == past + news
    assert [stored.sequence for stored in reader.read] == list(range(1, 51))
    assert tail.position == tail.last == 50


async def test_a_long_past_comes_in_several_batches(edge: Client, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than one look's worth is held at a time, and nothing is lost where two looks meet."""
    monkeypatch.setattr(tail_module, "FETCH", 7)
    past = await store(edge, 40)
    reader = Reader()
    keep(tail_of(edge).follow(0, None, reader.apply))
    assert await reader.until(40) == past
    assert max(reader.runs) <= 7


async def test_reading_goes_on_from_a_position(edge: Client, keep: Keep) -> None:
    """What was read before is not read again."""
    past = await store(edge, 10)
    reader = Reader()
    keep(tail_of(edge).follow(6, past[5], reader.apply))
    assert await reader.until(4) == past[6:]


async def test_news_that_is_lost_is_fetched(edge: Client, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the reader is busy more comes than is kept: the gap is seen and filled from the stream."""
    monkeypatch.setattr(tail_module, "PENDING", 3)
    reader, tail = Reader(), tail_of(edge)
    keep(tail.follow(0, None, reader.apply))
    first = await store(edge, 1)
    await reader.until(1)
    reader.gate.clear()
    flood = await store(edge, 30)
    await edge.flush()
    reader.gate.set()
    last = await store(edge, 1)
    assert await reader.until(32) == first + flood + last


async def test_news_that_never_comes_is_looked_for(edge: Client, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the broker's repetition is lost altogether, the stream is asked now and then."""
    monkeypatch.setattr(tail_module, "LOOK_EVERY", 0.1)
    reader = Reader()
    keep(Tail(edge, subjects.EVENTS, "_INBOX_edge.silence").follow(0, None, reader.apply))
    stored = await store(edge, 3)
    assert await reader.until(3) == stored


async def test_two_tails_read_independently(bus: Bus, edge: Client, keep: Keep) -> None:
    """Each at its own pace and from its own position: one that stands still holds nobody up."""
    past = await store(edge, 5)
    slow, fast = Reader(), Reader()
    slow.gate.clear()
    keep(tail_of(edge).follow(0, None, slow.apply))
    keep(tail_of(await bus.connect("auditor")).follow(3, past[2], fast.apply))
    news = await store(edge, 5)
    assert await fast.until(7) == past[3:] + news
    assert slow.read == []
    slow.gate.set()
    assert await slow.until(10) == past + news


async def test_a_replaced_stream_is_noticed_at_the_start(bus: Bus, edge: Client) -> None:
    """Shorter than what was read, or with another message in its place: reading on would mix two histories."""
    past = await store(edge, 3)
    for position, message_id in ((4, "x"), (3, past[1])):
        with pytest.raises(PositionLost, match="EVENTS"):
            await asyncio.wait_for(tail_of(edge).follow(position, message_id, Reader().apply), PATIENCE)
    await replace_stream(bus)
    with pytest.raises(PositionLost, match="EVENTS at 3"):
        await asyncio.wait_for(tail_of(edge).follow(3, past[2], Reader().apply), PATIENCE)


@pytest.mark.parametrize("stored", [0, 2, 3, 8])
async def test_a_stream_that_is_replaced_while_it_is_read_is_noticed(
    bus: Bus, edge: Client, monkeypatch: pytest.MonkeyPatch, stored: int
) -> None:
    """However many messages the other holds: none, fewer than were read, as many, or more."""
    monkeypatch.setattr(tail_module, "LOOK_EVERY", 0.2)
    reader = Reader()
    following = asyncio.create_task(tail_of(edge).follow(0, None, reader.apply))
    past = await store(edge, 3)
    await reader.until(3)
    await replace_stream(bus)
    await store(edge, stored)
    with pytest.raises(PositionLost):
        await asyncio.wait_for(following, PATIENCE)
    assert [s.message_id for s in reader.read[:3]] == past


async def test_a_broker_that_comes_back_with_another_stream_is_noticed(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one has grown unheard to just what was read, so that its next message looks like what follows: it is not taken."""
    failed = asyncio.Event()

    async def on_error(_user: str, _error: Exception) -> None:
        failed.set()

    monkeypatch.setattr(connection_module, "on_error", on_error)
    monkeypatch.setattr(connection_module, "RECONNECT_EVERY", 1.5)
    monkeypatch.setattr(tail_module, "LOOK_EVERY", 10 * PATIENCE)
    edge, reader = await bus.connect("edge"), Reader()
    following = asyncio.create_task(tail_of(edge).follow(0, None, reader.apply))
    past = await store(edge, 3)
    await reader.until(3)
    await bus.kill()
    # From here on the reader's connection waits before it tries again: what the other broker is told is no news to it.
    await asyncio.wait_for(failed.wait(), PATIENCE)
    shutil.rmtree(bus.home.broker / "store")
    await bus.start()
    await provision(await bus.provisioner())
    other = await bus.connect("ingestor")
    await store(other, 3)
    # Answered once the reader's connection is there again, and its subscriptions with it.
    await jetstream(edge).stream_info(subjects.EVENTS)
    await store(other, 1)
    with pytest.raises(PositionLost):
        await asyncio.wait_for(following, PATIENCE)
    assert [stored.message_id for stored in reader.read] == past


async def test_a_broker_that_is_killed_and_started_costs_nothing(bus: Bus, edge: Client, keep: Keep) -> None:
    """Reading goes on where it was, with what was stored meanwhile."""
    reader = Reader()
    keep(tail_of(edge).follow(0, None, reader.apply))
    ids = await store(edge, 5)
    for _ in range(2):
        await reader.until(len(ids))
        await bus.kill()
        await bus.start()
        other = await bus.connect("ingestor")
        ids += await store(other, 5)
    assert await reader.until(15) == ids


async def test_a_stream_that_is_not_there_yet_is_no_lost_position(bare_bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that has not brought its streams up again has lost nothing: it is asked again later."""
    monkeypatch.setattr(tail_module, "LOOK_EVERY", 0.01)
    js = await bare_bus.provisioner()
    with pytest.raises(NotFoundError):
        await js.stream_info(subjects.EVENTS)
    tail, reader = tail_of(await bare_bus.connect("edge")), Reader()
    tail.position, tail._message_id = 3, "somebody"
    await tail._catch_up(reader.apply)
    assert (tail.position, reader.read) == (3, [])
    await provision(js)
    with pytest.raises(PositionLost):
        await tail._catch_up(reader.apply)
