"""An executor with real worker processes: whatever becomes of them, a job ends once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from sqlalchemy import MetaData

from contracts import subjects
from contracts.commands import CancelJob, ReserveBudget, RunJob
from contracts.cost import Cost
from contracts.envelope import Context, Envelope
from contracts.events import DatasetVersionAdded, JobCancelled, JobCompleted, JobFailed, JobRefused, JobStarted, MechanismStarted
from contracts.ids import new_id
from contracts.jobs import Actor, Grant, NoopSpec, StepRun, SynthesizeSpec, TableRef, Use
from infra.bus import retries
from infra.bus.connection import jetstream
from infra.bus.retries import Verdict
from infra.bus.runs import Delivery
from infra.bus.topology import run_durable
from infra.database.store import Transaction
from infra.home import Home
from infra.runtime import Runtime, running
from infra.settings import Settings
from infra.work.executor import Executor
from infra.work.jobs import LEASE_MS, LOST_AT_MOST, job_table
from tests.conftest import PATIENCE, Bus, Heard, Keep

ENDS = (JobCompleted, JobFailed, JobCancelled, JobRefused)
SUPPORT = Path(__file__).parents[1] / "support"


def job(*, attempt: int | None = 1) -> Envelope:
    """A synthesis, with the keeper's grant for a run."""
    job_id, account = new_id("job"), new_id("acc")
    spec = SynthesizeSpec(
        source=TableRef(dataset=new_id("ds"), version=1, table=new_id("obj")),
        declared=new_id("obj"),
        engine="marginal",
        epsilon=1,
        delta=1,
        target=new_id("ds"),
        account=account,
    )
    grant = None if attempt is None else Grant(account=account, step="measure", use=Use.CHARGE, cost=Cost(rho=1), attempt=attempt, entry=1)
    return Envelope.wrap(RunJob(job=job_id, spec=spec, grant=grant), Context.new(), source="/edge")


def run_of(envelope: Envelope) -> RunJob:
    command = envelope.message
    assert isinstance(command, RunJob)
    return command


def granted_again(envelope: Envelope, attempt: int) -> Envelope:
    """The same job with the grant for another run."""
    command = run_of(envelope)
    assert command.grant is not None
    grant = command.grant.model_copy(update={"attempt": attempt})
    return Envelope.wrap(command.model_copy(update={"grant": grant}), envelope.context, source="/edge")


def cancellation(envelope: Envelope) -> Envelope:
    command = CancelJob(job=run_of(envelope).job, executor=Actor.SYNTHESIZER, reserved=(StepRun(step="measure"),))
    return Envelope.wrap(command, envelope.context, source="/edge")


class Bench:
    """One executor, its commands handed to it directly: no test waits for the broker to deliver again."""

    def __init__(self, runtime: Runtime, executor: Executor, heard: Heard) -> None:
        self.runtime, self.executor, self.heard = runtime, executor, heard

    async def handle(self, envelope: Envelope) -> Verdict:
        async def alive() -> None: ...

        return await asyncio.wait_for(self.executor._handle(Delivery(envelope, alive)), PATIENCE)

    async def outbox(self) -> list[object]:
        """Everything that was sent, in order."""
        outbox = self.runtime.store.metadata.tables["outbox"]

        def read(tx: Transaction) -> list[bytes]:
            return [row.body for row in tx.connection.execute(outbox.select().order_by(outbox.c.n))]

        return [Envelope.load(body).message for body in await self.runtime.store.write(read)]

    def objects(self) -> set[str]:
        return {path.name for path in self.runtime.home.objects.rglob("*") if path.is_file()}


@pytest.fixture
def settings(home: Home, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PYTHONPATH", f"{SUPPORT}")
    return Settings(home=home.path)


Start = Callable[[str], Awaitable[Bench]]


@pytest.fixture
async def start(bus: Bus, heard: Heard, settings: Settings) -> AsyncIterator[Start]:
    """Makes an executor whose workers do one of the entries."""
    async with contextlib.AsyncExitStack() as stack:

        async def start_(entry: str) -> Bench:
            metadata = MetaData()
            job_table(metadata)
            runtime = await stack.enter_async_context(running(Actor.SYNTHESIZER, settings, metadata))
            return Bench(runtime, Executor(runtime, Actor.SYNTHESIZER, f"work_entries:{entry}"), heard)

        yield start_


async def progress_of(bus: Bus) -> asyncio.Queue[str]:
    """Jobs whose workers report progress."""
    jobs: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: Msg) -> None:
        await jobs.put(subjects.job_of(message.subject))

    client = await bus.connect("edge")
    await client.subscribe(subjects.PROGRESS_ALL, cb=hear)
    await client.flush()
    return jobs


async def publish(client: Client, *envelopes: Envelope) -> None:
    for envelope in envelopes:
        await jetstream(client).publish(envelope.subject, envelope.dump(), headers={"Nats-Msg-Id": envelope.id})


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


async def test_a_command_of_another_kind_is_buried_with_its_reason(bus: Bus, start: Start, keep: Keep) -> None:
    """What cannot be read is kept in DEAD, and does not hold the durable up; the job that its subject names fails."""
    bench, broken = await start("finish"), new_id("job")
    keep(bench.executor.serve())
    js = await bus.provisioner()
    await js.publish(f"halftone.cmd.synthesizer.run.{broken}", b"no envelope", headers={"Nats-Msg-Id": "broken"})
    dead: asyncio.Queue[Msg] = asyncio.Queue()
    await js._nc.subscribe(subjects.DEAD_ALL, cb=dead.put)
    letter = Envelope.load((await asyncio.wait_for(dead.get(), PATIENCE)).data)
    assert letter.data["reason"] == "unreadable"
    assert await bench.heard.until(JobFailed) == [JobFailed(job=broken, attempt=0, code="unreadable")]
    asked = job()
    await publish(await bus.connect("edge"), asked)
    await bench.heard.until(JobCompleted, job=run_of(asked).job)
    info = await js.consumer_info(subjects.COMMANDS, run_durable(Actor.SYNTHESIZER).name)
    assert info.num_pending == 0


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


async def test_a_job_whose_command_is_poison_fails_and_what_was_reserved_comes_back(
    bus: Bus, heard: Heard, start: Start, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect that comes each time: so many attempts, one end, the run named as never started; the job behind it is done."""
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.02)
    bench, poison, healthy = await start("finish"), job(), job()
    real = bench.executor._jobs.take

    def take(tx: Transaction, envelope: Envelope, command: RunJob) -> object:
        if command.job == run_of(poison).job:
            raise LookupError("never")
        return real(tx, envelope, command)

    monkeypatch.setattr(bench.executor._jobs, "take", take)
    keep(bench.executor.serve())
    await publish(await bus.connect("edge"), poison, healthy)
    await heard.until(JobCompleted, job=run_of(healthy).job)
    (failed,) = await heard.until(JobFailed, job=run_of(poison).job)
    assert (failed.code, failed.attempt, failed.never_started) == ("handler-failed", 0, (StepRun(step="measure"),))


async def test_a_job_that_failed_before_it_came_ends_as_failed(start: Start) -> None:
    """An actor before the executor gave up: its executor writes the end, as it does for a refusal."""
    bench, asked = await start("finish"), job(attempt=None)
    given_up = run_of(asked).model_copy(update={"failed": "handler-failed"})
    assert await bench.handle(Envelope.wrap(given_up, asked.context, source="/edge")) is Verdict.DONE
    assert await bench.outbox() == [JobFailed(job=run_of(asked).job, attempt=0, code="handler-failed")]
