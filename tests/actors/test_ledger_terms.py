"""What a budget is about, and the limits besides: quotas, windows, a second person, pure epsilon, releases that nothing bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contracts.commands import DecideBudget, EnterRelease, ReserveBudget, RunJob, SetBudget, SetQuota
from contracts.cost import NOTHING, USUAL_TERMS, BudgetTerms, Composition, Cost, Neighbours
from contracts.envelope import Envelope
from contracts.events import (
    BudgetApproved,
    BudgetDeclined,
    BudgetHeld,
    BudgetLimited,
    BudgetRefreshed,
    BudgetRefused,
    BudgetReleased,
    BudgetReserved,
    BudgetThresholdReached,
    BudgetUnbounded,
    JobCancelled,
)
from contracts.ids import new_id
from contracts.jobs import NoopSpec, StepRun, SynthesizeSpec, TableRef, Use
from halftone.privacy.conversion import budget_limit, pure_cost
from infra.bus.retries import Hopeless
from ledger_bench import Keeper, account_id, job_id, reserve, wrap

ACCOUNT = account_id("0")
LIMIT = budget_limit(3, 1e-9)
DAY = 86_400_000
OBJECT = new_id("obj")


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    keeper = Keeper()
    yield keeper
    keeper.check()
    keeper.close()


def limit(**terms: Any) -> Envelope:
    return wrap(SetBudget(account=ACCOUNT, epsilon=3 * 10**9, delta=10**9, **terms))


def by(envelope: Envelope, person: str, project: str | None = None) -> Envelope:
    """The same message in somebody's name."""
    return envelope.model_copy(update={"principal": person, "project": project or envelope.project})


def decided(job: str, person: str, *, approve: bool) -> Envelope:
    return by(wrap(DecideBudget(account=ACCOUNT, job=job_id(job), approve=approve, reason=OBJECT)), person)


def test_a_quota_binds_its_holder_besides_the_limit(keeper: Keeper) -> None:
    """What was spent before it was set counts; the refusal names both limits, and what would fit; others are not bound."""
    ada, bob = new_id("prn"), new_id("prn")
    keeper.take(limit(), by(reserve("0", "1", Cost(rho=5 * 10**9)), ada), keeper.started("0", "1"))
    keeper.take(by(reserve("0", "2", Cost(rho=10**9)), ada))
    quota = budget_limit(1, 1e-9)
    keeper.take(wrap(SetQuota(account=ACCOUNT, holder=ada, epsilon=10**9, delta=10**9, reason=OBJECT)))
    asked = Cost(rho=quota.rho - 6 * 10**9 + 1)
    keeper.take(by(reserve("0", "3", asked), ada), by(reserve("0", "4", asked), bob))
    (refused,) = keeper.events(BudgetRefused)
    assert (refused.code, refused.left.rho) == ("quota-exhausted", quota.rho - 6 * 10**9)
    assert {room.scope: room.left.rho for room in refused.limits} == {
        "dataset": LIMIT.rho - 6 * 10**9,
        "person": quota.rho - 6 * 10**9,
    }
    assert [run.grant is not None for run in keeper.passed_on()] == [True, True, False, True]
    keeper.take(by(reserve("0", "5", refused.left), ada))
    assert keeper.passed_on()[-1].grant is not None


def test_what_a_project_may_spend_is_given_back_to_it_whoever_cancels(keeper: Keeper) -> None:
    """The quota is that of who asked, not of who ended the job."""
    project = new_id("prj")
    keeper.take(limit(), wrap(SetQuota(account=ACCOUNT, holder=project, epsilon=10**9, delta=10**9, reason=OBJECT)))
    quota = budget_limit(1, 1e-9)
    keeper.take(by(reserve("0", "1", Cost(rho=quota.rho)), new_id("prn"), project))
    keeper.take(by(reserve("0", "2", Cost(rho=1)), new_id("prn"), project))
    assert [e.code for e in keeper.events(BudgetRefused)] == ["quota-exhausted"]
    keeper.take(by(wrap(JobCancelled(job=job_id("1"), attempt=0, never_started=(StepRun(step="measure"),))), new_id("prn"), new_id("prj")))
    keeper.take(by(reserve("0", "3", Cost(rho=quota.rho)), new_id("prn"), project))
    assert keeper.passed_on()[-1].grant is not None


