"""Costs in every notion, against an oracle of 60 decimal digits: nothing is ever understated."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.cost import DELTA_SCALE, EPSILON_SCALE, NOTHING, RHO_SCALE, Cost
from halftone.privacy.conversion import delta_of, pure_limit
from halftone.privacy.notions import ZCDP, Approximate, NoConversion, Pure

epsilons = st.integers(1, 50 * EPSILON_SCALE)


def decimal(units: int, scale: int) -> Decimal:
    return Decimal(units) / Decimal(scale)


def least_delta(epsilon: Decimal, rho: Decimal) -> Decimal:
    """Of zCDP (Canonne, Kamath and Steinke 2020, corollary 13), by golden-section search over log(alpha - 1)."""

    def bound(exponent: Decimal) -> Decimal:
        alpha = 1 + exponent.exp()
        return (alpha - 1) * (alpha * rho - epsilon) - (alpha - 1).ln() + alpha * (1 - 1 / alpha).ln()

    low, high, ratio = Decimal(-16), Decimal(30), (Decimal(5).sqrt() - 1) / 2
    for _ in range(120):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if bound(left) < bound(right) else (left, high)
    return min(Decimal(1), bound((low + high) / 2).exp())


@settings(deadline=None)
@given(epsilons)
def test_a_pure_epsilon_is_rho_and_never_less_than_it_is(epsilon: int) -> None:
    """epsilon²/2, and epsilon²/8 of a selection, rounded up by less than one unit."""
    half = Fraction(epsilon, EPSILON_SCALE) ** 2 / 2 * RHO_SCALE
    assert half <= Pure(epsilon).zcdp().rho < half + 1
    assert half / 4 <= Pure(epsilon).selected().rho < half / 4 + 1
    assert Pure(epsilon).cost() == Cost(rho=Pure(epsilon).zcdp().rho, pure=epsilon)


@settings(max_examples=60, deadline=None)
@given(epsilons, epsilons)
def test_the_delta_of_a_pure_mechanism_at_another_epsilon(stated: int, wanted: int) -> None:
    """That of randomised response, the worst there is; at its own epsilon, or a larger one, none."""
    found = Pure(stated).approximate(wanted)
    with localcontext(prec=60):
        high, low = decimal(stated, EPSILON_SCALE).exp(), decimal(wanted, EPSILON_SCALE).exp()
        exact = max(Decimal(0), (high - low) / (1 + high)) * DELTA_SCALE
        assert exact <= found.delta <= exact * (1 + Decimal("1e-12")) + 1
    assert found.epsilon == wanted


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 20 * RHO_SCALE), st.integers(0, 20 * EPSILON_SCALE))
def test_the_delta_of_zcdp_is_never_understated_and_tight(rho: int, epsilon: int) -> None:
    """Within a billionth, or a unit, of the least that the theorem gives."""
    found = delta_of(rho, Fraction(epsilon, EPSILON_SCALE))
    with localcontext(prec=60):
        exact = least_delta(decimal(epsilon, EPSILON_SCALE), decimal(rho, RHO_SCALE)) * DELTA_SCALE
        assert exact * (1 - Decimal("1e-15")) <= found <= exact * (1 + Decimal("1e-9")) + 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5 * RHO_SCALE), st.integers(0, 10**9), st.integers(10**6, 10**15))
def test_zcdp_there_and_back(rho: int, own: int, rest: int) -> None:
    """The delta at the epsilon of a delta is that delta again, what mechanisms use counted in."""
    there = ZCDP(rho, own).approximate(own + rest)
    assert there.delta == own + rest
    assert ZCDP(rho, own).at(there.epsilon).delta <= (own + rest) * (1 + 1e-6) + 1


def test_an_approximate_mechanism_keeps_its_delta() -> None:
    """(epsilon, delta) is delta-approximate epsilon²/2; without a delta it is pure."""
    assert Approximate.of(1.0, 1e-9).zcdp() == ZCDP(RHO_SCALE // 2, 10**9)
    assert Approximate(EPSILON_SCALE, 0).cost() == Pure(EPSILON_SCALE).cost()
    assert Approximate(EPSILON_SCALE, 5).cost() == Cost(rho=RHO_SCALE // 2, delta=5)


def test_no_cost_costs_nothing_in_any_notion() -> None:
    """And is the only zCDP that is pure."""
    assert ZCDP(0).pure() == Pure(0)
    assert ZCDP(0).approximate(5) == Approximate(0, 5)
    assert ZCDP(0).cost() == NOTHING


def test_what_promises_more_than_is_known_is_refused() -> None:
    """Gaussian noise has no pure epsilon; a delta that mechanisms use up leaves none for the conversion."""
    with pytest.raises(NoConversion, match="Gaussian"):
        ZCDP(1).pure()
    with pytest.raises(NoConversion, match="no pure epsilon"):
        Approximate(1, 1).pure()
    with pytest.raises(NoConversion, match="one above it"):
        ZCDP(1, 10).approximate(10)


def test_limits_are_rounded_down_and_costs_up() -> None:
    """A third of an epsilon: the limit has less, the cost more."""
    third = Fraction(1, 3)
    assert pure_limit(third).pure == EPSILON_SCALE // 3
    assert Pure.of(third).epsilon == EPSILON_SCALE // 3 + 1
    assert Approximate.of(third, Fraction(1, 3)).delta == DELTA_SCALE // 3 + 1


@pytest.mark.parametrize("epsilon", [float("nan"), float("inf"), -1.0])
def test_an_epsilon_that_is_no_number_of_0_or_more_is_named(epsilon: float) -> None:
    """Also where 0 is a good one."""
    with pytest.raises(ValueError, match="epsilon must be a finite number of 0 or more"):
        delta_of(1, epsilon)
    with pytest.raises(ValueError, match="rho must be 0 or more"):
        delta_of(-1, 1.0)
