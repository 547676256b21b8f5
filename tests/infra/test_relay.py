"""The relay: what is in the outbox reaches the stream once, in order, whatever happens to the broker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from nats.js import JetStreamContext
from sqlalchemy import func, select

from contracts import subjects
from contracts.commands import RunJob
from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted
from contracts.ids import derived_message_id, new_id
from contracts.jobs import NoopSpec
from infra.bus import batch as batch_module
from infra.bus import relay as relay_module
from infra.bus.batch import BatchRefused, publish_batch
from infra.bus.connection import jetstream
from infra.bus.relay import BATCH_FROM, FETCH, Relay
from infra.database.store import Outgoing, Store, Transaction
from running_system import eventually
from tests.conftest import PATIENCE, Bus, Keep, OpenStore

ReadStream = Callable[[JetStreamContext, str], Awaitable[list[tuple[int, str]]]]
Relayed = Callable[..., Awaitable[tuple[Store, Relay]]]


def accepted() -> Envelope:
    return Envelope.wrap(JobAccepted(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")


def run(job: str) -> Envelope:
    return Envelope.wrap(RunJob(job=job, spec=NoopSpec()), Context.new(), source="/edge")


async def send(store: Store, *envelopes: Envelope) -> None:
    await store.write(lambda tx: tx.send(*envelopes))


async def published(relay: Relay, store: Store, *envelopes: Envelope) -> list[int]:
    """Send together, and wait for the sequence of each."""
    asked = [asyncio.ensure_future(relay.published(e.id)) for e in envelopes]
    await send(store, *envelopes)
    return list(await asyncio.wait_for(asyncio.gather(*asked), PATIENCE))


def unsent(tx: Transaction) -> int:
    outbox = tx.tables["outbox"]
    return int(tx.connection.execute(select(func.count()).where(outbox.c.sequence.is_(None))).scalar_one())


@pytest.mark.parametrize("count", [1, BATCH_FROM - 1, BATCH_FROM, FETCH, FETCH + BATCH_FROM], ids=lambda n: f"{n} rows")
async def test_rows_leave_in_order(bus: Bus, relayed: Relayed, read_stream: ReadStream, count: int) -> None:
    """Singly, in one atomic batch, or in several: the stream has each row once and in the outbox's order, and each asker hears where."""
    store, relay = await relayed()
    rows = [accepted() for _ in range(count)]
    sequences = await published(relay, store, *rows)
    assert sequences == list(range(1, count + 1))
    held = await read_stream(await bus.provisioner(), subjects.EVENTS)
    assert held == list(zip(sequences, [row.id for row in rows], strict=True))


async def test_streams_do_not_wait_for_each_other_and_keep_their_own_order(bus: Bus, relayed: Relayed, read_stream: ReadStream) -> None:
    """Events and commands of one change both arrive, each stream in the order of the outbox."""
    store, relay = await relayed()
    pairs = [(accepted(), run(new_id("job"))) for _ in range(BATCH_FROM)]
    await published(relay, store, *(envelope for pair in pairs for envelope in pair))
    js = await bus.provisioner()
    assert [i for _, i in await read_stream(js, subjects.EVENTS)] == [event.id for event, _ in pairs]
    assert [i for _, i in await read_stream(js, subjects.COMMANDS)] == [command.id for _, command in pairs]


async def test_a_message_says_what_it_is(bus: Bus, relayed: Relayed) -> None:
    """Subject, content type, id and body are those of the envelope, in a batch as well."""
    store, relay = await relayed()
    rows = [accepted() for _ in range(BATCH_FROM)]
    sequences = await published(relay, store, *rows)
    js = await bus.provisioner()
    for sequence, row in zip(sequences, rows, strict=True):
        message = await js.get_msg(subjects.EVENTS, sequence)
        assert (message.subject, message.data) == (row.subject, row.dump())
        assert message.headers is not None
        assert (message.headers["Content-Type"], message.headers["Nats-Msg-Id"]) == ("application/cloudevents+json", row.id)


