"""Worker processes: their limits, what they start, and those that are started ahead."""

from __future__ import annotations

import asyncio
import json

import psutil  # type: ignore[import-untyped]
import pytest

from contracts.events import JobCompleted, JobFailed
from infra.bus.retries import Verdict
from infra.runtime import Runtime
from infra.settings import Settings
from infra.work import workers
from infra.work.pace import Pace
from infra.work.workers import Workers
from tests.actors.conftest import Start, cancellation, job, progress_of, run_of
from tests.conftest import PATIENCE, Bus


def limit(runtime: Runtime, **limits: object) -> None:
    runtime.settings = runtime.settings.model_copy(update=limits)


@pytest.mark.parametrize(
    ("entry", "limits", "code"),
    [("hoard", {"job_limits": "synthesize=200000000:"}, "memory-exceeded"), ("hang", {"job_seconds": 1}, "time-exceeded")],
)
async def test_a_job_over_a_limit_fails_with_that_reason(start: Start, entry: str, limits: dict[str, object], code: str) -> None:
    """The problem document names the limit, nothing it wrote stays, and it is not tried again; a job beside it is done."""
    bench, other = await start(entry), await start("finish")
    limit(bench.runtime, **limits)
    asked, beside = job(attempt=None), job(attempt=None)
    assert await asyncio.gather(bench.handle(asked), other.handle(beside)) == [Verdict.DONE] * 2
    ends = {type(e): e for e in await bench.outbox() if isinstance(e, JobCompleted | JobFailed)}
    failed = ends[JobFailed]
    assert isinstance(failed, JobFailed)
    assert (failed.job, failed.code, failed.attempt) == (run_of(asked).job, code, 1)
    assert isinstance(ends[JobCompleted], JobCompleted)
    assert failed.problem is not None
    problem = json.loads(bench.runtime.objects.read(failed.problem))
    assert (problem["status"], problem.get("limit_bytes"), problem.get("limit_seconds")) in {(422, 200_000_000, None), (422, None, 1)}
    kept = {failed.problem, failed.log, *(output.object for output in ends[JobCompleted].outputs)}
    assert {name.removesuffix(".json") for name in bench.objects()} == kept


async def test_what_a_worker_started_goes_with_it(bus: Bus, start: Start) -> None:
    """A cancelled job leaves no process behind, not even one that its worker never told of."""
    bench, asked, progress = await start("beget"), job(), await progress_of(bus)
    handling = asyncio.create_task(bench.handle(asked))
    await asyncio.wait_for(progress.get(), PATIENCE)
    begotten = psutil.Process().children(recursive=True)
    family = [process for process in begotten if "signal.pause()" in process.cmdline()[-1] or "infra.work.worker" in process.cmdline()]
    assert len(family) >= 2
    await bench.executor._cancel(cancellation(asked))
    assert await handling is Verdict.DONE
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, timeout=2)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


async def test_a_worker_is_ready_before_the_next_job_and_leaves_when_none_comes(settings: Settings) -> None:
    """One is started ahead after a job; it serves one job; and the last one leaves."""
    pool = Workers("work_entries:finish", 1, 1.0)
    keeping = asyncio.create_task(pool.run())
    first = await pool.take()
    assert not pool._ready
    await first.end()
    pool.expect_more()
    async with asyncio.timeout(PATIENCE):
        while not pool._ready:  # noqa: ASYNC110  # nobody is told
            await asyncio.sleep(0.01)
        ahead = pool._ready[0]
        assert await pool.take() is ahead
        pool.expect_more()
        while not pool._ready or pool._ready[0] is ahead:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        last = pool._ready[0]
        await last.ended()
    assert not pool._ready
    await ahead.end()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_worker_that_died_while_it_waited_is_passed_over(settings: Settings) -> None:
    """The next job gets one that lives."""
    pool = Workers("work_entries:finish", 1, 60.0)
    dead = await workers.Worker.start("work_entries:finish")
    await dead.end()
    pool._ready.append(dead)
    taken = await pool.take()
    assert taken.alive
    await taken.end()


def test_the_estimate_moves_with_the_pace() -> None:
    """Even steps give what is left; a slower stretch makes it longer; nothing is said before the first step."""
    pace = Pace(100.0)
    assert pace.left(0.0, 101.0) is None
    assert pace.left(0.1, 110.0) == 90.0
    assert pace.left(0.2, 120.0) == 80.0
    assert pace.left(0.2, 125.0) == 75.0
    slower = pace.left(0.25, 140.0)
    assert slower is not None
    assert slower > 75.0
    assert pace.left(1.0, 141.0) == 0.0
