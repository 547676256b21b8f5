"""Seeded runs of several jobs on one account, with crashes and repetitions: never a unit overspent, never one lost.

Each run is one seed, so that a failure can be repeated: HALFTONE_LEDGER_RUNS sets how many there are (100,000 for the long check),
HALFTONE_LEDGER_SEED where they begin.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from contracts.commands import DecideBudget, ReserveBudget, RunJob, SetBudget, SetQuota
from contracts.cost import NOTHING, Cost
from contracts.envelope import Envelope
from contracts.events import (
    BudgetCharged,
    BudgetHeld,
    BudgetReleased,
    BudgetReserved,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobRefused,
    MechanismStarted,
)
from contracts.ids import ADMINISTRATOR, derived_id, new_id
from contracts.jobs import NoopSpec, StepRun, Use
from ledger_bench import Keeper, wrap

RUNS = int(os.environ.get("HALFTONE_LEDGER_RUNS", "160"))
FIRST = int(os.environ.get("HALFTONE_LEDGER_SEED", "0"))
SHARES = 8
OFFICER, REASON = new_id("prn"), new_id("obj")
PER_DATABASE = 50
"""Runs on one database; each has an account of its own."""


class Run:
    """A few jobs that share a budget for about two of them, and executors that react to what the keeper passes on."""

    def __init__(self, keeper: Keeper, seed: int) -> None:
        self._keeper, self._random = keeper, random.Random(seed)
        self._account = derived_id("acc", str(seed))
        self._begin = len(keeper.sent())
        self._heard = self._begin
        self._pending: list[Envelope] = []
        self.started: dict[tuple[str, int], Cost] = {}
        self._ended: set[str] = set()
        self._epsilon = self._random.choice((10**8, 2 * 10**8))
        keeper.take(self._limit(self._epsilon))
        if self._random.random() < 0.3:
            quota = SetQuota(account=self._account, holder=ADMINISTRATOR, epsilon=10**8, delta=10**9, reason=REASON)
            self._pending.append(wrap(quota))
        if self._random.random() < 0.4:
            self._pending.append(self._limit(self._random.choice((3 * 10**7, self._epsilon, 10**9))))
        for n in range(self._random.randint(2, 4)):
            self._ask(
                derived_id("job", str(seed), str(n)), Cost(rho=self._random.randint(1, 2 * 10**8), delta=self._random.choice((0, 10**8))), 1
            )

    def _limit(self, epsilon: int) -> Envelope:
        """A limit, perhaps with windows of a day, perhaps with a second person above a cost."""
        window = self._random.choice((None, None, 1))
        approval = self._random.choice((None, Cost(rho=10**8, delta=10**15)))
        return wrap(SetBudget(account=self._account, epsilon=epsilon, delta=10**9, window_days=window, approval=approval))

    def _ask(self, job: str, cost: Cost, attempt: int) -> None:
        run = RunJob(job=job, spec=NoopSpec())
        asked = ReserveBudget(account=self._account, job=job, step="measure", use=Use.CHARGE, cost=cost, attempt=attempt, then=run)
        self._pending.append(wrap(asked))

    def play(self) -> None:
        """Deliver what is pending, in any order, with crashes before and after the commit, until nothing is."""
        while self._pending:
            at = self._random.randrange(len(self._pending))
            envelope, fate = self._pending[at], self._random.random()
            self._keeper.clock += self._random.choice((0, 1, 20_000_000))
            if fate < 0.1:
                self._keeper.crash_on(envelope)
                continue
            self._keeper.take(envelope)
            # A crash after the commit: the broker does not hear of it, and delivers again.
            if fate < 0.8:
                self._pending.pop(at)
            self._react()

    def _react(self) -> None:
        sent = self._keeper.sent()
        for envelope in sent[self._heard :]:
            if isinstance(run := envelope.message, RunJob) and run.job not in self._ended:
                self._execute(run)
            elif isinstance(held := envelope.message, BudgetHeld):
                self._decide(held)
        self._heard = len(sent)

    def _decide(self, held: BudgetHeld) -> None:
        """A second person decides, now or later; or the job is cancelled while it waits, or both cross."""
        decision = wrap(DecideBudget(account=held.account, job=held.job, approve=self._random.random() < 0.6))
        self._pending.append(decision.model_copy(update={"principal": OFFICER}))
        if held.attempt == 1 and self._random.random() < 0.2:
            self._end(JobCancelled(job=held.job, attempt=0, never_started=(StepRun(step=held.step),)))

    def _execute(self, run: RunJob) -> None:
        """What an executor makes of a job: one message more, or several, and the job's one end."""
        if run.refusal is not None:
            r = run.refusal
            self._end(JobRefused(job=run.job, code=r.code, account=r.account, asked=r.asked, left=r.left))
            return
        grant = run.grant
        assert grant is not None
        mine = StepRun(step=grant.step, attempt=grant.attempt)
        fate = self._random.random()
        if fate < 0.25:
            self._end(JobCancelled(job=run.job, attempt=0, never_started=(mine,)))
            return
        self.started[run.job, grant.attempt] = grant.cost
        self._pending.append(wrap(MechanismStarted(job=run.job, step=grant.step, attempt=grant.attempt, account=grant.account)))
        if fate < 0.45:
            self._ask(run.job, grant.cost, grant.attempt + 1)
        elif fate < 0.6:
            self._end(JobFailed(job=run.job, attempt=1, code="x"))
        else:
            self._end(JobCompleted(job=run.job, attempt=1))

    def _end(self, event: JobRefused | JobCancelled | JobFailed | JobCompleted) -> None:
        self._ended.add(event.job)
        self._pending.append(wrap(event))

    def check(self) -> None:
        """The laws of the ledger, and that what was charged is what was started: no more, no less, no other."""
        self._keeper.check()
        events = [envelope.message for envelope in self._keeper.sent()[self._begin :]]
        charged = {(e.job, e.attempt): e.cost for e in events if isinstance(e, BudgetCharged)}
        assert charged == self.started
        released = {(e.job, e.attempt) for e in events if isinstance(e, BudgetReleased)}
        reserved = {(e.job, e.attempt) for e in events if isinstance(e, BudgetReserved)}
        granted = {(e.job, e.grant.attempt) for e in events if isinstance(e, RunJob) and e.grant is not None}
        assert reserved == released | charged.keys()
        assert charged.keys() <= granted <= reserved
        assert not released & charged.keys()
        totals = self._keeper.totals(self._account)
        assert totals.spent == sum(charged.values(), NOTHING)
        assert totals.reserved == NOTHING


def seeds(share: int) -> Iterator[int]:
    return iter(range(FIRST + share, FIRST + RUNS, SHARES))


@pytest.mark.parametrize("share", range(SHARES))
def test_no_crash_and_no_repetition_moves_a_unit(share: int) -> None:
    """At the end of each run every grant was either charged, because its mechanism started, or given back, because it never did."""
    keeper, done, refused = Keeper(), 0, 0
    for seed in seeds(share):
        run = Run(keeper, seed)
        run.play()
        try:
            run.check()
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
        done += 1
        if done % PER_DATABASE == 0:
            refused += sum(message.refusal is not None for message in keeper.passed_on())
            keeper.close()
            keeper = Keeper()
    refused += sum(message.refusal is not None for message in keeper.passed_on())
    keeper.close()
    assert done == len(range(share, RUNS, SHARES))
    assert refused or done < 10, "no run came to the end of its budget: nothing was tested"
