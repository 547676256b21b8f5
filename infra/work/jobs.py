"""A job's row in its executor's database: who works on it, how often it was tried, and, once, how it ended.

Everything here runs inside a transaction. A lease with a fencing token makes one owner at a time: who lost it cannot write.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, Column, MetaData, Row, Table, Text, bindparam, select

from contracts.commands import CancelJob, ReserveBudget, RunJob
from contracts.envelope import MESSAGES, Envelope
from contracts.events import (
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobRefused,
    JobStarted,
    MechanismStarted,
)
from contracts.ids import Code, JobId, ObjectId, derived_message_id
from contracts.jobs import JobState, Output, StepRun, Use
from infra.database.dialect import Integer, insert
from infra.database.prepared import Prepared, PreparedUpdate
from infra.database.store import Transaction, now_ms
from infra.instance import InstanceId
from infra.work.task import Happened

LEASE_MS = 15_000
"""For how long a lease holds that is not renewed. An owner that is known to be gone loses its leases at once."""
LOST_AT_MOST = 3
"""Attempts that may end without a word before a job is given up: what ends a worker three times is the job."""


def job_table(metadata: MetaData) -> Table:
    """Add the executor's jobs to a database's tables."""
    return Table(
        "jobs",
        metadata,
        Column("job", Text, primary_key=True),
        Column("state", Text, nullable=False),
        Column("attempt", Integer, nullable=False, comment="times the job was taken up"),
        Column("lost", Integer, nullable=False, comment="attempts that ended without a word: the worker or its executor died"),
        Column("granted", Integer, nullable=False, comment="the last run of its mechanism that was taken up with a grant"),
        Column("mechanism_runs", Integer, nullable=False, comment="times its mechanism started, each one charged"),
        Column("measurements", Text, comment="object with noisy measurements: a later attempt builds on them"),
        Column("token", Text, comment="fences off whoever held the lease before"),
        Column("owner", Text, comment="instance that holds the lease"),
        Column("lease_until", Integer, nullable=False, comment="ms since 1970"),
        Column("cancel_requested", Boolean, nullable=False),
    )


@dataclass(frozen=True)
class Lease:
    """The right to work on a job and to write how it ended."""

    envelope: Envelope
    command: RunJob
    token: str
    attempt: int
    measurements: ObjectId | None


class Busy(Exception):
    """Another process holds the job's lease."""


