"""The budget keeper's laws, under any order, repetition and interleaving of what reaches it."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.budget_keeper import charge_id
from contracts.commands import ObserveBudget, ReserveBudget, RunJob, SetBudget
from contracts.cost import LARGEST, NOTHING, Cost, Room
from contracts.envelope import Context, Envelope
from contracts.events import (
    BudgetCharged,
    BudgetLimited,
    BudgetObserved,
    BudgetRefused,
    BudgetReleased,
    BudgetReserved,
    JobCancelled,
    JobCompleted,
    JobFailed,
    MechanismStarted,
)
from contracts.ids import new_id
from contracts.jobs import Grant, NoopSpec, Refusal, StepRun, Use
from halftone.privacy.conversion import budget_limit, job_cost
from ledger_bench import Keeper, reserve, wrap

EPSILON_3 = SetBudget(account="acc_" + "0" * 32, epsilon=3 * 10**9, delta=10**9)


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


def test_an_account_without_a_limit_grants_nothing(keeper: Keeper) -> None:
    """What nobody set cannot be spent; the refusal goes on to the executor, which ends the job."""
    keeper.take(reserve("a", "1", Cost(rho=1)))
    (refused,) = keeper.events(BudgetRefused)
    assert (refused.code, refused.left, refused.cost, refused.limit) == ("budget-not-set", NOTHING, Cost(rho=1), None)
    (passed,) = keeper.passed_on()
    assert (passed.grant, passed.refusal) == (
        None,
        Refusal(
            account=refused.account,
            code="budget-not-set",
            asked=Cost(rho=1),
            left=NOTHING,
            limits=(Room(scope="dataset", left=NOTHING),),
        ),
    )


def test_a_budget_of_epsilon_3_admits_8_jobs_of_epsilon_1(keeper: Keeper) -> None:
    """And refuses the ninth, whether the first eight have run or only reserved; what would still fit is said, and fits."""
    keeper.take(wrap(EPSILON_3))
    cost = job_cost(1.0, 1e-9)
    for n in range(8):
        keeper.take(reserve("0", str(n), cost))
        if n % 2:
            keeper.take(keeper.started("0", str(n)))
    assert [passed.grant is not None for passed in keeper.passed_on()] == [True] * 8
    keeper.take(reserve("0", "8", cost))
    (refused,) = keeper.events(BudgetRefused)
    limit = budget_limit(3, 1e-9)
    assert refused.code == "budget-exhausted"
    assert refused.left == Cost(rho=limit.rho - 8 * cost.rho, delta=limit.delta)
    keeper.take(reserve("0", "9", refused.left))
    assert keeper.passed_on()[-1].grant is not None
    keeper.take(reserve("0", "10", Cost(rho=1)))
    assert keeper.passed_on()[-1].refusal is not None


def test_either_part_of_a_cost_can_be_too_much(keeper: Keeper) -> None:
    """A filter needs both sums; the code says which did not fit, even for a cost that is as large as can be written."""
    keeper.take(wrap(EPSILON_3))
    limit = budget_limit(3, 1e-9)
    keeper.take(reserve("0", "1", Cost(rho=1, delta=1)))
    for n, cost in enumerate((Cost(rho=limit.rho), Cost(rho=1, delta=limit.delta), Cost(rho=LARGEST), Cost(rho=0, delta=LARGEST))):
        keeper.take(reserve("0", f"x{n}", cost))
    codes = ["budget-exhausted", "budget-delta-exhausted", "budget-exhausted", "budget-delta-exhausted"]
    assert [event.code for event in keeper.events(BudgetRefused)] == codes


def test_a_limit_under_what_is_spent_refuses_everything(keeper: Keeper) -> None:
    """Nothing spent comes back, nothing is left, and a higher limit admits again."""
    keeper.take(wrap(EPSILON_3), reserve("0", "1", job_cost(1.0, 1e-9)))
    keeper.take(keeper.started("0", "1"))
    keeper.take(wrap(EPSILON_3.model_copy(update={"epsilon": 10**8})))
    keeper.take(reserve("0", "2", Cost(rho=1)), reserve("0", "3", NOTHING))
    assert [(e.code, e.left.rho) for e in keeper.events(BudgetRefused)] == [("budget-exhausted", 0)] * 2
    assert keeper.account("0").spent == job_cost(1.0, 1e-9)
    keeper.take(wrap(EPSILON_3), reserve("0", "4", Cost(rho=1)))
    assert keeper.passed_on()[-1].grant is not None


def test_a_grant_names_its_reservation(keeper: Keeper) -> None:
    """Account, step, attempt, cost, and the entry in the ledger."""
    keeper.take(wrap(EPSILON_3), reserve("0", "1", Cost(rho=5, delta=7), attempt=2))
    (reserved,) = keeper.events(BudgetReserved)
    (passed,) = keeper.passed_on()
    account = EPSILON_3.account
    charge = charge_id(account, passed.job, StepRun(step="measure", attempt=2))
    assert passed.grant == Grant(
        account=account, step="measure", use=Use.CHARGE, cost=Cost(rho=5, delta=7), attempt=2, entry=2, charge=charge
    )
    keeper.take(keeper.started("0", "1", attempt=2))
    assert charge in {envelope.id for envelope in keeper.sent()}
    assert (reserved.entry, reserved.reserved, reserved.spent) == (2, Cost(rho=5, delta=7), NOTHING)


def test_what_is_observed_costs_nothing_and_needs_no_limit(keeper: Keeper) -> None:
    """Raw figures are entered by name; the total stays what it was."""
    keeper.take(reserve("a", "1", Cost(rho=9), use=Use.OBSERVE))
    (observed,) = keeper.events(BudgetObserved)
    assert (observed.cost, observed.spent, observed.reserved, observed.entry) == (NOTHING, NOTHING, NOTHING, 1)
    grant = keeper.passed_on()[0].grant
    assert grant is not None
    assert (grant.use, grant.cost) == (Use.OBSERVE, NOTHING)


def test_who_was_shown_raw_figures_is_entered_once(keeper: Keeper) -> None:
    """Each principal and kind of figures is an entry of its own, at no cost; seeing them again adds none."""
    ada, ben = new_id("prn"), new_id("prn")
    for principal, step in ((ada, "profile"), (ben, "profile"), (ada, "profile"), (ada, "sample")):
        keeper.take(shown(principal, step))
    entries = [(event.step, event.attempt, event.entry, event.cost, event.spent) for event in keeper.events(BudgetObserved)]
    assert entries == [("profile", 1, 1, NOTHING, NOTHING), ("profile", 2, 2, NOTHING, NOTHING), ("sample", 1, 3, NOTHING, NOTHING)]
    assert keeper.passed_on() == []


def shown(principal: str, step: str) -> Envelope:
    command = ObserveBudget(account=EPSILON_3.account, job="job_" + "0" * 32, step=step)
    return Envelope.wrap(command, Context.new(principal), source="/edge")


@pytest.mark.parametrize("kind", ["granted", "refused", "observed"])
def test_the_first_answer_to_a_run_stands(keeper: Keeper, kind: str) -> None:
    """Asked again under another id, the keeper says and enters nothing more."""
    if kind == "granted":
        keeper.take(wrap(EPSILON_3))
    use = Use.OBSERVE if kind == "observed" else Use.CHARGE
    keeper.take(reserve("0", "1", Cost(rho=5), use=use))
    before = list(keeper.sent())
    keeper.take(reserve("0", "1", Cost(rho=5), use=use))
    assert keeper.sent() == before


def test_a_job_that_ended_before_its_turn_reserves_nothing(keeper: Keeper) -> None:
    """Cancelled while it waited for the keeper: no entry, and no run is passed on."""
    asked = reserve("0", "1", Cost(rho=5))
    keeper.take(wrap(EPSILON_3), wrap(JobCancelled(job=job("1"), attempt=0, never_started=(StepRun(step="measure"),))), asked)
    assert keeper.events(BudgetReserved) == []
    assert keeper.passed_on() == []


def job(name: str) -> str:
    return RunJob.model_validate(reserve("0", name, NOTHING).data["then"]).job


def test_only_what_never_started_is_given_back(keeper: Keeper) -> None:
    """A failure that lists nothing keeps the reservation; one that lists a charged run, or an unknown one, changes nothing."""
    keeper.take(wrap(EPSILON_3), *(reserve("0", name, Cost(rho=10)) for name in "abc"))
    keeper.take(keeper.started("0", "a"))
    runs = (StepRun(step="measure"), StepRun(step="measure", attempt=2), StepRun(step="other"))
    keeper.take(wrap(JobFailed(job=job("a"), attempt=1, code="x", never_started=runs)))
    keeper.take(wrap(JobFailed(job=job("b"), attempt=1, code="x")))
    assert keeper.events(BudgetReleased) == []
    keeper.take(wrap(JobFailed(job=job("c"), attempt=1, code="x", never_started=runs)))
    (released,) = keeper.events(BudgetReleased)
    assert (released.job, released.cost) == (job("c"), Cost(rho=10))
    account = keeper.account("0")
    assert (account.spent, account.reserved) == (Cost(rho=10), Cost(rho=10))


def test_a_mechanism_that_is_told_of_twice_is_charged_once(keeper: Keeper) -> None:
    """Also under another message id: the run is what is paid for."""
    keeper.take(wrap(EPSILON_3), reserve("0", "a", Cost(rho=10)))
    keeper.take(keeper.started("0", "a"), keeper.started("0", "a"))
    assert [event.cost for event in keeper.events(BudgetCharged)] == [Cost(rho=10)]
    assert keeper.account("0").spent == Cost(rho=10)


def test_in_doubt_it_charges(keeper: Keeper) -> None:
    """Given back by mistake, and started all the same: what was read is paid for."""
    keeper.take(wrap(EPSILON_3), reserve("0", "a", Cost(rho=10)), reserve("0", "b", Cost(rho=3)))
    keeper.take(wrap(JobCancelled(job=job("a"), attempt=1, never_started=(StepRun(step="measure"),))), keeper.started("0", "a"))
    account = keeper.account("0")
    assert (account.spent, account.reserved) == (Cost(rho=10), Cost(rho=3))


def test_a_mechanism_without_a_reservation_is_an_error(keeper: Keeper) -> None:
    """It cannot happen; if it does, it is not passed over."""
    with pytest.raises(LookupError, match="without a reservation"):
        keeper.take(keeper.started("0", "a"))
    assert keeper.sent() == []


def test_the_job_of_a_request_that_is_given_up_is_passed_on_as_failed(keeper: Keeper) -> None:
    """Nobody waits for ever for an answer that cannot be given; one that was given stands."""
    keeper.take(wrap(EPSILON_3), reserve("0", "a", Cost(rho=10)))
    for asked in (reserve("0", "a", Cost(rho=10)), reserve("0", "b", Cost(rho=10))):
        keeper.give_up(asked)
    keeper.give_up(wrap(EPSILON_3))
    assert [(passed.job, passed.failed) for passed in keeper.passed_on()[1:]] == [(job(name), "handler-failed") for name in "ab"]
    keeper.check()


class LedgerLaws(RuleBasedStateMachine):
    """Jobs on two accounts, their messages repeated and out of order as far as cause and effect allow."""

    def __init__(self) -> None:
        super().__init__()
        self.keeper = Keeper()
        self.messages: list[Envelope] = []
        self.jobs = 0
        self.charged: dict[tuple[str, int], Cost] = {}
        self.ended: set[str] = set()
        self.lowered = False

    def teardown(self) -> None:
        self.keeper.close()

    @initialize(costs=st.lists(st.integers(0, 8 * 10**9), min_size=2, max_size=8))
    def begin(self, costs: list[int]) -> None:
        """An account with a limit that admits a few jobs, and some that ask."""
        self.deliver(wrap(EPSILON_3.model_copy(update={"epsilon": 10**9})))
        for rho in costs:
            self.ask("0", rho, 0, observe=False)
        for job_id, grant in self._granted()[::2]:
            self._start(job_id, grant)

    def deliver(self, envelope: Envelope) -> None:
        self.messages.append(envelope)
        self.keeper.take(envelope)

    @rule(account=st.sampled_from("01"), rho=st.integers(0, 8 * 10**9), delta=st.integers(0, 2 * 10**8), observe=st.booleans())
    def ask(self, account: str, rho: int, delta: int, observe: bool) -> None:
        """A job asks; perhaps it has been cancelled already."""
        self.jobs += 1
        self.deliver(reserve(account, str(self.jobs), Cost(rho=rho, delta=delta), use=Use.OBSERVE if observe else Use.CHARGE))

    @rule(epsilon=st.integers(10**7, 2 * 10**9), account=st.sampled_from("01"))
    def set_limit(self, epsilon: int, account: str) -> None:
        self.deliver(wrap(SetBudget(account=f"acc_{account * 32}", epsilon=epsilon, delta=10**9)))

    def _granted(self) -> list[tuple[str, Grant]]:
        """Each grant for a charge, and whose it is."""
        return [(run.job, run.grant) for run in self.keeper.passed_on() if run.grant is not None and run.grant.use is Use.CHARGE]

    @precondition(lambda self: self._granted())
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """An executor starts the mechanism of some grant; of another job, or the same again under another id."""
        job_id, grant = data.draw(st.sampled_from(self._granted()))
        if job_id in self.ended and (job_id, grant.attempt) not in self.charged:
            return
        self._start(job_id, grant)

    def _start(self, job_id: str, grant: Grant) -> None:
        self.charged[job_id, grant.attempt] = grant.cost
        self.deliver(wrap(MechanismStarted(job=job_id, step=grant.step, attempt=grant.attempt, account=grant.account)))

    @precondition(lambda self: self._granted())
    @rule(data=st.data())
    def run_again(self, data: st.DataObject) -> None:
        """A run that left nothing is followed by another, with a reservation of its own."""
        job_id, grant = data.draw(st.sampled_from(self._granted()))
        if (job_id, grant.attempt) in self.charged:
            asked = ReserveBudget(
                account=grant.account,
                job=job_id,
                step=grant.step,
                use=grant.use,
                cost=grant.cost,
                attempt=grant.attempt + 1,
                then=RunJob(job=job_id, spec=NoopSpec()),
            )
            self.deliver(wrap(asked))

    @precondition(lambda self: self._granted())
    @rule(data=st.data(), how=st.sampled_from(["failed", "cancelled", "completed"]))
    def end(self, data: st.DataObject, how: str) -> None:
        """Its executor says how a job ended, and what of it never started."""
        job_id, _ = data.draw(st.sampled_from(self._granted()))
        if job_id in self.ended:
            return
        self.ended.add(job_id)
        mine = [grant for owner, grant in self._granted() if owner == job_id]
        never = tuple(StepRun(step=g.step, attempt=g.attempt) for g in mine if (job_id, g.attempt) not in self.charged)
        ends = {
            "failed": JobFailed(job=job_id, attempt=1, code="x", never_started=never),
            "cancelled": JobCancelled(job=job_id, attempt=1, never_started=never),
            "completed": JobCompleted(job=job_id, attempt=1),
        }
        self.deliver(wrap(ends[how]))

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The broker delivers anything again, at any time: nothing changes."""
        before = list(self.keeper.sent())
        self.keeper.take(data.draw(st.sampled_from(self.messages)))
        assert self.keeper.sent() == before

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """A crash before the commit: as if the message had not been seen."""
        self.jobs += 1
        envelope = reserve(data.draw(st.sampled_from("01")), str(self.jobs), Cost(rho=1))
        before = list(self.keeper.sent())
        self.keeper.crash_on(envelope)
        assert self.keeper.sent() == before
        self.deliver(envelope)

    @invariant()
    def laws(self) -> None:
        self.keeper.check()
        charged = sum((cost.rho for cost in self.charged.values()), 0)
        assert sum(event.cost.rho for event in self.keeper.events(BudgetCharged)) == charged
        assert self.keeper.account("0").spent.rho + self.keeper.account("1").spent.rho == charged
        assert len(self.keeper.events(BudgetLimited)) == sum(m.type == SetBudget.TYPE for m in self.messages)
        for run in self.keeper.events(BudgetReleased):
            assert (run.job, run.attempt) not in self.charged


TestLedgerLaws = LedgerLaws.TestCase
TestLedgerLaws.settings = settings(
    max_examples=int(os.environ.get("HALFTONE_LEDGER_EXAMPLES", "20")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_an_id_of_a_message_is_of_its_cause(keeper: Keeper) -> None:
    """A crash and a retry make the same events: the log knows them again."""
    asked = reserve("0", "1", Cost(rho=1))
    keeper.take(wrap(EPSILON_3))
    keeper.crash_on(asked)
    keeper.take(asked)
    other = Keeper()
    other.take(wrap(EPSILON_3), asked)
    assert [e.id for e in other.sent()[1:]] == [e.id for e in keeper.sent()[1:]]
    assert {e.causationid for e in keeper.sent()[1:]} == {asked.id}
    other.close()