async def free(js: JetStreamContext, subject: str) -> None:
    """Take what lies on a subject of the work queue away, as its executor would."""
    await js.purge_stream(subjects.COMMANDS, subject=subject)


async def test_a_command_whose_place_is_taken_waits_and_holds_nothing_up(bus: Bus, relayed: Relayed, read_stream: ReadStream) -> None:
    """Events, and commands with other places, pass it; when its place is free, it leaves."""
    store, relay = await relayed()
    job = new_id("job")
    first, second, other, event = run(job), run(job), run(new_id("job")), accepted()
    await published(relay, store, first)
    waiting = asyncio.ensure_future(relay.published(second.id))
    await send(store, second)
    await published(relay, store, other, event)
    assert not waiting.done()
    js = await bus.provisioner()
    await free(js, first.subject)
    assert await asyncio.wait_for(waiting, PATIENCE) == 3
    assert [i for _, i in await read_stream(js, subjects.COMMANDS)] == [other.id, second.id]


async def test_many_waiting_commands_do_not_hide_an_event_behind_them(bus: Bus, relayed: Relayed, monkeypatch: pytest.MonkeyPatch) -> None:
    """More commands wait than are read at a time, and still what follows them is seen."""
    monkeypatch.setattr(relay_module, "FETCH", 4)
    store, relay = await relayed()
    job = new_id("job")
    await published(relay, store, run(job))
    waiting = [run(job) for _ in range(5)]
    await send(store, *waiting)
    await published(relay, store, accepted())
    js = await bus.provisioner()
    assert (await js.stream_info(subjects.COMMANDS)).state.messages == 1


