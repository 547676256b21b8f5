"""A broker that lost what it had acknowledged: whoever sent it sends it again, under the same ids, in order, and nothing else twice."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from contracts import subjects
from contracts.commands import RunJob
from contracts.envelope import Context, Envelope
from contracts.events import BusRepaired, JobAccepted
from contracts.ids import new_id
from contracts.jobs import NoopSpec
from infra.bus import batch as batch_module
from infra.bus import reconcile as reconcile_module
from infra.bus import relay as relay_module
from infra.bus.provision import provision
from infra.bus.reconcile import Reconciler
from infra.bus.relay import Relay
from infra.database.store import Store, Transaction
from infra.instance import Instance
from tests.conftest import PATIENCE, Bus, OpenStore, stream_of

Relayed = Callable[..., Awaitable[tuple[Store, Relay]]]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is away is found out soon."""
    for module in (relay_module, batch_module, reconcile_module):
        monkeypatch.setattr(module, "PUBLISH_TIMEOUT", 1.0)
    monkeypatch.setattr(relay_module, "LOOK_SECONDS", 0.1)


def accepted() -> Envelope:
    return Envelope.wrap(JobAccepted(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")


def run() -> Envelope:
    return Envelope.wrap(RunJob(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")


async def published(relay: Relay, store: Store, *envelopes: Envelope) -> None:
    """Send together, wait until the broker has them, and until that is marked."""
    asked = [asyncio.ensure_future(relay.published(e.id)) for e in envelopes]
    await store.write(lambda tx: tx.send(*envelopes))
    await asyncio.wait_for(asyncio.gather(*asked), PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while await store.write(unmarked):  # noqa: ASYNC110  # nobody is told of marks
            await asyncio.sleep(0.01)


def unmarked(tx: Transaction) -> bool:
    outbox = tx.tables["outbox"]
    return tx.connection.execute(select(outbox.c.n).where(outbox.c.sequence.is_(None))).first() is not None


async def copy_store(bus: Bus, to: Path) -> None:
    """A copy of what the broker holds, as of a stop in order."""
    await bus.server.stop()
    shutil.copytree(bus.home.broker / "store", to)
    await bus.start()


async def replace_store(bus: Bus, by: Path | None) -> None:
    """Have the broker go on with an older copy of its store, or with none."""
    await bus.kill()
    shutil.rmtree(bus.home.broker / "store")
    if by is not None:
        shutil.copytree(by, bus.home.broker / "store")
    await bus.start()
    await provision(await bus.provisioner())


async def held(bus: Bus, stream: str, count: int) -> list[str]:
    """The ids that a stream holds, once there are so many."""
    js = await bus.provisioner()
    async with asyncio.timeout(PATIENCE):
        while (await js.stream_info(stream)).state.messages < count:  # noqa: ASYNC110  # what is looked at is another process's
            await asyncio.sleep(0.02)
    return [message_id for _, message_id in await stream_of(js, stream)]


async def repaired(bus: Bus) -> list[tuple[str, int]]:
    """What is told of losses, in order."""
    js = await bus.provisioner()
    state = (await js.stream_info(subjects.EVENTS)).state
    found = [Envelope.load((await js.get_msg(subjects.EVENTS, n)).data or b"").message for n in range(1, state.last_seq + 1)]
    return [(event.stream, event.messages) for event in found if isinstance(event, BusRepaired)]


@pytest.mark.parametrize("emptied", [False, True], ids=["an older copy", "an empty store"])
async def test_what_a_replaced_store_lacks_is_sent_again_while_all_runs(bus: Bus, relayed: Relayed, tmp_path: Path, emptied: bool) -> None:
    """Events in their order and commands with them, once each; then a word of it, and what is new after that."""
    store, relay = await relayed()
    before = [accepted() for _ in range(20)]
    await published(relay, store, *before)
    await copy_store(bus, tmp_path / "copy")
    lost = [envelope for _ in range(30) for envelope in (accepted(), run())]
    await published(relay, store, *lost[:10])
    await published(relay, store, *lost[10:])
    await replace_store(bus, None if emptied else tmp_path / "copy")
    kept = 20 if not emptied else 0
    wanted = [e.id for e in (*before, *lost) if e.subject.startswith("halftone.evt")]
    assert (await held(bus, subjects.EVENTS, 50 + 2))[:50] == wanted
    assert await held(bus, subjects.COMMANDS, 30) == [e.id for e in lost if e.subject.startswith("halftone.cmd")]
    assert await repaired(bus) == [("events", 50 - kept), ("commands", 30)]
    new = accepted()
    await published(relay, store, new)
    assert (await held(bus, subjects.EVENTS, 53))[-1] == new.id


async def test_what_was_lost_while_nothing_ran_is_sent_again_at_the_start(
    bus: Bus, relayed: Relayed, open_store: OpenStore, tmp_path: Path
) -> None:
    """The store was replaced, and others have written since: sequences are in use again, for messages that are not ours."""
    store = await open_store("edge")
    relay = Relay(store, await bus.connect("edge"), "/edge", Instance(bus.home))
    running = asyncio.create_task(relay.run())
    first, lost = [accepted() for _ in range(5)], [accepted() for _ in range(9)]
    await published(relay, store, *first)
    await copy_store(bus, tmp_path / "copy")
    await published(relay, store, *lost)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await store.close()
    await replace_store(bus, tmp_path / "copy")
    others = [accepted() for _ in range(20)]
    js = await bus.provisioner()
    for other in others:
        await js.publish(other.subject, other.dump(), headers={"Nats-Msg-Id": other.id})
    await relayed("edge")
    assert (await held(bus, subjects.EVENTS, 35))[:34] == [e.id for e in (*first, *others, *lost)]
    assert await repaired(bus) == [("events", 9)]


async def test_a_broker_that_lost_nothing_is_sent_nothing(bus: Bus, relayed: Relayed) -> None:
    """Killed and started again: nothing is found missing, however often it is looked at."""
    store, relay = await relayed()
    rows = [accepted() for _ in range(40)]
    await published(relay, store, *rows, run())
    await bus.kill()
    await bus.start()
    await published(relay, store, last := accepted())
    reconciler = Reconciler(store, await bus.connect("edge"), "/edge")
    assert await reconciler.repair() == 0
    assert await held(bus, subjects.EVENTS, 41) == [e.id for e in (*rows, last)]


async def test_commands_that_were_done_are_no_loss(bus: Bus, relayed: Relayed) -> None:
    """A work queue forgets what was consumed: that it is not there says nothing."""
    store, relay = await relayed()
    await published(relay, store, accepted(), *(run() for _ in range(20)))
    await (await bus.provisioner()).purge_stream(subjects.COMMANDS)
    assert await Reconciler(store, await bus.connect("edge"), "/edge").repair() == 0


async def test_more_than_a_page_is_sent_in_order(
    bus: Bus, relayed: Relayed, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is read page by page, so that it never has to fit into memory; what is written meanwhile comes after it."""
    monkeypatch.setattr(relay_module, "PAGE", 16)
    monkeypatch.setattr(relay_module, "FETCH", 8)
    store = await open_store("edge")
    rows = [accepted() for _ in range(100)]
    await store.write(lambda tx: tx.send(*rows))
    await store.close()
    again, relay = await relayed("edge")
    more = [accepted() for _ in range(30)]
    await published(relay, again, *more)
    assert await held(bus, subjects.EVENTS, 130) == [e.id for e in (*rows, *more)]
