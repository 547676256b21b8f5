"""Executors that stop, are killed, or are two: each job goes on or ends, once, and soon."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator

import psutil  # type: ignore[import-untyped]
from sqlalchemy import MetaData

from contracts.events import (
    JobCancelled,
    JobCompleted,
    JobStarted,
    MechanismStarted,
)
from contracts.jobs import Actor, StepRun
from infra.bus.retries import Verdict
from infra.runtime import running
from infra.settings import Settings
from infra.work.executor import Executor
from infra.work.jobs import LEASE_MS, job_table
from tests.actors.conftest import ENDS, Start, cancellation, job, progress_of, publish, run_of
from tests.conftest import PATIENCE, Bus, Heard, Keep


async def test_a_job_is_handed_on_when_its_executor_stops(bus: Bus, heard: Heard, start: Start, settings: Settings, keep: Keep) -> None:
    """Its lease is given up and its command returned: the next instance takes it up without waiting for either to run out."""
    progress, edge, asked = await progress_of(bus), await bus.connect("edge"), job(attempt=None)
    metadata = MetaData()
    job_table(metadata)
    async with running(Actor.SYNTHESIZER, settings, metadata) as first:
        serving = asyncio.create_task(Executor(first, Actor.SYNTHESIZER, "work_entries:hang").serve())
        await publish(edge, asked)
        await asyncio.wait_for(progress.get(), PATIENCE)
        first.stopping.set()
        await serving
    bench = await start("finish")
    keep(bench.executor.serve())
    began = time.monotonic()
    await heard.until(JobCompleted, job=run_of(asked).job)
    assert time.monotonic() - began < 15
    assert [e.attempt for e in heard.of(JobStarted)] == [1, 2]


async def test_two_executors_on_one_database_do_each_job_once(bus: Bus, heard: Heard, start: Start, keep: Keep) -> None:
    """Whoever fetches a job does it; the other never starts it."""
    edge = await bus.connect("edge")
    for bench in (await start("finish"), await start("finish")):
        keep(bench.executor.serve())
    jobs = [job() for _ in range(6)]
    await publish(edge, *jobs)
    await heard.until(JobCompleted, count=len(jobs))
    for kind in (JobStarted, MechanismStarted, JobCompleted):
        assert sorted(e.job for e in heard.of(kind)) == sorted(run_of(envelope).job for envelope in jobs)


SERVE = """
import asyncio
from contracts.jobs import Actor
from infra.settings import Settings
from infra.work.executor import run_executor
asyncio.run(run_executor(Actor.SYNTHESIZER, Settings.load(), "work_entries:hang"))
"""


async def test_a_worker_does_not_outlive_its_executor(bus: Bus, settings: Settings) -> None:
    """kill -9, and nobody is left to end the worker: it ends itself within 2 seconds."""
    progress, edge = await progress_of(bus), await bus.connect("edge")
    environment = {**os.environ, "HALFTONE_HOME": str(settings.home)}
    executor = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVE, env=environment)
    try:
        await publish(edge, job())
        await asyncio.wait_for(progress.get(), PATIENCE)
        (worker,) = psutil.Process(executor.pid).children()
    finally:
        executor.send_signal(signal.SIGKILL)
        await executor.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [worker], timeout=2)
    assert not alive


@contextlib.asynccontextmanager
async def executor_process(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    """An executor of its own, whose workers hang; killed at the end at the latest."""
    environment = {**os.environ, "HALFTONE_HOME": str(settings.home)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVE, env=environment)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_job_of_an_executor_that_was_killed_is_taken_over_at_once(
    bus: Bus, heard: Heard, start: Start, settings: Settings, keep: Keep
) -> None:
    """The kernel tells that it is gone: nobody waits for its lease to run out, and another instance goes on with the next attempt."""
    progress, edge, asked = await progress_of(bus), await bus.connect("edge"), job(attempt=None)
    async with executor_process(settings) as executor:
        await publish(edge, asked)
        await asyncio.wait_for(progress.get(), PATIENCE)
        executor.kill()
        await executor.wait()
        began = time.monotonic()
    bench = await start("finish")
    keep(bench.executor.serve())
    (done,) = await heard.until(JobCompleted, job=run_of(asked).job)
    assert done.attempt == 2
    assert time.monotonic() - began < LEASE_MS / 1000


async def test_a_job_of_an_executor_that_was_killed_is_cancelled_at_once(bus: Bus, start: Start, settings: Settings) -> None:
    """Nobody is at it, and so it ends where the cancellation is read; what the attempt had written is removed."""
    progress, edge, asked = await progress_of(bus), await bus.connect("edge"), job()
    async with executor_process(settings) as executor:
        await publish(edge, asked)
        await asyncio.wait_for(progress.get(), PATIENCE)
        executor.kill()
        await executor.wait()
    bench = await start("finish")
    assert bench.objects() != set()
    await bench.executor._cancel(cancellation(asked))
    ended = [e for e in await bench.outbox() if isinstance(e, ENDS)]
    assert [(type(e), e.never_started) for e in ended] == [(JobCancelled, (StepRun(step="measure", attempt=2),))]  # type: ignore[union-attr]
    assert bench.objects() == set()
    assert await bench.handle(asked) is Verdict.DONE


async def test_a_job_that_is_at_work_elsewhere_is_left_alone(bus: Bus, start: Start) -> None:
    """Two instances live: the second waits, and does not take over what the first has."""
    first, second, asked, progress = await start("hang"), await start("finish"), job(attempt=None), await progress_of(bus)
    handling = asyncio.create_task(first.handle(asked))
    await asyncio.wait_for(progress.get(), PATIENCE)
    assert await second.handle(asked) is Verdict.LATER
    assert await first.handle(asked) is Verdict.LATER
    handling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await handling
    assert await second.handle(asked) is Verdict.DONE
