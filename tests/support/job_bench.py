"""One job's row on a database in memory, with a clock that is set by hand."""

from __future__ import annotations

import pytest
from sqlalchemy import MetaData, Row, select

from contracts.base import Message
from contracts.commands import CancelJob, RunJob
from contracts.cost import Cost
from contracts.envelope import Context, Envelope
from contracts.events import JobCancelled, JobCompleted, JobFailed, JobRefused
from contracts.ids import new_id
from contracts.jobs import Actor, Grant, NoopSpec, Refusal, StepRun, Use
from infra.work import jobs as jobs_module
from infra.work.jobs import LEASE_MS, Jobs, Lease, job_table
from memory_database import MemoryDatabase

ENDS = (JobCompleted, JobFailed, JobCancelled, JobRefused)
ACCOUNT, JOB = new_id("acc"), new_id("job")
COST = Cost(rho=5)


class Bench:
    """One job on a database in memory, with a clock that is set by hand."""

    def __init__(self) -> None:
        metadata = MetaData()
        self._table = job_table(metadata)
        self.jobs = Jobs(self._table, "/actors/synthesizer")
        self.database = MemoryDatabase(metadata)
        self.now = 1_000_000
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(jobs_module, "now_ms", lambda: self.now)

    def close(self) -> None:
        self._patch.undo()
        self.database.close()

    def take(self, envelope: Envelope) -> Lease | None:
        command = envelope.message
        assert isinstance(command, RunJob)
        return self.database.do(lambda tx: self.jobs.take(tx, envelope, command))

    def cancel(self) -> bool:
        command = CancelJob(job=JOB, executor=Actor.SYNTHESIZER, reserved=(StepRun(step="measure"),))
        envelope = Envelope.wrap(command, Context.new(), source="/edge")
        return self.database.do(lambda tx: self.jobs.cancel(tx, envelope, command))

    def row(self) -> Row[tuple[object, ...]] | None:
        return self.database.peek(lambda tx: tx.connection.execute(select(self._table)).first())

    def sent(self, *kinds: type[Message]) -> list[Message]:
        return [envelope.message for envelope in self.database.sent() if isinstance(envelope.message, kinds)]

    def pass_lease(self) -> None:
        self.now += LEASE_MS + 1


def command(grant: int | None = 1, *, use: Use = Use.CHARGE, refused: bool = False) -> Envelope:
    """A job as the keeper passes it on: with a grant for a run, or refused, or (no grant) as the edge sends it."""
    granted = None if grant is None or refused else Grant(account=ACCOUNT, step="measure", use=use, cost=COST, attempt=grant, entry=1)
    refusal = Refusal(account=ACCOUNT, code="budget-exhausted", asked=COST, left=Cost(rho=1)) if refused else None
    return Envelope.wrap(RunJob(job=JOB, spec=NoopSpec(), grant=granted, refusal=refusal), Context.new(), source="/edge")


def lease(bench: Bench, envelope: Envelope) -> Lease:
    taken = bench.take(envelope)
    assert taken is not None
    return taken