def test_a_window_that_is_over_gives_way_to_the_next(keeper: Keeper) -> None:
    """The limit counts anew, in an entry that says so; what was spent stays spent; windows off, all of it counts again."""
    keeper.take(limit(window_days=30), reserve("0", "1", Cost(rho=LIMIT.rho)), keeper.started("0", "1"))
    keeper.clock += 30 * DAY - 1
    keeper.take(reserve("0", "2", Cost(rho=1)))
    assert keeper.events(BudgetRefreshed) == []
    keeper.clock += 1 + 30 * DAY
    keeper.take(reserve("0", "3", Cost(rho=LIMIT.rho)), keeper.started("0", "3"))
    (refreshed,) = keeper.events(BudgetRefreshed)
    assert (refreshed.before, refreshed.spent) == (Cost(rho=LIMIT.rho), Cost(rho=LIMIT.rho))
    assert [run.grant is not None for run in keeper.passed_on()] == [True, False, True]
    assert keeper.account("0").spent == Cost(rho=2 * LIMIT.rho)
    # The second window began when the first was over, however late somebody asked.
    assert keeper.account("0").window_end == 90 * DAY + Keeper.BEGIN
    keeper.take(limit(), reserve("0", "4", Cost(rho=1)))
    assert keeper.passed_on()[-1].refusal is not None


def test_a_charge_above_the_threshold_waits_for_a_second_person(keeper: Keeper) -> None:
    """It is set aside at once, so that nobody else spends it; whoever asked cannot let it pass, and anybody else can, once."""
    ada, bob = new_id("prn"), new_id("prn")
    keeper.take(limit(approval=Cost(rho=10**9)), by(reserve("0", "small", Cost(rho=10**9)), ada))
    keeper.take(by(reserve("0", "large", Cost(rho=10**9 + 1)), ada))
    assert [run.job for run in keeper.passed_on()] == [job_id("small")]
    assert keeper.account("0").reserved.rho == 2 * 10**9 + 1
    with pytest.raises(Hopeless, match="approval-own"):
        keeper.take(decided("large", ada, approve=True))
    assert keeper.events(BudgetApproved) == []
    keeper.take(decided("large", bob, approve=True), decided("large", bob, approve=False))
    (approved,) = keeper.events(BudgetApproved)
    passed = keeper.passed_on()[-1]
    assert (passed.job, passed.grant.cost if passed.grant else None) == (job_id("large"), Cost(rho=10**9 + 1))
    assert (approved.reason, len(keeper.events(BudgetHeld)), keeper.events(BudgetDeclined)) == (OBJECT, 1, [])
    # In the asker's name: the job stays theirs.
    assert next(e.principal for e in keeper.sent() if isinstance(e.message, RunJob) and e.message.job == job_id("large")) == ada


def test_what_is_declined_is_given_back_and_refused(keeper: Keeper) -> None:
    """The job ends as refused, and says why."""
    keeper.take(limit(approval=Cost(rho=1)), by(reserve("0", "1", Cost(rho=5)), new_id("prn")))
    keeper.take(decided("1", new_id("prn"), approve=False))
    refusal = keeper.passed_on()[-1].refusal
    assert refusal is not None
    assert (refusal.code, refusal.asked, refusal.left) == ("budget-declined", Cost(rho=5), LIMIT)
    assert keeper.account("0").reserved == NOTHING


def test_a_job_cancelled_while_it_waits_waits_no_more(keeper: Keeper) -> None:
    """What was set aside is given back, and a decision that comes too late changes nothing."""
    keeper.take(limit(approval=Cost(rho=1)), by(reserve("0", "1", Cost(rho=5)), new_id("prn")))
    keeper.take(wrap(JobCancelled(job=job_id("1"), attempt=0, never_started=(StepRun(step="measure"),))))
    assert len(keeper.events(BudgetReleased)) == 1
    before = keeper.sent()[:]
    keeper.take(decided("1", new_id("prn"), approve=True))
    assert keeper.sent() == before


