"""A job's row under every order of what can happen to it: one end, one owner, one charge for each start of its mechanism."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.commands import ReserveBudget
from contracts.envelope import Envelope
from contracts.events import JobCancelled, JobCompleted, JobFailed, JobRefused, JobStarted, MechanismStarted
from contracts.ids import new_id
from contracts.jobs import JobState
from infra.work.jobs import Busy, Lease
from job_bench import ENDS, Bench, command

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
        state = self._with(held, "complete", (), tuple)
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
        assert at_work == (row is not None and row.state == JobState.RUNNING and row.lease_until > self.bench.now)
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
