"""What a job's row makes of one thing after another: leases, charges, cancellations, ends."""

from __future__ import annotations

import pytest

from contracts.commands import ReserveBudget
from contracts.cost import Cost
from contracts.events import JobCancelled, JobCompleted, JobFailed, JobRefused, JobStarted, MechanismStarted
from contracts.ids import new_id
from contracts.jobs import JobState, StepRun, Use
from infra.work.jobs import LOST_AT_MOST, Lease
from job_bench import ACCOUNT, COST, ENDS, JOB, Bench, command, lease


@pytest.fixture
def bench() -> object:
    bench = Bench()
    yield bench
    bench.close()


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
    assert bench.database.do(lambda tx: bench.jobs.complete(tx, taken, (), tuple)) is JobState.COMPLETED
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
    assert bench.database.do(lambda tx: bench.jobs.complete(tx, stale, (), tuple)) is None
    assert bench.database.do(lambda tx: bench.jobs.fail(tx, stale, "x", None, None)) is None
    assert bench.row() == before
    assert len(bench.database.sent()) == sent
    assert bench.database.do(lambda tx: bench.jobs.complete(tx, held, (), tuple)) is JobState.COMPLETED


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
    assert bench.database.do(lambda tx: bench.jobs.given_up(tx, JOB)) == (0, frozenset())
    bench.cancel()
    bench.database.do(lambda tx: bench.jobs.cancelled(tx, taken))
    assert bench.database.do(lambda tx: bench.jobs.given_up(tx, JOB)) == (1, frozenset())
    assert bench.database.do(lambda tx: bench.jobs.given_up(tx, new_id("job"))) == (0, frozenset())


def test_earlier_attempts_of_a_job_that_completed_left_nothing_but_their_measurements(bench: Bench) -> None:
    """What the last attempt built on stays; all else that they wrote can be removed."""
    first, measured = lease(bench, command(1)), new_id("obj")
    bench.database.do(lambda tx: bench.jobs.opening(tx, first))
    bench.database.do(lambda tx: bench.jobs.measured(tx, first, measured))
    bench.database.do(lambda tx: bench.jobs.expire(tx, first))
    second = lease(bench, command(1))
    bench.database.do(lambda tx: bench.jobs.complete(tx, second, (), lambda: ()))
    assert bench.database.do(lambda tx: bench.jobs.given_up(tx, JOB)) == (1, frozenset({measured}))
