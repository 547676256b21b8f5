"""The views keep up with a real broker: with news, over gaps, and with another broker in its place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.client import Client

from api.views.projector import Projector
from api.views.queries import Views
from contracts import subjects
from contracts.base import Event
from contracts.envelope import Envelope
from contracts.events import JobAccepted, JobCompleted, JobStarted
from contracts.ids import JobId, new_id
from contracts.jobs import JobState, NoopSpec
from contracts.records import Progress
from infra.bus.connection import connect, jetstream
from infra.bus.provision import provision
from infra.bus.server import NatsServer
from infra.home import BusAccess, Home

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE = 20.0


class Bus:
    """A broker, the edge's connection to it, and the right to do with its streams as one likes."""

    def __init__(self, admin: Client, edge: Client) -> None:
        self.admin, self.edge = admin, edge

    async def renew(self) -> None:
        """Put empty streams in the place of those that are there."""
        js = jetstream(self.admin)
        for info in await js.streams_info():
            await js.delete_stream(info.config.name)
        await provision(js)

    async def publish(self, story: Any) -> dict[str, int]:
        """Publish all that a story tells; the last sequence of each stream."""
        reached = {}
        for stream, held in story.messages.items():
            for message in held:
                subject = Envelope.load(message.body).subject
                ack = await jetstream(self.admin).publish(subject, message.body, headers={"Nats-Msg-Id": message.message_id})
                reached[stream] = ack.seq
            held.clear()
        return reached


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bus]:
    """A broker of this module's own, on a free port."""
    home = Home(tmp_path_factory.mktemp("home")).prepare()
    access = BusAccess.ensure(home, 0)
    server = NatsServer(home, access)
    await server.start()
    clients = [await connect(access.url(user), user) for user in ("provisioner", "edge")]
    yield Bus(*clients)
    for client in clients:
        await client.close()
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def bus(broker: Bus) -> Bus:
    """The broker, with empty streams."""
    await broker.renew()
    return broker


@pytest_asyncio.fixture(loop_scope="module")
async def views(tmp_path: Any) -> AsyncIterator[Views]:
    views = Views(f"sqlite:///{tmp_path / 'views.sqlite'}")
    await views.open()
    yield views
    await views.close()


