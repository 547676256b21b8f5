"""Conversion between zCDP and (epsilon, delta), against an oracle of 60 decimal digits."""

from __future__ import annotations

import math
import subprocess
import sys
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.cost import DELTA_SCALE, RHO_SCALE
from halftone.privacy.conversion import budget_limit, epsilon_of, job_cost, pure_cost, rho_limit

epsilons = st.floats(1e-3, 50)
deltas = st.floats(1e-15, 0.1)


def log_delta(epsilon: Decimal, rho: Decimal) -> Decimal:
    """The logarithm of the least delta: golden-section search over log(alpha - 1), as the formula is printed in the paper."""

    def bound(exponent: Decimal) -> Decimal:
        alpha = 1 + exponent.exp()
        return (alpha - 1) * (alpha * rho - epsilon) - (alpha - 1).ln() + alpha * (1 - 1 / alpha).ln()

    low, high, ratio = Decimal(-12), Decimal(25), (Decimal(5).sqrt() - 1) / 2
    for _ in range(110):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if bound(left) < bound(right) else (left, high)
    return bound((low + high) / 2)


def exact(number: Fraction | float) -> Decimal:
    fraction = Fraction(number)
    return Decimal(fraction.numerator) / Decimal(fraction.denominator)


@settings(max_examples=15, deadline=None)
@given(epsilons, deltas)
def test_the_rho_of_a_limit_keeps_it_and_hardly_less_would_do(epsilon: float, delta: float) -> None:
    """What is granted never means more than (epsilon, delta), and is within 1e-9 (or two units) of all that could be granted."""
    rho = rho_limit(epsilon, delta)
    with localcontext(prec=60):
        wanted = exact(delta).ln()
        assert rho == 0 or log_delta(exact(epsilon), Decimal(rho) / RHO_SCALE) <= wanted
        more = rho + 2 + rho // 10**9
        assert log_delta(exact(epsilon), Decimal(more) / RHO_SCALE) > wanted


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 20 * RHO_SCALE), deltas)
def test_the_epsilon_that_is_shown_covers_what_was_spent_and_is_tight(rho: int, delta: float) -> None:
    """A shown epsilon is an upper bound, and a millionth (or 1e-9) less would be none."""
    epsilon = epsilon_of(rho, delta)
    with localcontext(prec=60):
        wanted, spent = exact(delta).ln(), Decimal(rho) / RHO_SCALE
        if epsilon > 0:
            assert log_delta(exact(epsilon), spent) <= wanted
        less = exact(epsilon) * (1 - Decimal("1e-6")) - Decimal("1e-9")
        assert less <= 0 or log_delta(less, spent) > wanted


@given(epsilons, deltas)
def test_there_and_back_is_the_same_epsilon(epsilon: float, delta: float) -> None:
    """The epsilon of a limit's rho is the limit again, to the unit of rho."""
    assert epsilon_of(rho_limit(epsilon, delta), delta) <= epsilon * (1 + 1e-9)


@given(st.integers(1, 10**13), st.integers(1, 10**13), deltas)
def test_more_rho_is_more_epsilon(a: int, b: int, delta: float) -> None:
    """Conversion never turns an order round, except by the rounding in the last digits."""
    low, high = sorted((a, b))
    assert epsilon_of(low, delta) <= epsilon_of(high, delta) * (1 + 1e-9)


def test_a_budget_of_three_admits_about_eight_jobs_of_one() -> None:
    """Under zCDP epsilons do not add up: this is what a preview says."""
    limit, job = budget_limit(3.0, 1e-9), job_cost(1.0, 1e-9)
    admitted = limit.rho // job.rho
    print(f"a budget of epsilon 3 admits {admitted} jobs of epsilon 1 (rho {limit.rho} and {job.rho}, in 1e-12)")  # noqa: T201 -- shown with -s
    assert admitted == 8


def test_half_of_a_budgets_delta_is_for_mechanisms_to_the_unit() -> None:
    """1e-9 means one in a billion, not the binary number next to it; a job's own mechanisms use none."""
    assert budget_limit(1.0, 1e-9).delta == DELTA_SCALE // 2 // 10**9
    assert budget_limit(1.0, 1e-6).delta == 5 * 10**11
    assert budget_limit(1.0, Decimal("3e-18")).delta == 1
    assert job_cost(1.0, 1e-9).delta == 0


def test_a_pure_mechanism_costs_half_its_epsilon_squared_rounded_up() -> None:
    """Pure epsilon enters the ledger as epsilon²/2; a third of a unit is a unit."""
    assert pure_cost(1.0).rho == RHO_SCALE // 2
    assert pure_cost(Fraction(1, 10**6)).rho == 1
    assert pure_cost(0.1).rho == 5 * 10**9
    assert pure_cost(Fraction(1, 3)).rho == math.ceil(Fraction(RHO_SCALE, 18))


@pytest.mark.parametrize("epsilon", [0, -1.0, math.nan, math.inf, True])
def test_an_impossible_epsilon_is_named(epsilon: float) -> None:
    """The error says which parameter is wrong and what would be right."""
    for use in (rho_limit, job_cost, budget_limit):
        with pytest.raises(ValueError, match=r"epsilon must be a finite number above 0"):
            use(epsilon, 1e-9)
    with pytest.raises(ValueError, match="epsilon"):
        pure_cost(epsilon)


@pytest.mark.parametrize("delta", [0, 1, -1e-9, 1.5, math.nan, math.inf, False])
def test_an_impossible_delta_is_named(delta: float) -> None:
    """The error says which parameter is wrong and what would be right."""
    for use in (rho_limit, job_cost, budget_limit):
        with pytest.raises(ValueError, match=r"delta must be a number strictly between 0 and 1"):
            use(1.0, delta)


def test_a_job_too_small_to_measure_is_refused() -> None:
    """An epsilon whose rho is under one unit could only ever fail later."""
    with pytest.raises(ValueError, match="epsilon must be larger"):
        job_cost(1e-6, 1e-9)


def test_nothing_spent_is_no_epsilon_and_less_than_nothing_is_refused() -> None:
    """The empty ledger shows zero."""
    assert epsilon_of(0, 1e-9) == 0.0
    with pytest.raises(ValueError, match="rho"):
        epsilon_of(-1, 1e-9)


def test_conversion_and_the_list_of_engines_load_no_noise_library() -> None:
    """The edge imports both: opendp stays in workers."""
    code = (
        "import sys, halftone.privacy.conversion; from halftone.synthesis.engine import engines;"
        "assert {'independent', 'marginal'} <= set(engines()); assert not any(m.split('.')[0] == 'opendp' for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
