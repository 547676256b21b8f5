"""An executor: takes jobs up one per slot, has a worker process do each, and writes how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from sqlalchemy import MetaData

from contracts import subjects
from contracts.base import Message
from contracts.commands import CancelJob, RunJob
from contracts.envelope import Envelope
from contracts.ids import JobId, ObjectId
from contracts.jobs import Actor, IngestSpec, JobKind, JobState
from contracts.records import Progress
from infra import tracing
from infra.bus.control import serve
from infra.bus.retries import Given, Hopeless, Verdict, pause
from infra.bus.runs import Delivery, RunLoop
from infra.bus.topology import ACK_WAIT, ctl_durable, run_durable
from infra.database.store import Transaction
from infra.failpoints import around
from infra.runtime import Runtime, running
from infra.settings import Settings
from infra.work.jobs import Busy, Jobs, Lease, job_table
from infra.work.pace import Pace
from infra.work.task import REPORT, RESULTS, Advanced, Broken, Finished, Happened, Limits, Measured, Opening, Task, result_id
from infra.work.workers import Allowance, Worker, Workers

log = structlog.get_logger()

BEAT_SECONDS = ACK_WAIT / 4
"""Between two signs of life to broker and database, while there are jobs at work."""


Events = Callable[[Transaction, RunJob, Finished], tuple[Happened, ...]]


def _as_told(_tx: Transaction, _command: RunJob, end: Finished) -> tuple[Happened, ...]:
    return end.events


class WorkerLost(RuntimeError):
    """The worker ended without saying how its job did."""


class Executor:
    """One actor's jobs. ``entry`` names the function that a worker process runs, as module:function.

    ``events`` says, in the transaction that ends a job well, what has happened besides: what the worker told, or what this actor knows
    better.
    """

    def __init__(self, runtime: Runtime, actor: Actor, entry: str, events: Events = _as_told) -> None:
        self._runtime, self._actor, self._entry = runtime, actor, entry
        self._events = events
        self._store = runtime.store
        self._instance = runtime.instance
        self._jobs = Jobs(runtime.store.metadata.tables["jobs"], runtime.source, self._instance.id, self._instance.is_gone)
        self._held: dict[JobId, tuple[Lease, Delivery]] = {}
        self._working = asyncio.Event()
        settings = runtime.settings
        self._pool = Workers(entry, settings.warm_workers, settings.worker_idle_seconds)
        self._workers: dict[JobId, Worker] = {}

    async def serve(self) -> None:
        """Take jobs and cancellations until the actor stops."""
        runtime = self._runtime
        await runtime.client.subscribe(subjects.CANCEL_ALL, cb=self._hear_cancel)
        runs = RunLoop(runtime, run_durable(self._actor), self._handle, _light, self._give_up)
        runtime.keep("heartbeat", self._beat)
        runtime.keep("workers", self._pool.run)
        runtime.keep("runs", partial(runs.run, runtime.settings.slots))
        runtime.keep("control", partial(serve, runtime, {ctl_durable(self._actor): self._cancel}))
        runtime.ready()
        await runtime.until_stopped()

    async def _handle(self, delivery: Delivery) -> Verdict:
        envelope = delivery.envelope
        command = envelope.message
        if not isinstance(command, RunJob):
            raise Hopeless(code="misaddressed")
        if _light(command):
            await self._store.write(partial(self._noop, envelope, command))
            return Verdict.DONE
        if command.job in self._held:
            # Delivered again while it is at work here: this process had no time to tell the broker that it lives.
            return Verdict.LATER
        try:
            lease = await self._store.write(lambda tx: self._jobs.take(tx, envelope, command))
        except Busy:
            return Verdict.LATER
        if lease is None:
            await self._tidy(command.job)
            return Verdict.DONE
        attempt = {"halftone.job": command.job, "halftone.kind": command.spec.kind.value, "halftone.attempt": lease.attempt}
        log.info("attempt.began", attempt=lease.attempt, kind=command.spec.kind)
        with tracing.span("attempt", attributes=attempt):
            verdict = await self._attempt(lease, delivery)
        log.info("attempt.ended", attempt=lease.attempt)
        return verdict

    def _noop(self, envelope: Envelope, command: RunJob, tx: Transaction) -> None:
        """Do nothing, in one transaction: everything around a job, and no job."""
        lease = self._jobs.take(tx, envelope, command)
        if lease is not None:
            self._jobs.complete(tx, lease, (), tuple)

    async def _attempt(self, lease: Lease, delivery: Delivery) -> Verdict:
        job = lease.command.job
        self._held[job] = lease, delivery
        self._working.set()
        try:
            end = await self._work(lease)
            await self._write_end(lease, end)
        except asyncio.CancelledError:
            await asyncio.shield(self._store.write(lambda tx: self._jobs.hand_back(tx, lease)))
            raise
        except (WorkerLost, OSError) as error:
            log.warning("worker.lost", job=job, attempt=lease.attempt, error=str(error))
            return await self._after_loss(lease)
        except Exception:
            # A defect of ours: whether it is tried again is decided by how often that was, not by a lease that nobody holds.
            await self._store.write(lambda tx: self._jobs.expire(tx, lease))
            raise
        finally:
            self._held.pop(job, None)
        return Verdict.DONE

    async def _after_loss(self, lease: Lease) -> Verdict:
        """A worker ended because its job was cancelled, or for no known reason: then the job is tried again."""

        def change(tx: Transaction) -> int | None:
            if self._jobs.cancel_requested(tx, lease):
                self._jobs.cancelled(tx, lease)
                return None
            return self._jobs.expire(tx, lease)

        lost = await self._store.write(change)
        if lost is not None:
            self._runtime.tally.workers_lost += 1
            return Verdict(pause(lost)) if lost else Verdict.LATER
        await self._tidy(lease.command.job)
        return Verdict.DONE

    def _give_up(self, given: Given, tx: Transaction) -> None:
        """End the job of a command that cannot be handled."""
        command = given.envelope.message if given.envelope is not None else None
        job = subjects.job_of_run(given.subject)
        if job is not None:
            self._jobs.abandon(tx, given.cause, job, given.reason, command if isinstance(command, RunJob) else None)

    async def _work(self, lease: Lease) -> Finished | Broken:
        """Have a worker do the job. Raises WorkerLost."""
        job = lease.command.job
        worker = self._workers[job] = await self._pool.take()
        self._runtime.tally.workers_started += 1
        watch = asyncio.create_task(worker.watch(Allowance(*self._runtime.settings.job_limit(lease.command.spec.kind))))
        try:
            # A cancellation that came before there was a worker to end has left its mark.
            await self._require_wanted(lease)
            await worker.tell(self._task(lease).model_dump_json().encode() + b"\n")
            with tracing.span("worker"), tracing.steps() as steps:
                return await self._listen(lease, worker, steps)
        except (WorkerLost, OSError):
            if worker.exceeded is None:
                raise
            log.warning("worker.exceeded", job=job, code=worker.exceeded.code)
            return Broken(code=worker.exceeded.code, problem=worker.exceeded.document().model_dump(mode="json"))
        finally:
            watch.cancel()
            self._workers.pop(job, None)
            await asyncio.shield(worker.end())
            self._pool.expect_more()

    def _task(self, lease: Lease) -> Task:
        settings, spec = self._runtime.settings, lease.command.spec
        limits = {name: getattr(settings, name) for name in Limits.model_fields}
        # Through a pipe to the one process that needs them: credentials are in no message and no file of ours.
        fetches = isinstance(spec, IngestSpec) and spec.fetch is not None
        return Task(
            entry=self._entry,
            command=lease.command,
            attempt=lease.attempt,
            objects_directory=self._runtime.home.objects,
            certificates=self._runtime.home.certificates,
            limits=Limits(**limits),
            sources=settings.sources() if fetches else None,
            measurements=lease.measurements,
        )

    async def _require_wanted(self, lease: Lease) -> None:
        if await self._store.write(lambda tx: self._jobs.cancel_requested(tx, lease)):
            raise WorkerLost("cancelled before its worker began")

    async def _listen(self, lease: Lease, worker: Worker, steps: tracing.Steps) -> Finished | Broken:
        clock = asyncio.get_running_loop().time
        pace = Pace(clock())
        async for line in worker.lines:
            match report := REPORT.validate_json(line):
                case Advanced():
                    steps.reached(report.step)
                    await self._tell_progress(lease, report, pace.left(report.fraction, clock()))
                case Opening() | Measured():
                    if not await self._store.write(partial(self._noted, lease, report)):
                        raise WorkerLost("the lease was lost, or the job is to be cancelled")
                    await worker.tell(b"+")
                case Finished() | Broken():
                    return report
        raise WorkerLost(f"ended with code {await worker.ended()}")

    def _noted(self, lease: Lease, report: Opening | Measured, tx: Transaction) -> bool:
        if isinstance(report, Measured):
            return self._jobs.measured(tx, lease, report.object)
        return self._jobs.opening(tx, lease)

    @around("executor.write_end")
    async def _write_end(self, lease: Lease, end: Finished | Broken) -> None:
        # Before the end is written: nobody ever sees a failure whose reason is not there.
        told = () if isinstance(end, Finished) else await asyncio.to_thread(self._keep_reason, lease, end)
        state = await self._store.write(partial(self._ended, lease, end, told))
        tracing.note("halftone.end", state or "lost")
        if state is not JobState.FAILED:
            for object_id in told:
                await asyncio.to_thread(self._runtime.objects.delete, object_id)
        if state is None:
            await self._clear(lease.command.job, lease.attempt)
            return
        kept = {output.object for output in end.outputs} if isinstance(end, Finished) and state is JobState.COMPLETED else set()
        await self._clear_all(lease.command.job, lease.attempt, kept)

    async def _tidy(self, job: JobId) -> None:
        """Remove what attempts left that came to nothing, also where whoever ended the job died before doing so."""
        attempts, kept = await self._store.write(lambda tx: self._jobs.given_up(tx, job))
        await self._clear_all(job, attempts, kept)

    async def _clear_all(self, job: JobId, attempts: int, kept: AbstractSet[ObjectId] = frozenset()) -> None:
        """Remove what any attempt wrote that nobody will refer to."""
        for attempt in range(1, attempts + 1):
            await self._clear(job, attempt, kept)

    async def _clear(self, job: JobId, attempt: int, kept: AbstractSet[ObjectId] = frozenset()) -> None:
        for object_id in {result_id(job, attempt, role) for role in RESULTS} - kept:
            await asyncio.to_thread(self._runtime.objects.delete, object_id)

    def _ended(self, lease: Lease, end: Finished | Broken, told: tuple[ObjectId, ...], tx: Transaction) -> JobState | None:
        if isinstance(end, Finished):
            return self._jobs.complete(tx, lease, end.outputs, lambda: self._events(tx, lease.command, end))
        return self._jobs.fail(tx, lease, end.code, *told)

    def _keep_reason(self, lease: Lease, end: Broken) -> tuple[ObjectId, ...]:
        """Store the problem document and the log of a job that cannot be done."""
        task, objects = self._task(lease), self._runtime.objects
        problem = objects.put(task.object_id("problem"), json.dumps(end.problem).encode(), "application/problem+json")
        return problem, objects.put(task.object_id("log"), end.log.encode(), "text/plain; charset=utf-8", ".log")

    async def _beat(self) -> None:
        """Tell broker and database, for ever, that work goes on, while it does; a lease that is lost ends its worker."""
        while True:
            await self._working.wait()
            await asyncio.sleep(BEAT_SECONDS)
            held = list(self._held.values())
            if not held:
                self._working.clear()
                continue
            for _, delivery in held:
                with contextlib.suppress(NatsError, OSError):
                    await delivery.alive()
            for lease in await self._store.write(partial(self._renew, [lease for lease, _ in held])):
                self._kill(lease.command.job)

    def _renew(self, leases: list[Lease], tx: Transaction) -> list[Lease]:
        """Those that are lost, or whose job is to be cancelled."""
        return [lease for lease in leases if not self._jobs.renew(tx, lease)]

    async def _tell_progress(self, lease: Lease, report: Advanced, left: float | None) -> None:
        job = lease.command.job
        progress = Progress(job=job, attempt=lease.attempt, step=report.step, fraction=report.fraction, left=left)
        with contextlib.suppress(NatsError, OSError):
            await self._runtime.client.publish(subjects.progress(job), progress.model_dump_json().encode())

    async def _cancel(self, envelope: Envelope) -> None:
        command = envelope.message
        if not isinstance(command, CancelJob):
            raise Hopeless(code="misaddressed")

        def change(tx: Transaction) -> bool:
            return tx.first_time(envelope.id) and self._jobs.cancel(tx, envelope, command)

        if not await self._store.write(change):
            # It may have ended here, after attempts of which nobody is left to remove what they wrote.
            await self._tidy(command.job)
            return
        self._kill(command.job)
        # Another instance may hold the job; should it not hear, it finds the request at its next heartbeat.
        with contextlib.suppress(NatsError, OSError):
            await self._runtime.client.publish(subjects.cancel(command.job), b"")

    async def _hear_cancel(self, message: Msg) -> None:
        self._kill(subjects.job_of(message.subject))

    def _kill(self, job: JobId) -> None:
        worker = self._workers.get(job)
        if worker is not None:
            worker.kill()


def _light(message: Message) -> bool:
    """Whether a job needs no worker, and so no slot."""
    return isinstance(message, RunJob) and message.spec.kind is JobKind.NOOP


async def run_executor(
    actor: Actor, settings: Settings, entry: str, *, events: Events = _as_told, metadata: MetaData | None = None
) -> None:
    """Run an actor that does nothing but jobs, until it is stopped. ``metadata`` holds tables of its own."""
    metadata = metadata or MetaData()
    job_table(metadata)
    async with running(actor, settings, metadata) as runtime:
        await Executor(runtime, actor, entry, events).serve()
