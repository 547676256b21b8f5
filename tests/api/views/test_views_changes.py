"""Waiting: for a position, and for news of one job."""

from __future__ import annotations

import asyncio

from api.views.changes import Changes, Listeners, Watermark
from api.views.progress import KEPT, LatestProgress
from contracts.ids import new_id
from contracts.records import Progress
from contracts.views import ProgressView

HALF = ProgressView(attempt=1, step="fit", fraction=0.5)
MOST = ProgressView(attempt=1, step="fit", fraction=0.9)


async def test_who_waits_for_a_position_is_told_when_it_is_passed() -> None:
    """A batch may end beyond what was waited for; what was reached before needs no waiting."""
    mark = Watermark()
    waiting = [asyncio.create_task(mark.reached(n, 30)) for n in (3, 5, 9)]
    await asyncio.sleep(0)
    mark.advance(5)
    assert await asyncio.gather(*waiting[:2]) == [True, True]
    assert not waiting[2].done()
    assert await mark.reached(4, 0)
    mark.advance(9)
    assert await waiting[2]


async def test_waiting_for_a_position_ends_in_time_and_leaves_nothing_behind() -> None:
    """Whoever asks for what will never be costs nothing afterwards, nor does one who went away."""
    mark = Watermark()
    assert await mark.reached(10**18, 0) is False
    gone = asyncio.create_task(mark.reached(10**18, 30))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert not mark._waiting


async def test_news_is_conflated() -> None:
    """However much is told to one who does not listen: events once, then the latest progress."""
    changes = Changes()
    for _ in range(1000):
        changes.tell_events()
        changes.tell_progress(HALF)
    changes.tell_progress(MOST)
    assert [await changes.get(), await changes.get()] == [None, MOST]
    waiting = asyncio.create_task(changes.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    changes.tell_progress(HALF)
    assert await waiting == HALF


async def test_news_reaches_the_jobs_listeners_and_no_others() -> None:
    """Every listener of the job; none of another, and none that has left."""
    listeners, mine, other = Listeners(), new_id("job"), new_id("job")
    async with listeners.changes(mine) as one, listeners.changes(mine) as two, listeners.changes(other) as third:
        listeners.tell_events([mine])
        listeners.tell_progress(Progress(job=mine, attempt=1, step="fit", fraction=0.5))
        assert [await c.get() for c in (one, two, one, two)] == [None, None, HALF, HALF]
        listeners.tell_events([other])
        assert await third.get() is None
    assert not listeners._listeners


def test_progress_of_an_attempt_that_is_over_is_ignored() -> None:
    """News may overtake news; a later attempt is never hidden by an earlier one."""
    latest, job = LatestProgress(), new_id("job")
    second = Progress(job=job, attempt=2, step="fit", fraction=0.1)
    assert latest.put(second)
    assert not latest.put(Progress(job=job, attempt=1, step="fit", fraction=0.9))
    assert latest.get(job) == second
    latest.drop(job)
    assert latest.get(job) is None


def test_progress_is_remembered_of_so_many_jobs_and_no_more() -> None:
    """Jobs of whose end nothing was heard cannot fill the memory: the one heard of longest ago goes."""
    latest, jobs = LatestProgress(), [new_id("job") for _ in range(KEPT + 1)]
    for job in [*jobs[:-1], jobs[0], jobs[-1]]:
        latest.put(Progress(job=job, attempt=1, step="fit", fraction=0.5))
    assert latest.get(jobs[0]) is not None
    assert latest.get(jobs[1]) is None