async def test_a_waiting_command_does_not_slow_what_comes_after_it(bus: Bus, relayed: Relayed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause before it is tried again is nobody else's pause."""
    monkeypatch.setattr(relay_module, "RETRY_SECONDS", 10 * PATIENCE)
    store, relay = await relayed()
    job = new_id("job")
    await published(relay, store, run(job))
    await send(store, run(job))
    for _ in range(3):
        await published(relay, store, accepted())


async def test_a_batch_is_stored_whole_or_not_at_all(bus: Bus) -> None:
    """One message that the stream refuses, and none of its batch is there."""
    js, client = await bus.provisioner(), await bus.connect("edge")
    taken = run(new_id("job"))
    await js.publish(taken.subject, taken.dump())
    batch = [run(new_id("job")), run(taken.data["job"]), run(new_id("job"))]
    with pytest.raises(BatchRefused):
        await publish_batch(client, [(e.subject, e.id, e.dump()) for e in batch])
    assert (await js.stream_info(subjects.COMMANDS)).state.messages == 1


async def test_commands_that_want_the_same_place_do_not_hold_a_batch_up(
    bus: Bus, relayed: Relayed, read_stream: ReadStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two for one job among many: the first takes the place, the second waits, the others leave at once."""
    monkeypatch.setattr(batch_module, "PUBLISH_TIMEOUT", 10 * PATIENCE)
    store, relay = await relayed()
    rows = [run(new_id("job")) for _ in range(BATCH_FROM)]
    asked = [asyncio.ensure_future(relay.published(row.id)) for row in rows]
    await send(store, *rows, run(rows[-1].data["job"]))
    await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
    assert [i for _, i in await read_stream(await bus.provisioner(), subjects.COMMANDS)] == [row.id for row in rows]


async def test_a_batch_with_a_message_that_is_stored_already_goes_singly(bus: Bus, relayed: Relayed, read_stream: ReadStream) -> None:
    """After a crash between publishing and marking: what was stored is known again, the rest is added, nothing twice."""
    store, relay = await relayed()
    rows = [accepted() for _ in range(2 * BATCH_FROM)]
    edge = jetstream(await bus.connect("edge"))
    for row in rows[:3]:
        await edge.publish(row.subject, row.dump(), headers={"Nats-Msg-Id": row.id})
    with pytest.raises(BatchRefused):
        await publish_batch(await bus.connect("edge"), [(e.subject, e.id, e.dump()) for e in rows])
    assert await published(relay, store, *rows) == list(range(1, 2 * BATCH_FROM + 1))
    assert [i for _, i in await read_stream(await bus.provisioner(), subjects.EVENTS)] == [row.id for row in rows]


async def test_what_a_stopped_process_left_is_published_by_the_next(
    bus: Bus, open_store: OpenStore, keep: Keep, relayed: Relayed, read_stream: ReadStream
) -> None:
    """Rows written without a relay, and a row that was published but not marked, all arrive once."""
    store = await open_store("edge")
    rows = [accepted() for _ in range(3)]
    await send(store, *rows)
    await jetstream(await bus.connect("edge")).publish(rows[0].subject, rows[0].dump(), headers={"Nats-Msg-Id": rows[0].id})
    await store.close()
    again, relay = await relayed("edge")
    last = accepted()
    assert await published(relay, again, last) == [4]
    assert [i for _, i in await read_stream(await bus.provisioner(), subjects.EVENTS)] == [e.id for e in (*rows, last)]
    # What was published is marked before the next is.
    await published(relay, again, accepted())
    assert await again.write(unsent) <= 1


async def test_each_of_several_askers_hears_even_if_one_gives_up(bus: Bus, relayed: Relayed) -> None:
    """Two requests may wait for the same message."""
    store, relay = await relayed()
    row = accepted()
    gone, stays = (asyncio.ensure_future(relay.published(row.id)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await send(store, row)
    assert await asyncio.wait_for(stays, PATIENCE) == 1


async def test_a_stream_that_refuses_does_not_stop_the_others(bus: Bus, relayed: Relayed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that one stream does not take now: the other streams' rows leave all the same."""
    js = await bus.provisioner()
    config = (await js.stream_info(subjects.COMMANDS)).config
    await js.update_stream(config.evolve(max_msg_size=10))
    store, relay = await relayed()
    large = run(new_id("job"))
    waiting = asyncio.ensure_future(relay.published(large.id))
    await send(store, large)
    assert await published(relay, store, accepted()) == [1]
    assert not waiting.done()
    await js.update_stream(config)
    assert await asyncio.wait_for(waiting, PATIENCE) == 1


async def test_a_command_that_no_stream_takes_is_kept_in_dead_and_blocks_nothing(
    bus: Bus, relayed: Relayed, read_stream: ReadStream
) -> None:
    """Larger than the stream or even the broker allows: the command behind it leaves, a copy says why, and it is not tried again."""
    store, relay = await relayed()
    last = [run(new_id("job")) for _ in range(2 * BATCH_FROM)]
    taken, sizes = last[0].subject[:-1] + "0", (300_000, 2 << 20)
    large, larger = (Outgoing(n, run(new_id("job")).id, taken, b"x" * size) for n, size in enumerate(sizes, start=1))

    def change(tx: Transaction) -> None:
        outbox = tx.tables["outbox"].insert()
        for row in (large, larger):
            tx.connection.execute(outbox, {"message_id": row.message_id, "subject": row.subject, "body": row.body, "made_at": 0})
        tx.sent += [large, larger]
        tx.send(*last)

    asked = [asyncio.ensure_future(relay.published(row.id)) for row in last]
    await store.write(change)
    await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
    js = await bus.provisioner()
    assert [i for _, i in await read_stream(js, subjects.COMMANDS)] == [row.id for row in last]
    await published(relay, store, accepted())
    letters = [Envelope.load((await js.get_msg(subjects.DEAD, n)).data or b"") for n in (1, 2)]
    assert {letter.id for letter in letters} == {derived_message_id(row.message_id, "dead", 0) for row in (large, larger)}
    assert {letter.data["reason"] for letter in letters} == {"too-large"}
    await published(relay, store, accepted())
    assert await store.write(unsent) <= 1


class Load:
    """Writers that each wait for what they sent before they send more."""

    def __init__(self, store: Store, relay: Relay) -> None:
        self._store, self._relay = store, relay
        self.sent: list[Envelope] = []
        """In the outbox's order."""
        self.stopping = False
        self._arrived, self._news = 0, asyncio.Event()

    def _change(self, rows: list[Envelope], tx: Transaction) -> None:
        tx.send(*rows)
        self.sent.extend(rows)

    async def write(self, size: int) -> None:
        while not self.stopping:
            rows = [row for _ in range(size) for row in (accepted(), run(new_id("job")))]
            asked = [asyncio.ensure_future(self._relay.published(row.id)) for row in rows]
            await self._store.write(partial(self._change, rows))
            await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
            self._arrived += len(rows)
            self._news.set()

    async def until_more(self, count: int) -> None:
        """Wait until so many more rows have arrived."""
        goal = self._arrived + count
        while self._arrived < goal:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), PATIENCE)


