"""An executor with real worker processes: whatever becomes of them, a job ends once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from contracts.commands import ReserveBudget, RunJob
from contracts.envelope import Context, Envelope
from contracts.events import (
    DatasetVersionAdded,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobStarted,
    MechanismStarted,
)
from contracts.ids import new_id
from contracts.jobs import NoopSpec, StepRun
from infra.bus.retries import Verdict
from infra.work.jobs import LOST_AT_MOST
from tests.actors.conftest import ENDS, Start, cancellation, granted_again, job, progress_of, publish, run_of
from tests.conftest import PATIENCE, Bus, Heard, Keep


@pytest.mark.parametrize("entry", ["finish", "chatter"])
async def test_a_job_that_is_done_ends_with_its_outputs(start: Start, entry: str) -> None:
    """Started, mechanism started, the worker's own event, completed: in this order, whatever a library printed meanwhile."""
    bench, asked = await start(entry), job()
    assert await bench.handle(asked) is Verdict.DONE
    started, mechanism, added, completed = await bench.outbox()
    command = run_of(asked)
    assert command.grant is not None
    assert started == JobStarted(job=command.job, attempt=1)
    assert mechanism == MechanismStarted(job=command.job, step="measure", attempt=1, account=command.grant.account)
    assert isinstance(added, DatasetVersionAdded)
    assert isinstance(completed, JobCompleted)
    assert bench.runtime.objects.read(completed.outputs[0].object) == b"rows"
    assert completed.outputs[0].object == added.table


async def test_a_job_that_is_delivered_again_is_not_done_again(start: Start) -> None:
    """The end stands, and so do its outputs."""
    bench, asked = await start("finish"), job()
    await bench.handle(asked)
    before, objects = await bench.outbox(), bench.objects()
    assert await bench.handle(asked) is Verdict.DONE
    assert await bench.outbox() == before
    assert bench.objects() == objects != set()


async def test_input_at_fault_fails_the_job_with_the_reason(start: Start) -> None:
    """The event has the code; the sentence and its fields are in the problem object, the traceback in the log; no output stays."""
    bench, asked = await start("refuse"), job()
    assert await bench.handle(asked) is Verdict.DONE
    failed = (await bench.outbox())[-1]
    assert isinstance(failed, JobFailed)
    assert (failed.code, failed.attempt, failed.never_started) == ("column-missing", 1, ())
    assert failed.problem is not None
    assert failed.log is not None
    problem = json.loads(bench.runtime.objects.read(failed.problem))
    assert (problem["code"], problem["detail"], problem["column"]) == ("column-missing", "column 'age' is missing", "age")
    assert "ColumnMissing" in bench.runtime.objects.read(failed.log).decode()
    kept = {failed.problem, failed.log}
    assert bench.objects() == kept | {f"{object_id}.json" for object_id in kept}


async def test_what_fails_before_the_data_is_opened_is_not_charged(start: Start) -> None:
    """Parameters or schema were at fault: no mechanism started, and the end says so, which gives the reservation back."""
    bench, asked = await start("refuse_unopened"), job()
    assert await bench.handle(asked) is Verdict.DONE
    _, failed = await bench.outbox()
    assert failed.never_started == (StepRun(step="measure"),)  # type: ignore[attr-defined]


async def test_a_defect_fails_the_job_and_shows_nothing_of_the_data(start: Start) -> None:
    """What the error said is in the log alone."""
    bench, asked = await start("defect"), job()
    assert await bench.handle(asked) is Verdict.DONE
    failed = (await bench.outbox())[-1]
    assert isinstance(failed, JobFailed)
    assert failed.problem is not None
    assert failed.log is not None
    assert b"42" not in bench.runtime.objects.read(failed.problem)
    assert b"secret value 42" in bench.runtime.objects.read(failed.log)


async def test_a_worker_that_dies_again_and_again_is_given_up(start: Start) -> None:
    """Tried three times, then failed as lost; what it left is removed. Without a grant there is nothing to ask for."""
    bench, asked = await start("die"), job(attempt=None)
    for _ in range(LOST_AT_MOST):
        assert (await bench.handle(asked)).again_in is not None
        assert bench.objects() != set()
    assert await bench.handle(asked) is Verdict.DONE
    *started, failed = await bench.outbox()
    assert [type(event) for event in started] == [JobStarted] * LOST_AT_MOST
    assert failed == JobFailed(job=run_of(asked).job, attempt=LOST_AT_MOST, code="worker-lost")
    assert (bench.runtime.tally.workers_started, bench.runtime.tally.workers_lost) == (LOST_AT_MOST, LOST_AT_MOST)
    assert bench.objects() == set()


async def test_a_worker_that_dies_while_measuring_asks_for_another_run(start: Start) -> None:
    """What was read is charged; measuring again needs a reservation of its own, and the third death is the last."""
    bench, asked = await start("die"), job()
    for attempt in (1, 2, 3):
        assert (await bench.handle(granted_again(asked, attempt))).again_in is not None
        assert await bench.handle(granted_again(asked, attempt)) is Verdict.DONE
    sent = await bench.outbox()
    assert [e.attempt for e in sent if isinstance(e, MechanismStarted)] == [1, 2, 3]
    assert [(e.attempt, e.then.grant) for e in sent if isinstance(e, ReserveBudget)] == [(2, None), (3, None)]
    assert sent[-1] == JobFailed(job=run_of(asked).job, attempt=3, code="worker-lost")


