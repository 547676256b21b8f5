"""Cost: integers that add up exactly, in any order, and never go below zero."""

from __future__ import annotations

import functools
import operator
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.cost import LARGEST, NOTHING, Cost

amounts = st.integers(0, LARGEST // 8)
costs = st.builds(Cost, rho=amounts, delta=amounts)


@given(st.lists(costs, max_size=8), st.randoms(use_true_random=False))
def test_a_sum_is_the_same_in_any_order(parts: list[Cost], order: random.Random) -> None:
    """Who folds the ledger's entries in another order arrives at the same total, to the last unit."""
    shuffled = order.sample(parts, len(parts))
    total = functools.reduce(operator.add, parts, NOTHING)
    assert functools.reduce(operator.add, shuffled, NOTHING) == total
    assert total == Cost(rho=sum(part.rho for part in parts), delta=sum(part.delta for part in parts))


@given(costs, costs, costs)
def test_addition_is_associative_and_nothing_adds_nothing(a: Cost, b: Cost, c: Cost) -> None:
    """(a + b) + c = a + (b + c), and a + 0 = a = 0 + a."""
    assert (a + b) + c == a + (b + c)
    assert a + NOTHING == a == NOTHING + a


@given(costs, costs)
def test_a_cost_is_within_a_limit_only_if_both_parts_are(cost: Cost, limit: Cost) -> None:
    """A filter needs rho and delta: one that fits does not excuse the other."""
    assert cost.within(limit) == (cost.rho <= limit.rho and cost.delta <= limit.delta)
    assert cost.within(cost)


@given(costs, costs, costs)
def test_spending_more_never_makes_room(spent: Cost, more: Cost, limit: Cost) -> None:
    """What does not fit now does not fit after another charge."""
    assert spent.within(limit) or not (spent + more).within(limit)


@given(costs, costs, costs)
def test_what_is_left_is_exactly_what_still_fits(spent: Cost, more: Cost, limit: Cost) -> None:
    """While the limit holds, a further cost fits if and only if it is within what is left."""
    if spent.within(limit):
        assert spent + spent.left(limit) == limit
        assert (spent + more).within(limit) == more.within(spent.left(limit))


@given(costs, costs)
def test_what_is_left_is_never_below_zero(spent: Cost, limit: Cost) -> None:
    """A limit that was lowered under what is spent leaves nothing, part by part."""
    left = spent.left(limit)
    assert left.rho >= 0
    assert left.delta >= 0
    assert (left.rho > 0) == (limit.rho > spent.rho)
    assert (left.delta > 0) == (limit.delta > spent.delta)


@pytest.mark.parametrize("amount", [-1, 0.5, float("nan"), float("inf"), None, "much", LARGEST + 1])
def test_an_amount_is_a_whole_number_that_a_database_can_hold(amount: object) -> None:
    """Negative amounts, fractions, NaN and what overflows 63 bits are refused for rho and for delta."""
    for name in ("rho", "delta"):
        with pytest.raises(ValidationError, match=name):
            Cost.model_validate({"rho": 0, name: amount})


def test_a_sum_that_overflows_is_an_error() -> None:
    """It never wraps around to a small cost."""
    with pytest.raises(ValidationError, match="rho"):
        _ = Cost(rho=LARGEST) + Cost(rho=1)