def test_a_pure_budget_adds_epsilons_and_takes_no_gaussian_noise(keeper: Keeper) -> None:
    """Three jobs of epsilon 1 fit into 3, the fourth does not; a cost of rho alone is refused, and nothing is set aside."""
    keeper.take(limit(terms=BudgetTerms(composition=Composition.PURE)))
    for n in range(4):
        keeper.take(reserve("0", str(n), pure_cost(1.0)))
    keeper.take(reserve("0", "gaussian", Cost(rho=1)), reserve("0", "delta", Cost(rho=1, pure=1, delta=1)))
    assert [e.code for e in keeper.events(BudgetRefused)] == ["budget-exhausted", "mechanism-not-pure", "mechanism-not-pure"]
    assert keeper.account("0").reserved.pure == 3 * 10**9


def synthesis(terms: BudgetTerms) -> ReserveBudget:
    spec = SynthesizeSpec(
        source=TableRef(dataset=new_id("ds"), version=1, table=new_id("obj")),
        declared=new_id("obj"),
        engine="marginal",
        epsilon=10**9,
        delta=10**9,
        target=new_id("ds"),
        account=ACCOUNT,
        terms=terms,
    )
    run = RunJob(job=new_id("job"), spec=spec)
    return ReserveBudget(account=ACCOUNT, job=run.job, step="measure", use=Use.CHARGE, cost=Cost(rho=5), then=run)


def test_a_job_that_was_asked_for_under_other_terms_is_refused(keeper: Keeper) -> None:
    """Its noise would be made for a unit that the budget does not count."""
    users = BudgetTerms(composition=Composition.ZCDP, by_user=True, contribution=3)
    keeper.take(limit(terms=users), wrap(synthesis(USUAL_TERMS)), wrap(synthesis(users)))
    assert [e.code for e in keeper.events(BudgetRefused)] == ["budget-terms-changed"]
    assert len(keeper.events(BudgetReserved)) == 1


def test_terms_are_fixed_once_anything_is_set_aside(keeper: Keeper) -> None:
    """Before, they may be changed; a limit under the same terms always may."""
    other = BudgetTerms(composition=Composition.ZCDP, neighbours=Neighbours.REPLACE)
    keeper.take(limit(), limit(terms=other), reserve("0", "1", Cost(rho=5)))
    with pytest.raises(Hopeless, match="budget-terms-fixed"):
        keeper.take(limit())
    keeper.take(limit(terms=other))
    assert [e.terms for e in keeper.events(BudgetLimited)] == [USUAL_TERMS, other, other]


def test_thresholds_are_told_once_each(keeper: Keeper) -> None:
    """At 50, 80 and 100 %, also several at once; and again where a limit is lowered to them after it was raised."""
    keeper.take(limit())
    shares = [0.4, 0.15, 0.3, 0.15]
    for n, share in enumerate(shares):
        keeper.take(reserve("0", str(n), Cost(rho=int(LIMIT.rho * share))), keeper.started("0", str(n)))
    rest = LIMIT.rho - keeper.account("0").spent.rho
    keeper.take(reserve("0", "rest", Cost(rho=rest)), keeper.started("0", "rest"))
    assert [e.percent for e in keeper.events(BudgetThresholdReached)] == [50, 80, 100]
    keeper.take(wrap(SetBudget(account=ACCOUNT, epsilon=9 * 10**9, delta=10**9)), limit())
    assert [e.percent for e in keeper.events(BudgetThresholdReached)][3:] == [50, 80, 100]


def test_a_release_without_noise_is_entered_and_later_grants_tell_of_it(keeper: Keeper) -> None:
    """With its reason; it has no cost that could be refused, needs no limit, and cannot be taken back."""
    run = RunJob(job=job_id("1"), spec=NoopSpec())
    asked = ReserveBudget(account=ACCOUNT, job=run.job, step="release", use=Use.RELEASE, cost=NOTHING, then=run, reason=OBJECT)
    keeper.take(wrap(asked), limit(), wrap(EnterRelease(account=ACCOUNT, reason=OBJECT)), reserve("0", "2", Cost(rho=5)))
    (unbounded,) = keeper.events(BudgetUnbounded)
    grant = keeper.passed_on()[-1].grant
    assert (unbounded.reason, grant.unbounded if grant else None, grant.observed if grant else None) == (OBJECT, 2, 0)
