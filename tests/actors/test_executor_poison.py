"""Commands that an executor can make nothing of: their jobs fail, and hold nobody up."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.msg import Msg

from contracts import subjects
from contracts.commands import RunJob
from contracts.envelope import Envelope
from contracts.events import (
    JobCompleted,
    JobFailed,
)
from contracts.ids import new_id
from contracts.jobs import Actor, StepRun
from infra.bus import retries
from infra.bus.retries import Verdict
from infra.bus.topology import run_durable
from infra.database.store import Transaction
from tests.actors.conftest import Start, job, publish, run_of
from tests.conftest import PATIENCE, Bus, Heard, Keep


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
