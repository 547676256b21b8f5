"""An executor with real worker processes, and the commands that it is given."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from sqlalchemy import MetaData

from contracts import subjects
from contracts.commands import CancelJob, RunJob
from contracts.cost import Cost
from contracts.envelope import Context, Envelope
from contracts.events import (
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobRefused,
)
from contracts.ids import new_id
from contracts.jobs import Actor, Grant, StepRun, SynthesizeSpec, TableRef, Use
from infra.bus.connection import jetstream
from infra.bus.retries import Verdict
from infra.bus.runs import Delivery
from infra.database.store import Transaction
from infra.home import Home
from infra.runtime import Runtime, running
from infra.settings import Settings
from infra.work.executor import Executor
from infra.work.jobs import job_table
from tests.conftest import PATIENCE, Bus, Heard

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
        self.kept: set[str] = set()
        """Objects that are to stay."""

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
