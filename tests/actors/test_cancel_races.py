"""Cancellation at any moment of a job's life, its end included: one end, no worker, nothing left over, a charge if and only if it began.

Each race is one seed: HALFTONE_RACES sets how many there are (1,000 for the long check), HALFTONE_RACES_SEED where they begin.
"""

from __future__ import annotations

import asyncio
import os
import random

import psutil  # type: ignore[import-untyped]

from contracts.events import JobCancelled, JobCompleted, MechanismStarted
from contracts.jobs import StepRun
from infra.bus.retries import Verdict
from tests.actors.conftest import ENDS, Bench, Start, cancellation, job, run_of
from tests.conftest import PATIENCE

RACES = int(os.environ.get("HALFTONE_RACES", "12"))
FIRST = int(os.environ.get("HALFTONE_RACES_SEED", "0"))
LONGEST = 0.9
"""Seconds after which a job has ended as a rule: cancellations fall anywhere up to then, and a little later."""


async def race(bench: Bench, seed: int) -> None:
    """Have a job done, and cancelled at some moment, once or twice."""
    chance, asked = random.Random(seed), job()
    name = run_of(asked).job

    async def cancel() -> None:
        await asyncio.sleep(chance.uniform(0, LONGEST))
        await bench.executor._cancel(cancellation(asked))

    verdicts = await asyncio.gather(bench.handle(asked), *(cancel() for _ in range(chance.choice((1, 2)))))
    assert verdicts[0] is Verdict.DONE
    about = [e for e in await bench.outbox() if getattr(e, "job", None) == name]
    (end,) = (e for e in about if isinstance(e, ENDS))
    started = any(isinstance(e, MechanismStarted) for e in about)
    assert isinstance(end, JobCompleted | JobCancelled)
    if isinstance(end, JobCancelled):
        assert end.never_started == (() if started else (StepRun(step="measure"),))
    else:
        assert started
    assert name not in bench.executor._workers
    # The end is told; a stray command changes nothing.
    assert await bench.handle(asked) is Verdict.DONE
    kept = {output.object for output in end.outputs} if isinstance(end, JobCompleted) else set()
    bench.kept |= kept


async def test_a_cancellation_that_races_with_the_end_leaves_one_end(start: Start) -> None:
    """Completed or cancelled, never both; objects are those of completed jobs alone; no worker is left."""
    bench = await start("dawdle")
    for begin in range(FIRST, FIRST + RACES, 4):
        seeds = range(begin, min(begin + 4, FIRST + RACES))
        async with asyncio.timeout(4 * PATIENCE):
            await asyncio.gather(*(race(bench, seed) for seed in seeds))
    assert {name.removesuffix(".json") for name in bench.objects()} == bench.kept
    assert not [p for p in psutil.Process().children(recursive=True) if "infra.work.worker" in p.cmdline()]
