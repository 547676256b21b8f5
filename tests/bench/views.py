"""Measure how fast the views are made again: job events folded into an empty database, in batches as the bus gives them.

Run with ``python tests/bench/views.py [--events N]``. Envelopes are built beforehand; parsing them is measured, fetching is not.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from api.views.projector import Fold
from api.views.queries import Views
from contracts import subjects
from contracts.base import Event
from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted, JobCompleted, JobStarted
from contracts.ids import JobId, new_id
from contracts.jobs import NoopSpec, Output
from infra.bus.tail import FETCH, Stored
from infra.database.store import Transaction

TARGET = 20_000  # events/s
READS = 500


def life(job: JobId) -> list[Event]:
    """A job from its acceptance to its end."""
    output = Output(role="table", object=new_id("obj"))
    return [JobAccepted(job=job, spec=NoopSpec()), JobStarted(job=job, attempt=1), JobCompleted(job=job, attempt=1, outputs=(output,))]


def stored(count: int) -> list[Stored]:
    """That many messages of jobs whose lives overlap, ten at a time."""
    context, messages = Context.new(), list[Stored]()
    while len(messages) < count:
        jobs = [life(new_id("job")) for _ in range(10)]
        for events in zip(*jobs, strict=True):
            for event in events:
                envelope = Envelope.wrap(event, context, source="/bench")
                messages.append(Stored(len(messages) + 1, envelope.id, envelope.dump()))
    return messages[:count]


def folded(fold: Fold, messages: list[Stored], tx: Transaction) -> None:
    fold.apply(messages, tx.connection)


async def rebuild(views: Views, messages: list[Stored]) -> float:
    """Fold everything; seconds."""
    fold = Fold(views.tables, subjects.EVENTS)
    begin = time.perf_counter()
    for at in range(0, len(messages), FETCH):
        await views.write(partial(folded, fold, messages[at : at + FETCH]))
    return time.perf_counter() - begin


async def single(views: Views, messages: list[Stored]) -> list[float]:
    """Fold one message at a time; milliseconds each."""
    fold, times = Fold(views.tables, subjects.EVENTS), []
    for message in messages:
        begin = time.perf_counter()
        await views.write(partial(folded, fold, [message]))
        times.append((time.perf_counter() - begin) * 1e3)
    return times


async def read(views: Views, job: JobId) -> list[float]:
    """Read one job; milliseconds each."""
    times = []
    for _ in range(READS):
        begin = time.perf_counter()
        await views.job(job)
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def spread(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms"


async def main(count: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        views = Views(f"sqlite:///{Path(directory) / 'views.sqlite'}")
        await views.open()
        messages = stored(count)
        seconds = await rebuild(views, messages)
        rate = count / seconds
        print(f"rebuild of {count:,} job events: {seconds:.2f} s, {rate:,.0f} events/s (target {TARGET:,}: {rate / TARGET:.2f} of it)")
        new = stored(READS)
        later = [Stored(count + m.sequence, m.message_id, m.body) for m in new]
        print(f"one event at a time: {spread(await single(views, later))}")
        page = await views.jobs(limit=50)
        print(f"reading one job: {spread(await read(views, page.items[0].id))}")
        begin = time.perf_counter()
        await views.jobs(limit=50)
        print(f"reading a page of 50 jobs: {(time.perf_counter() - begin) * 1e3:.1f} ms")
        await views.close()
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, messages included")
    return 0 if rate >= TARGET else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    sys.exit(asyncio.run(main(parser.parse_args().events)))
