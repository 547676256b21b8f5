"""A job's row under every order of what can happen to it: one end, one owner, one charge for each start of its mechanism."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import MetaData, Row, select

from contracts.base import Message
from contracts.commands import CancelJob, ReserveBudget, RunJob
from contracts.cost import Cost
from contracts.envelope import Context, Envelope
from contracts.events import JobCancelled, JobCompleted, JobFailed, JobRefused, JobStarted, MechanismStarted
from contracts.ids import new_id
from contracts.jobs import Actor, Grant, JobState, NoopSpec, Refusal, StepRun, Use
from infra.work import jobs as jobs_module
from infra.work.jobs import LEASE_MS, LOST_AT_MOST, Busy, Jobs, Lease, job_table
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


@pytest.fixture
def bench() -> object:
    bench = Bench()
    yield bench
    bench.close()


def lease(bench: Bench, envelope: Envelope) -> Lease:
    taken = bench.take(envelope)
    assert taken is not None
    return taken


def open_and_lose(bench: Bench, held: Lease) -> None:
    """The mechanism starts, and its worker dies."""
    assert bench.database.do(lambda tx: bench.jobs.opening(tx, held))
    bench.database.do(lambda tx: bench.jobs.expire(tx, held))


def test_a_worker_that_dies_before_it_opens_the_data_costs_nothing(bench: Bench) -> None:
    """The next attempt uses the same grant: one start, one charge, however often its worker asks."""
    first = lease(bench, command(1))
    bench.database.do(lambda tx: bench.jobs.expire(tx, first))
    taken = lease(bench, command(1))
    for _ in range(2):
        assert bench.database.do(lambda tx: bench.jobs.opening(tx, taken))
    assert [m.attempt for m in bench.sent(MechanismStarted, ReserveBudget)] == [1]  # type: ignore[attr-defined]


def test_a_cancelled_job_opens_nothing(bench: Bench) -> None:
    """The worker that asks too late is not let in, and what was granted is given back."""
    taken = lease(bench, command(1))
    bench.cancel()
    assert not bench.database.do(lambda tx: bench.jobs.opening(tx, taken))
    bench.database.do(lambda tx: bench.jobs.cancelled(tx, taken))
    assert bench.sent(MechanismStarted, *ENDS) == [JobCancelled(job=JOB, attempt=1, never_started=(StepRun(step="measure"),))]


def test_a_result_without_a_word_of_its_start_is_charged(bench: Bench) -> None:
    """In doubt, charge: whoever completes on a grant has used it."""
    taken = lease(bench, command(1))
    assert bench.database.do(lambda tx: bench.jobs.complete(tx, taken, (), ())) is JobState.COMPLETED
    assert [type(m) for m in bench.sent(MechanismStarted, *ENDS)] == [MechanismStarted, JobCompleted]


def test_a_run_that_left_nothing_is_asked_for_again_and_counted(bench: Bench) -> None:
    """Each worker that dies while measuring costs a charge; the third ends the job, and the budget with it no further."""
    for attempt in range(1, LOST_AT_MOST + 1):
        taken = lease(bench, command(attempt))
        open_and_lose(bench, taken)
        assert bench.take(command(attempt)) is None
    assert [m.attempt for m in bench.sent(MechanismStarted)] == [1, 2, 3]  # type: ignore[attr-defined]
    assert [m.attempt for m in bench.sent(ReserveBudget)] == [2, 3]  # type: ignore[attr-defined]
    (failed,) = bench.sent(*ENDS)
    assert failed == JobFailed(job=JOB, attempt=3, code="worker-lost")


def test_a_request_for_another_run_is_sent_once(bench: Bench) -> None:
    """The command is delivered again before the keeper has answered: it waits, and is no error."""
    first = command(1)
    open_and_lose(bench, lease(bench, first))
    assert [bench.take(first) for _ in range(3)] == [None] * 3
    (asked,) = bench.sent(ReserveBudget)
    assert isinstance(asked, ReserveBudget)
    assert (asked.attempt, asked.cost, asked.account, asked.then.grant) == (2, COST, ACCOUNT, None)


def test_who_has_lost_the_lease_writes_nothing(bench: Bench) -> None:
    """Another has taken the job up meanwhile: the first can neither measure, renew, give back nor end."""
    stale = lease(bench, command(None))
    bench.pass_lease()
    held = lease(bench, command(None))
    before, sent = bench.row(), len(bench.database.sent())
    for write in ("opening", "renew", "hand_back", "expire", "cancelled"):
        assert not bench.database.do(lambda tx, w=write: getattr(bench.jobs, w)(tx, stale))  # type: ignore[misc]
    assert not bench.database.do(lambda tx: bench.jobs.measured(tx, stale, new_id("obj")))
    assert bench.database.do(lambda tx: bench.jobs.complete(tx, stale, (), ())) is None
    assert bench.database.do(lambda tx: bench.jobs.fail(tx, stale, "x", None, None)) is None
    assert bench.row() == before
    assert len(bench.database.sent()) == sent
    assert bench.database.do(lambda tx: bench.jobs.complete(tx, held, (), ())) is JobState.COMPLETED


def test_a_run_that_was_asked_for_again_is_given_back_on_a_cancellation(bench: Bench) -> None:
    """The edge knows of the first reservation alone; the second, which its executor asked for, is named as well."""
    open_and_lose(bench, lease(bench, command(1)))
    assert bench.take(command(1)) is None
    bench.cancel()
    assert bench.sent(JobCancelled) == [JobCancelled(job=JOB, attempt=1, never_started=(StepRun(step="measure", attempt=2),))]


def test_a_refusal_ends_the_job_in_numbers(bench: Bench) -> None:
    """It says what was asked and what would have fit; nothing started."""
    assert bench.take(command(refused=True)) is None
    assert bench.sent(JobRefused, JobStarted) == [
        JobRefused(job=JOB, code="budget-exhausted", account=ACCOUNT, asked=COST, left=Cost(rho=1))
    ]


def test_a_job_that_is_cancelled_before_it_comes_never_starts(bench: Bench) -> None:
    """The cancellation overtakes the command; what was to be reserved is named as never started."""
    assert bench.cancel() is False
    assert bench.take(command(1)) is None
    assert bench.sent(*ENDS, JobStarted) == [JobCancelled(job=JOB, attempt=0, never_started=(StepRun(step="measure"),))]


def test_observing_is_not_charged(bench: Bench) -> None:
    """Raw use is granted at no cost: no mechanism starts, and a rerun asks for nothing."""
    for _ in range(2):
        taken = lease(bench, command(1, use=Use.OBSERVE))
        bench.database.do(lambda tx, held=taken: bench.jobs.hand_back(tx, held))  # type: ignore[misc]
    assert bench.sent(MechanismStarted, ReserveBudget) == []


def test_attempts_of_a_job_without_result_are_known(bench: Bench) -> None:
    """What they left can be removed; a job that still runs, or has ended well, is left alone."""
    taken = lease(bench, command(None))
    assert bench.database.do(lambda tx: bench.jobs.given_up(tx, JOB)) == 0
    bench.cancel()
    bench.database.do(lambda tx: bench.jobs.cancelled(tx, taken))
    assert bench.database.do(lambda tx: bench.jobs.given_up(tx, JOB)) == 1
    assert bench.database.do(lambda tx: bench.jobs.given_up(tx, new_id("job"))) == 0


SELDOM = st.integers(0, 4).map(lambda n: n == 4)
"""What ends a job, so that most lives are long enough to be of interest."""


class JobLaws(RuleBasedStateMachine):
    """One job, several executors that believe they own it, a keeper that answers, and a broker that repeats."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.leases: list[Lease] = []
        self.holder: Lease | None = None
        self.commands: list[Envelope] = []
        self.granted: set[int] = set()
        self.answered: set[int] = set()
        self.measured_at: int | None = None
        self.cancel_asked = False
        self.objects = itertools.count()

    def teardown(self) -> None:
        self.bench.close()

    @initialize(
        kind=st.sampled_from(["charge", "plain", "refused"]),
        troubles=st.lists(st.sampled_from(["late", "expire", "hand_back"]), max_size=3),
        opened=st.booleans(),
    )
    def begin(self, kind: str, troubles: list[str], opened: bool) -> None:
        """The first attempts: each is taken up and comes to nothing, before anything else happens."""
        self.commands = [command(None if kind == "plain" else 1, refused=kind == "refused")]
        self.granted = {1} if kind == "charge" else set()
        self._take(self.commands[0])
        for trouble in troubles if self.leases else []:
            self.bench.pass_lease()
            if opened:
                self._with(self.leases[-1], "opening")
            if trouble != "late":
                self._with(self.leases[-1], trouble)
            self._take(self.commands[-1])
            if self._asked():
                self._answer(granted=True)
                self._take(self.commands[-1])

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """Any command that was ever delivered comes, or comes again."""
        self._take(data.draw(st.sampled_from(self.commands)))

    @rule(data=st.data())
    def take_late(self, data: st.DataObject) -> None:
        """The same, when whoever held the lease has not been heard of for too long."""
        self.bench.pass_lease()
        self._take(data.draw(st.sampled_from(self.commands)))

    def _take(self, envelope: Envelope) -> None:
        row = self.bench.row()
        try:
            taken = self.bench.take(envelope)
        except Busy:
            assert row is not None
            assert row.state == JobState.RUNNING
            assert row.lease_until > self.bench.now
            return
        self.holder = taken
        if taken is not None:
            assert not self.cancel_asked
            self.leases.append(taken)

    def _stale(self) -> list[Lease]:
        """Leases that were lost, or all where none was."""
        return [held for held in self.leases if held is not self.holder] or self.leases

    def _with(self, held: Lease, write: str, *more: object) -> object:
        """Let somebody who has, or once had, a lease write. Who has lost it changes nothing."""
        before, sent = self.bench.row(), len(self.bench.database.sent())
        result = self.bench.database.do(lambda tx: getattr(self.bench.jobs, write)(tx, held, *more))
        if held is not self.holder:
            assert not result
            assert self.bench.row() == before
            assert len(self.bench.database.sent()) == sent
        return result

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def opening(self, data: st.DataObject) -> None:
        """A worker is about to open the data, perhaps one whose executor has lost the job."""
        held = data.draw(st.sampled_from(self.leases))
        assert self._with(held, "opening") == (held is self.holder and not self.cancel_asked)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def measured(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.leases))
        if self.measured_at is None and not self._with(held, "opening"):
            return
        if self._with(held, "measured", new_id("obj")) and self.measured_at is None:
            self.measured_at = len(self.bench.sent(MechanismStarted))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), now=SELDOM)
    def complete(self, data: st.DataObject, now: bool) -> None:
        held = data.draw(st.sampled_from(self.leases if now else self._stale()))
        state = self._with(held, "complete", (), ())
        if held is self.holder:
            assert state == (JobState.CANCELLED if self.cancel_asked else JobState.COMPLETED)
            self.holder = None

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), now=SELDOM)
    def fail(self, data: st.DataObject, now: bool) -> None:
        held = data.draw(st.sampled_from(self.leases if now else self._stale()))
        if self._with(held, "fail", "bad-input", None, None) is not None:
            self.holder = None

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """The worker is gone: because somebody asked, or for no known reason."""
        held = data.draw(st.sampled_from(self.leases))
        if self.bench.database.do(lambda tx: self.bench.jobs.cancel_requested(tx, held)):
            assert self.cancel_asked
            self._with(held, "cancelled")
            self.holder = None
        else:
            self._with(held, "expire")

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def hand_back(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.leases))
        self._with(held, "hand_back")
        if held is self.holder:
            self.holder = None

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(self.leases))
        assert self._with(held, "renew") == (held is self.holder and not self.cancel_asked)

    @rule(now=SELDOM)
    def cancel(self, now: bool) -> None:
        """Someone asks, perhaps not for the first time, perhaps too late."""
        if not now:
            return
        row, ends = self.bench.row(), self.bench.sent(*ENDS)
        at_work = self.bench.cancel()
        assert at_work == (row is not None and row.state == JobState.RUNNING)
        if ends:
            assert self.bench.sent(*ENDS) == ends
        self.cancel_asked = self.cancel_asked or not ends

    @rule()
    def time_passes(self) -> None:
        """Longer than a lease."""
        self.bench.pass_lease()

    def _asked(self) -> set[int]:
        return {asked.attempt for asked in self.bench.sent(ReserveBudget)} - self.answered  # type: ignore[attr-defined]

    @precondition(lambda self: self._asked())
    @rule(refused=SELDOM)
    def keeper_answers(self, refused: bool) -> None:
        self._answer(granted=not refused)

    def _answer(self, *, granted: bool) -> None:
        attempt = min(self._asked())
        self.answered.add(attempt)
        if self.bench.sent(*ENDS):
            return
        self.commands.append(command(attempt, refused=not granted))
        if granted:
            self.granted.add(attempt)

    @invariant()
    def one_end(self) -> None:
        """At most one terminal event, and it agrees with the row."""
        ends, row = self.bench.sent(*ENDS), self.bench.row()
        assert len(ends) <= 1
        terminal = row is not None and JobState(row.state).terminal
        assert terminal == bool(ends)
        if ends:
            assert row is not None
            assert row.state == ends[0].VERB  # type: ignore[attr-defined]

    @invariant()
    def mechanism_runs_are_granted_and_told(self) -> None:
        """Every start has its event, each run one, and only runs that were granted."""
        started = [m.attempt for m in self.bench.sent(MechanismStarted)]  # type: ignore[attr-defined]
        row = self.bench.row()
        assert len(started) == len(set(started))
        assert set(started) <= self.granted
        assert row is None or row.mechanism_runs == max(started, default=0)
        attempts = [m.attempt for m in self.bench.sent(JobStarted)]  # type: ignore[attr-defined]
        assert attempts == list(range(1, len(attempts) + 1))

    @invariant()
    def measured_once(self) -> None:
        """Once measurements are stored, nothing is measured again, nor asked for."""
        if self.measured_at is not None:
            assert len(self.bench.sent(MechanismStarted)) == self.measured_at
            assert not self._asked()

    @invariant()
    def what_never_started_is_named(self) -> None:
        """At the end: what was granted and did not start, and nothing that did; a run nobody granted is at most the next."""
        started = {m.attempt for m in self.bench.sent(MechanismStarted)}  # type: ignore[attr-defined]
        for end in self.bench.sent(JobFailed, JobCancelled):
            never = {run.attempt for run in end.never_started}  # type: ignore[attr-defined]
            assert not never & started
            assert self.granted - started <= never
            assert never - self.granted <= {max(started, default=0) + 1}
        if self.bench.sent(JobCompleted, JobRefused):
            assert self.granted <= started


TestJobLaws = JobLaws.TestCase
TestJobLaws.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