@contextlib.asynccontextmanager
async def following(*work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Background tasks for as long as a block lasts; none may have ended by itself."""
    tasks = [asyncio.ensure_future(w()) for w in work]
    try:
        yield
    finally:
        assert [t for t in tasks if t.done()] == []
        pending = set(tasks)
        while pending:
            # Once is not always enough: the client's own waiting may lose a cancellation (asyncio.wait_for under Python 3.11).
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=1)


def life(job: JobId) -> list[Event]:
    return [JobAccepted(job=job, spec=NoopSpec()), JobStarted(job=job, attempt=1), JobCompleted(job=job, attempt=1)]


async def test_every_stream_is_folded_as_it_grows(bus: Bus, views: Views, full_story: Any, story: Any) -> None:
    """What was there before, and what is told meanwhile, in each stream."""
    story.messages = {stream: list(held) for stream, held in full_story.messages.items()}
    total = {stream: len(held) for stream, held in story.messages.items()}
    await bus.publish(story)
    projector = Projector(views, bus.edge)
    async with following(projector.run_events, projector.run_audit, projector.run_dead):
        for stream, count in total.items():
            assert await projector.reached(stream, count, PATIENCE)
        job = new_id("job")
        story.tell(*life(job))
        last = (await bus.publish(story))[subjects.EVENTS]
        assert await projector.reached(subjects.EVENTS, last, PATIENCE)
        assert (await views.job(job)).state is JobState.COMPLETED  # type: ignore[union-attr]
        assert projector.position(subjects.EVENTS) == projector.last(subjects.EVENTS) == last == total[subjects.EVENTS] + 3
    assert await views.inclusion(full_story.envelopes[0].id) is not None


async def test_an_end_is_told_once_the_job_can_be_read(bus: Bus, views: Views, story: Any) -> None:
    """Also where the end was stored before the acceptance: then that is what brings the news."""
    projector, job = Projector(views, bus.edge), new_id("job")
    accepted, started, completed = life(job)
    async with following(projector.run_events), projector.ends(job) as ends:
        story.tell(started, completed)
        assert await projector.reached(subjects.EVENTS, (await bus.publish(story))[subjects.EVENTS], PATIENCE)
        assert await asyncio.wait_for(ends.get(), PATIENCE) is None
        assert await views.job(job) is None
        story.tell(accepted)
        await bus.publish(story)
        assert await asyncio.wait_for(ends.get(), PATIENCE) is None
        assert (await views.job(job)).state is JobState.COMPLETED  # type: ignore[union-attr]


async def test_a_gap_is_closed(bus: Bus, views: Views, story: Any) -> None:
    """Told while nobody listened: the next projector begins where the last one ended, and misses nothing."""
    jobs = [new_id("job") for _ in range(3)]
    for n, job in enumerate(jobs):
        story.tell(*life(job))
        last = (await bus.publish(story))[subjects.EVENTS]
        if n == 1:
            continue
        projector = Projector(views, bus.edge)
        async with following(projector.run_events):
            assert await projector.reached(subjects.EVENTS, last, PATIENCE)
    assert [job.id for job in (await views.jobs()).items] == jobs[::-1]
    assert (await views.position(subjects.EVENTS))[0] == last == 9


async def test_another_brokers_streams_are_folded_anew(bus: Bus, views: Views, story: Any) -> None:
    """Where the stream does not hold what was read from it, its rows go, and what it does hold is folded; the other's stay."""
    old, new = new_id("job"), new_id("job")
    story.tell(*life(old))
    story.log(3)
    reached = await bus.publish(story)
    projector = Projector(views, bus.edge)
    async with following(projector.run_events, projector.run_audit):
        for stream, last in reached.items():
            assert await projector.reached(stream, last, PATIENCE)
    await bus.renew()
    story.tell(JobAccepted(job=new, spec=NoopSpec()))
    await bus.publish(story)
    projector = Projector(views, bus.edge)
    async with projector.changes(new) as changes, following(projector.run_events):
        assert await asyncio.wait_for(changes.get(), PATIENCE) is None
        assert projector.position(subjects.EVENTS) == 1
    assert [job.id for job in (await views.jobs()).items] == [new]
    assert await views.job_events(old) == []
    assert len(await views.audit_entries(0, 9)) == 3


async def test_an_apply_that_fails_ends_the_task_and_keeps_the_position(
    bus: Bus, views: Views, story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever watches over the task hears of it and starts it again; the batch is then folded, once."""
    job = new_id("job")
    story.tell(*life(job))
    last = (await bus.publish(story))[subjects.EVENTS]
    projector = Projector(views, bus.edge)
    with monkeypatch.context() as patch:
        patch.setattr(views, "write", lambda _change: _fail())
        with pytest.raises(OSError, match="disk"):
            await asyncio.wait_for(projector.run_events(), PATIENCE)
    assert (projector.position(subjects.EVENTS), await views.job(job)) == (0, None)
    async with following(projector.run_events):
        assert await projector.reached(subjects.EVENTS, last, PATIENCE)
    assert len(await views.job_events(job)) == 3


async def _fail() -> None:
    raise OSError("disk full")


async def test_listeners_of_a_job_hear_of_events_and_of_progress(bus: Bus, views: Views, story: Any) -> None:
    """Progress comes past the streams, shows in the running job, and is forgotten when the job ends."""
    job = new_id("job")
    accepted, started, completed = life(job)
    projector = Projector(views, bus.edge)
    async with projector.changes(job) as changes, following(projector.run_events):
        story.tell(accepted, started)
        last = (await bus.publish(story))[subjects.EVENTS]
        assert await projector.reached(subjects.EVENTS, last, PATIENCE)
        assert await asyncio.wait_for(changes.get(), PATIENCE) is None
        await bus.admin.publish(subjects.progress(job), b"no progress at all")
        await bus.admin.publish(subjects.progress(job), Progress(job=job, attempt=1, step="fit", fraction=0.25).model_dump_json().encode())
        heard = None
        while heard is None:
            heard = await asyncio.wait_for(changes.get(), PATIENCE)
        assert (heard.step, heard.fraction) == ("fit", 0.25)
        assert (await views.job(job)).progress == heard  # type: ignore[union-attr]
        story.tell(completed)
        last = (await bus.publish(story))[subjects.EVENTS]
        assert await projector.reached(subjects.EVENTS, last, PATIENCE)
        assert await asyncio.wait_for(changes.get(), PATIENCE) is None
    assert views.progress.get(job) is None