async def test_a_worker_that_dies_after_measuring_goes_on_from_its_measurements(start: Start) -> None:
    """One start of the mechanism, one charge: the second attempt builds on what the first has stored."""
    bench, asked = await start("measure_then_die"), job()
    assert (await bench.handle(asked)).again_in is not None
    assert await bench.handle(asked) is Verdict.DONE
    sent = await bench.outbox()
    assert [type(e) for e in sent] == [JobStarted, MechanismStarted, JobStarted, DatasetVersionAdded, JobCompleted]
    completed = sent[-1]
    assert isinstance(completed, JobCompleted)
    assert completed.attempt == 2
    assert {output.role: bench.runtime.objects.read(output.object) for output in completed.outputs} == {
        "table": b"rows",
        "measurements": b"noisy",
    }


async def test_a_cancelled_job_ends_within_2_seconds_and_leaves_nothing(bus: Bus, start: Start) -> None:
    """Its worker never ends by itself: it is ended, its objects and half-written ones are removed, and it does not complete."""
    bench, asked, progress = await start("hang"), job(), await progress_of(bus)
    handling = asyncio.create_task(bench.handle(asked))
    assert await asyncio.wait_for(progress.get(), PATIENCE) == run_of(asked).job
    assert len(bench.objects()) == 3
    began = time.monotonic()
    await bench.executor._cancel(cancellation(asked))
    assert await handling is Verdict.DONE
    assert time.monotonic() - began < 2
    assert (await bench.outbox())[2:] == [JobCancelled(job=run_of(asked).job, attempt=1)]
    assert bench.objects() == set()
    before = await bench.outbox()
    await bench.executor._cancel(cancellation(asked))
    assert await bench.handle(asked) is Verdict.DONE
    assert await bench.outbox() == before


async def test_a_cancellation_that_comes_before_the_worker_ends_the_job(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between taking the job up and starting its worker there is nobody to end: the mark is found."""
    bench, asked = await start("hang"), job()
    real = asyncio.create_subprocess_exec

    async def cancelled_meanwhile(*command: object, **options: object) -> asyncio.subprocess.Process:
        await bench.executor._cancel(cancellation(asked))
        return await real(*command, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", cancelled_meanwhile)
    assert await bench.handle(asked) is Verdict.DONE
    assert (await bench.outbox())[1:] == [JobCancelled(job=run_of(asked).job, attempt=1, never_started=(StepRun(step="measure"),))]


async def test_a_cancelled_job_whose_executor_died_is_tidied_up(bus: Bus, start: Start) -> None:
    """The end was written, and what it left was not removed: whoever sees the command next removes it."""
    bench, asked, progress = await start("hang"), job(), await progress_of(bus)
    handling = asyncio.create_task(bench.handle(asked))
    await asyncio.wait_for(progress.get(), PATIENCE)
    kept = {path: path.read_bytes() for path in bench.runtime.home.objects.rglob("*") if path.is_file()}
    await bench.executor._cancel(cancellation(asked))
    await handling
    for path, content in kept.items():
        path.write_bytes(content)
    assert await bench.handle(asked) is Verdict.DONE
    assert bench.objects() == set()


async def test_over_the_bus_a_job_is_done_and_another_cancelled(bus: Bus, heard: Heard, start: Start, keep: Keep) -> None:
    """Commands as the edge sends them, events as everybody hears them; a noop needs no worker."""
    bench, progress, edge = await start("hang"), await progress_of(bus), await bus.connect("edge")
    keep(bench.executor.serve())
    nothing = Envelope.wrap(RunJob(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")
    hanging = job()
    await publish(edge, nothing, hanging)
    await heard.until(JobCompleted, job=run_of(nothing).job)
    await asyncio.wait_for(progress.get(), PATIENCE)
    began = time.monotonic()
    await publish(edge, cancellation(hanging))
    await heard.until(JobCancelled, job=run_of(hanging).job)
    assert time.monotonic() - began < 2
    assert heard.of(*ENDS, job=run_of(hanging).job) == [JobCancelled(job=run_of(hanging).job, attempt=1)]


async def test_jobs_without_a_worker_share_the_slots_that_are_free(bus: Bus, heard: Heard, start: Start, keep: Keep) -> None:
    """One slot is taken by a job that hangs; through the other, many noops pass, and hold it for no longer than it takes to fetch them."""
    bench, progress, edge = await start("hang"), await progress_of(bus), await bus.connect("edge")
    keep(bench.executor.serve())
    await publish(edge, job())
    await asyncio.wait_for(progress.get(), PATIENCE)
    nothing = [Envelope.wrap(RunJob(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge") for _ in range(20)]
    hanging = job()
    await publish(edge, *nothing, hanging)
    done = await heard.until(JobCompleted, count=20)
    assert {event.job for event in done} == {run_of(envelope).job for envelope in nothing}
    await asyncio.wait_for(progress.get(), PATIENCE)
    assert len(heard.of(JobStarted, job=run_of(hanging).job)) == 1