async def test_a_broker_that_is_there_and_says_nothing_is_known_to(bus: Bus, relayed: Relayed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, its connections stay open: only that nothing is answered tells it, until it goes on."""
    monkeypatch.setattr(relay_module, "PUBLISH_TIMEOUT", 0.3)
    store, relay = await relayed()
    await published(relay, store, accepted())
    assert not relay.unanswered
    assert bus.server.process is not None
    bus.server.process.send_signal(signal.SIGSTOP)
    row = accepted()
    asked = asyncio.ensure_future(relay.published(row.id))
    await send(store, row)
    await asyncio.to_thread(eventually, lambda: relay.unanswered)
    bus.server.process.send_signal(signal.SIGCONT)
    await asyncio.wait_for(asked, PATIENCE)
    await asyncio.to_thread(eventually, lambda: not relay.unanswered)


async def test_what_was_on_its_way_when_the_connection_was_lost_is_not_waited_for(
    bus: Bus, relayed: Relayed, read_stream: ReadStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer will come over a connection that is gone: it is published again over the next, however patient a publish is."""
    monkeypatch.setattr(relay_module, "PUBLISH_TIMEOUT", 1000.0)
    store, relay = await relayed()
    await published(relay, store, accepted())
    assert bus.server.process is not None
    bus.server.process.send_signal(signal.SIGSTOP)
    row = accepted()
    asked = asyncio.ensure_future(relay.published(row.id))
    await send(store, row)
    # Handed to a broker that will never read it.
    await asyncio.to_thread(eventually, lambda: relay.backlog == 1)
    await bus.kill()
    await bus.start()
    sequence = await asyncio.wait_for(asked, PATIENCE)
    assert (sequence, row.id) in await read_stream(await bus.provisioner(), subjects.EVENTS)


async def test_a_broker_killed_under_load_loses_nothing_and_repeats_nothing(
    bus: Bus, relayed: Relayed, read_stream: ReadStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 and start again while several tasks write: every row is in its stream exactly once, in the outbox's order."""
    monkeypatch.setattr(relay_module, "PUBLISH_TIMEOUT", 1.0)
    monkeypatch.setattr(batch_module, "PUBLISH_TIMEOUT", 1.0)
    load = Load(*await relayed())
    writers = [asyncio.create_task(load.write(size)) for size in (1, 3, 20, 100)]
    for _ in range(3):
        await load.until_more(300)
        await bus.kill()
        await bus.start()
    await load.until_more(300)
    load.stopping = True
    await asyncio.gather(*writers)
    js = await bus.provisioner()
    for stream in (subjects.EVENTS, subjects.COMMANDS):
        held = [message_id for _, message_id in await read_stream(js, stream)]
        assert held == [e.id for e in load.sent if subjects.stream_of(e.subject) == stream]
