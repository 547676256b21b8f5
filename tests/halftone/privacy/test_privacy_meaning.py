"""What a cost means for a person: upper bounds that no attack on a known mechanism beats, and that are not far off."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.cost import NOTHING, RHO_SCALE, Cost
from halftone.privacy.conversion import pure_cost
from halftone.privacy.meaning import advantage, meaning, true_positives

NORMAL = NormalDist()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5 * RHO_SCALE))
def test_the_best_attack_on_gaussian_noise_stays_below(rho: int) -> None:
    """The likelihood-ratio test of one Gaussian against another, sqrt(2 rho) apart, is the best there is (Neyman and Pearson)."""
    apart = math.sqrt(2 * rho / RHO_SCALE)
    bound = meaning(Cost(rho=rho))
    assert 2 * NORMAL.cdf(apart / 2) - 1 <= bound.advantage <= 1
    assert NORMAL.cdf(apart + NORMAL.inv_cdf(0.01)) <= bound.true_positives <= 1


def test_the_bound_is_not_far_from_that_attack() -> None:
    """For a job of epsilon 1 (rho 0.0144): within a third."""
    rho = 0.0144
    apart = math.sqrt(2 * rho)
    assert meaning(Cost(rho=round(rho * RHO_SCALE))).advantage < 1.34 * (2 * NORMAL.cdf(apart / 2) - 1)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 3.0])
def test_randomised_response_reaches_what_a_pure_epsilon_allows(epsilon: float) -> None:
    """The truth with probability e^epsilon/(1 + e^epsilon): its advantage is the bound, exactly."""
    reached = (math.exp(epsilon) - 1) / (math.exp(epsilon) + 1)
    assert meaning(pure_cost(epsilon)).advantage == pytest.approx(reached, rel=1e-9)
    assert meaning(pure_cost(epsilon)).advantage >= reached
    assert meaning(pure_cost(epsilon)).true_positives == pytest.approx(min(0.01 * math.exp(epsilon), 1 - math.exp(-epsilon) * 0.99))


@settings(deadline=None)
@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_more_cost_never_means_less(a: int, b: int) -> None:
    """Monotone, from a guess to certainty."""
    low, high = sorted((a, b))
    assert meaning(Cost(rho=low)).advantage <= meaning(Cost(rho=high)).advantage + 1e-9
    assert meaning(Cost(rho=low)).true_positives <= meaning(Cost(rho=high)).true_positives + 1e-9


def test_nothing_spent_is_a_guess_and_far_too_much_is_certainty() -> None:
    """Also for epsilons whose exponential no float holds."""
    assert (meaning(NOTHING).advantage, meaning(NOTHING).true_positives) == (0.0, pytest.approx(0.01))
    assert meaning(Cost(rho=9 * 10**15)).advantage == 1.0
    assert advantage(5000.0, 0.0) == true_positives(5000.0, 0.0, 0.01) == 1.0


def test_a_delta_is_lost_altogether() -> None:
    """What mechanisms put aside is a certainty of that size."""
    assert meaning(Cost(rho=0, delta=10**15)).advantage == pytest.approx(1e-3)