class Jobs:
    """The transitions of job rows. Each takes the transaction it happens in."""

    def __init__(
        self, table: Table, source: str, instance: InstanceId = "", is_gone: Callable[[InstanceId | None], bool] = lambda _: False
    ) -> None:
        """``instance``: who takes leases; ``is_gone``: whether another, who holds one, is known to have ended."""
        self._source, self._instance, self._is_gone = source, instance, is_gone
        this = table.c.job == bindparam("key")
        known = ["job", "state", "attempt", "lost", "granted", "mechanism_runs", "lease_until", "cancel_requested"]
        self._insert = Prepared(insert(table), known)
        self._read = Prepared(select(table).where(this))
        self._update = PreparedUpdate(table, this)
        held = (table.c.token == bindparam("held")) & (table.c.state == bindparam("running"))
        self._update_held = PreparedUpdate(table, this & held)

    def take(self, tx: Transaction, envelope: Envelope, command: RunJob) -> Lease | None:
        """Take a job up, or end it where no work is to be done (None). Raises Busy."""
        row = self._row(tx, command.job) or self._new(tx, command.job)
        if JobState(row.state).terminal:
            return None
        if self._leased(row):
            raise Busy(command.job)
        if row.cancel_requested:
            self._end(tx, envelope, row.job, JobState.CANCELLED, self._cancelled(row, command))
            return None
        if command.refusal is not None:
            r = command.refusal
            self._end(
                tx,
                envelope,
                row.job,
                JobState.REFUSED,
                JobRefused(job=row.job, code=r.code, account=r.account, asked=r.asked, left=r.left, limits=r.limits),
            )
            return None
        if command.failed is not None:
            self.abandon(tx, envelope, row.job, command.failed, command)
            return None
        # Still running, but the lease is over: whoever had it is gone. Handed back, it would be queued.
        lost = row.lost + (row.state == JobState.RUNNING)
        if lost >= LOST_AT_MOST:
            failed = JobFailed(job=row.job, attempt=row.attempt, code="worker-lost", never_started=_unused(row, command))
            self._end(tx, envelope, row.job, JobState.FAILED, failed)
            return None
        if not self._paid(tx, envelope, row, command, lost):
            return None
        return self._start(tx, envelope, row, command, lost)

    def _paid(self, tx: Transaction, envelope: Envelope, row: Row[Any], command: RunJob, lost: int) -> bool:
        """Whether the mechanism may run; if what was granted has been used up by a run that left nothing, ask for more."""
        grant = command.grant
        if grant is None or grant.use is not Use.CHARGE or row.measurements is not None or _unused(row, command):
            return True
        again = ReserveBudget(
            account=grant.account,
            job=row.job,
            step=grant.step,
            use=grant.use,
            cost=grant.cost,
            attempt=row.mechanism_runs + 1,
            then=command.model_copy(update={"grant": None}),
        )
        self._set(tx, row.job, state=JobState.QUEUED, lost=lost, owner=None, lease_until=0)
        asked = self._caused(envelope, again, f"reserve:{row.job}", again.attempt)
        # The command may come again before the keeper has answered.
        if not tx.has_sent(asked.id):
            tx.send(asked)
        return False

    def _start(self, tx: Transaction, envelope: Envelope, row: Row[Any], command: RunJob, lost: int) -> Lease:
        attempt, token = row.attempt + 1, secrets.token_hex(8)
        tx.send(self._caused(envelope, JobStarted(job=row.job, attempt=attempt), f"started:{row.job}", attempt))
        held = {"token": token, "owner": self._instance, "lease_until": now_ms() + LEASE_MS}
        granted = max(row.granted, _charged_run(command))
        self._set(tx, row.job, state=JobState.RUNNING, attempt=attempt, lost=lost, granted=granted, **held)
        return Lease(envelope, command, token, attempt, row.measurements)

    def renew(self, tx: Transaction, lease: Lease) -> bool:
        """Hold the lease for longer; false if it is lost, or if the job is to be cancelled."""
        return not self.cancel_requested(tx, lease) and self._held(tx, lease, lease_until=now_ms() + LEASE_MS)

    def hand_back(self, tx: Transaction, lease: Lease) -> None:
        """Give the job up unfinished, for somebody else to take at once: nothing was lost."""
        self._held(tx, lease, lease_until=0, state=JobState.QUEUED, token=None, owner=None)

    def cancel_requested(self, tx: Transaction, lease: Lease) -> bool:
        """Whether somebody asked for the job's end while it ran."""
        row = self._mine(tx, lease)
        return row is not None and bool(row.cancel_requested)

    def expire(self, tx: Transaction, lease: Lease) -> int:
        """Let the next attempt begin at once: this one's worker is gone. Gives how many went that way; 0 if the lease was lost."""
        row = self._mine(tx, lease)
        return row.lost + 1 if row is not None and self._held(tx, lease, lease_until=0) else 0

    def abandon(self, tx: Transaction, cause: Envelope, job: JobId, code: Code, command: RunJob | None) -> None:
        """End a job whose command cannot be handled, unless somebody is at it. Without its command nothing is known to be unused."""
        row = self._row(tx, job) or self._new(tx, job)
        if JobState(row.state).terminal or self._leased(row):
            return
        never = () if command is None else _unused(row, command)
        self._end(tx, cause, job, JobState.FAILED, JobFailed(job=job, attempt=row.attempt, code=code, never_started=never))

    def opening(self, tx: Transaction, lease: Lease) -> bool:
        """Note that the mechanism starts, and so is charged: the data is opened next. False if the lease is lost, or the job cancelled."""
        row = self._mine(tx, lease)
        if row is None or row.cancel_requested:
            return False
        self._use_up(tx, row, lease)
        return True

    def _use_up(self, tx: Transaction, row: Row[Any], lease: Lease) -> None:
        """Tell that what was granted is used, unless that was told before."""
        grant = lease.command.grant
        for run in _unused(row, lease.command):
            assert grant is not None  # noqa: S101  # what is unused was granted
            started = MechanismStarted(job=row.job, step=run.step, attempt=run.attempt, account=grant.account)
            tx.send(self._caused(lease.envelope, started, f"mechanism:{row.job}", run.attempt))
            self._set(tx, row.job, mechanism_runs=run.attempt)

    def measured(self, tx: Transaction, lease: Lease, measurements: ObjectId) -> bool:
        """Note that measuring is done: no later attempt measures again. False if the lease is lost."""
        return self._held(tx, lease, measurements=measurements)

    def complete(
        self, tx: Transaction, lease: Lease, outputs: tuple[Output, ...], events: Callable[[], tuple[Happened, ...]]
    ) -> JobState | None:
        """End a job well, unless it was cancelled meanwhile; what has happened besides is asked for only then.

        Returns the state it ended in, or None if the lease is lost.
        """
        row = self._mine(tx, lease)
        if row is None:
            return None
        if row.cancel_requested:
            self._end(tx, lease.envelope, row.job, JobState.CANCELLED, self._cancelled(row, lease.command))
            return JobState.CANCELLED
        # A worker that came to a result without a word of its start: in doubt, it is charged.
        self._use_up(tx, row, lease)
        tx.send(*(_outcome(lease, self._source, n, happened) for n, happened in enumerate(events())))
        completed = JobCompleted(job=row.job, attempt=lease.attempt, outputs=outputs)
        self._end(tx, lease.envelope, row.job, JobState.COMPLETED, completed)
        return JobState.COMPLETED

    def fail(self, tx: Transaction, lease: Lease, code: Code, problem: ObjectId | None, log: ObjectId | None) -> JobState | None:
        """End a job that cannot be done.

        Returns the state it ended in, or None if the lease is lost.
        """
        row = self._mine(tx, lease)
        if row is None:
            return None
        failed = JobFailed(
            job=row.job, attempt=lease.attempt, code=code, problem=problem, log=log, never_started=_unused(row, lease.command)
        )
        self._end(tx, lease.envelope, row.job, JobState.FAILED, failed)
        return JobState.FAILED

    def cancelled(self, tx: Transaction, lease: Lease) -> None:
        """End a job whose worker was ended because someone asked."""
        row = self._mine(tx, lease)
        if row is not None:
            self._end(tx, lease.envelope, row.job, JobState.CANCELLED, self._cancelled(row, lease.command))

    def cancel(self, tx: Transaction, envelope: Envelope, command: CancelJob) -> bool:
        """Cancel a job wherever it stands; true if a worker may be at it."""
        row = self._row(tx, command.job)
        if row is None or row.state == JobState.QUEUED or (row.state == JobState.RUNNING and not self._leased(row)):
            # Nobody is at it: it ends here, and the run command, when it comes, finds it ended.
            runs = row.mechanism_runs if row is not None else 0
            never = tuple(run for run in command.reserved if run.attempt > runs) or _next_run(command, runs)
            attempt = row.attempt if row is not None else 0
            if row is None:
                self._new(tx, command.job)
            self._end(tx, envelope, command.job, JobState.CANCELLED, JobCancelled(job=command.job, attempt=attempt, never_started=never))
            return False
        if JobState(row.state).terminal:
            return False
        self._set(tx, command.job, cancel_requested=True)
        return True

    def _leased(self, row: Row[Any]) -> bool:
        """Whether somebody works on the job who may still be alive."""
        return row.state == JobState.RUNNING and row.lease_until > now_ms() and not self._is_gone(row.owner)

    def given_up(self, tx: Transaction, job: JobId) -> tuple[int, frozenset[ObjectId]]:
        """Attempts at a job that came to nothing, and so may have left something behind, and what of that is still needed."""
        row = self._row(tx, job)
        if row is None or not JobState(row.state).terminal:
            return 0, frozenset()
        if row.state == JobState.COMPLETED:
            return row.attempt - 1, frozenset(filter(None, (row.measurements,)))
        return row.attempt, frozenset()

    def _cancelled(self, row: Row[Any], command: RunJob) -> JobCancelled:
        return JobCancelled(job=row.job, attempt=row.attempt, never_started=_unused(row, command))

    def _end(self, tx: Transaction, envelope: Envelope, job: JobId, state: JobState, event: Any) -> None:
        self._set(tx, job, state=state, token=None, owner=None, lease_until=0)
        # One id for every way to end: a second end of the same job cannot enter the outbox.
        ended = derived_message_id(job, "end", 0)
        tx.send(Envelope.wrap(event, envelope.context, source=self._source, message_id=ended, causation=envelope.id))

    def _caused(self, envelope: Envelope, message: Any, handler: str, n: int) -> Envelope:
        message_id = derived_message_id(handler, "job", n)
        return Envelope.wrap(message, envelope.context, source=self._source, message_id=message_id, causation=envelope.id)

    def _row(self, tx: Transaction, job: JobId) -> Row[Any] | None:
        row: Row[Any] | None = self._read.first(tx.connection, key=job)
        return row

    def _new(self, tx: Transaction, job: JobId) -> Row[Any]:
        nothing = {"attempt": 0, "lost": 0, "granted": 0, "mechanism_runs": 0, "lease_until": 0, "cancel_requested": False}
        self._insert.run(tx.connection, job=job, state=JobState.QUEUED, **nothing)
        row = self._row(tx, job)
        assert row is not None  # noqa: S101  # inserted just above
        return row

    def _mine(self, tx: Transaction, lease: Lease) -> Row[Any] | None:
        row = self._row(tx, lease.command.job)
        return row if row is not None and row.token == lease.token and row.state == JobState.RUNNING else None

    def _held(self, tx: Transaction, lease: Lease, **values: Any) -> bool:
        mine = {"key": lease.command.job, "held": lease.token, "running": JobState.RUNNING}
        return bool(self._update_held.run(tx.connection, mine, values))

    def _set(self, tx: Transaction, job: JobId, **values: Any) -> None:
        self._update.run(tx.connection, {"key": job}, values)


def _unused(row: Row[Any], command: RunJob) -> tuple[StepRun, ...]:
    """What was granted and not used. An earlier command may come again while a later one's grant is open."""
    run = max(row.granted, _charged_run(command))
    if command.grant is None or run <= row.mechanism_runs:
        return ()
    return (StepRun(step=command.grant.step, attempt=run),)


def _charged_run(command: RunJob) -> int:
    """The run of the mechanism that a command pays for; 0 for none."""
    return command.grant.attempt if command.grant is not None and command.grant.use is Use.CHARGE else 0


def _next_run(command: CancelJob, runs: int) -> tuple[StepRun, ...]:
    """A run that may have been asked for after an interrupted one."""
    return tuple(StepRun(step=run.step, attempt=runs + 1) for run in command.reserved)


def _outcome(lease: Lease, source: str, n: int, happened: Happened) -> Envelope:
    event = MESSAGES[happened.type].read(happened.data)
    message_id = derived_message_id(lease.command.job, "outcome", n)
    return Envelope.wrap(event, lease.envelope.context, source=source, message_id=message_id, causation=lease.envelope.id)
