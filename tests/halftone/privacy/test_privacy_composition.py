"""How costs go together, against sums, maxima and powers made in another way."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.cost import NOTHING, Cost, Neighbours
from halftone.privacy.composition import (
    ROWWISE,
    CannotCompose,
    Stability,
    Statistic,
    Terms,
    group,
    join_stability,
    parallel,
    replacing,
    sequential,
)

costs = st.builds(Cost, rho=st.integers(0, 10**10), delta=st.integers(0, 10**10), pure=st.integers(0, 10**9))
without_delta = st.builds(Cost, rho=st.integers(0, 10**10), pure=st.integers(0, 10**9))


@given(st.lists(costs, max_size=8), st.randoms())
def test_one_after_the_other_is_the_sum_in_any_order(each: list[Cost], order: object) -> None:
    """Part by part, to the unit."""
    total = sequential(each)
    assert (total.rho, total.delta, total.pure) == tuple(sum(getattr(c, part) for c in each) for part in ("rho", "delta", "pure"))
    order.shuffle(each)  # type: ignore[attr-defined]
    assert sequential(each) == total


@given(st.lists(costs, min_size=1, max_size=8))
def test_side_by_side_is_the_largest(each: list[Cost]) -> None:
    """Never less than any, never more than the sum."""
    side = parallel(each, Neighbours.ADD_REMOVE, public=True, one_partition_per_unit=True)
    assert all(cost.within(side) for cost in each)
    assert side.within(sequential(each))
    assert side.pure == max(cost.pure for cost in each)


@pytest.mark.parametrize(
    ("relation", "public", "one"),
    [(Neighbours.REPLACE, True, True), (Neighbours.ADD_REMOVE, False, True), (Neighbours.ADD_REMOVE, True, False)],
)
def test_side_by_side_needs_all_that_its_theorem_needs(relation: Neighbours, public: bool, one: bool) -> None:
    """Add or remove, public keys, one partition a unit."""
    with pytest.raises(CannotCompose, match="Parallel composition"):
        parallel([Cost(rho=1)], relation, public=public, one_partition_per_unit=one)


def test_no_partitions_cost_nothing() -> None:
    assert parallel([], Neighbours.ADD_REMOVE, public=True, one_partition_per_unit=True) == NOTHING


@given(without_delta, st.integers(1, 9), st.integers(1, 9))
def test_a_group_of_groups_is_a_group(cost: Cost, first: int, second: int) -> None:
    """k² rho and k epsilon, in whatever steps."""
    assert group(group(cost, first), second) == group(cost, first * second)
    assert group(cost, first).rho == cost.rho * first * first


def test_a_group_needs_a_size_and_a_mechanism_without_a_delta() -> None:
    """No theorem of ours covers a delta; one unit is no group."""
    assert group(Cost(rho=1, delta=1), 1) == Cost(rho=1, delta=1)
    with pytest.raises(CannotCompose):
        group(Cost(rho=1, delta=1), 2)
    with pytest.raises(ValueError, match="1 unit or more"):
        group(NOTHING, 0)


def test_to_replace_is_to_remove_and_to_add() -> None:
    """2 epsilon and 4 rho; a histogram moves by sqrt(2) only, and so costs 2 rho."""
    assert replacing(Cost(rho=10, pure=3)) == Cost(rho=40, pure=6)
    assert replacing(Cost(rho=10, pure=3), Statistic.HISTOGRAM) == Cost(rho=20, pure=6)


@given(st.lists(st.integers(1, 6), max_size=5), st.builds(Cost, rho=st.integers(0, 10**7), pure=st.integers(0, 10**9)))
def test_transformations_multiply(steps: list[int], cost: Cost) -> None:
    """A chain charges its parent what its steps charge one after the other."""
    chain, charged = ROWWISE, cost
    for step in steps:
        chain, charged = chain.then(join_stability(step)), Stability(step).charge(charged)
    assert chain.charge(cost) == charged


def test_a_transformation_that_loses_nothing_is_no_discount() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Stability(0)


@given(st.integers(0, 10**12), st.integers(1, 50), st.sampled_from(Neighbours))
def test_what_a_row_may_spend_never_costs_the_unit_more_than_it_was_given(rho: int, contribution: int, relation: Neighbours) -> None:
    """Rounded down on the way to rows, exact on the way back, and wasteful by less than one unit of rho a row."""
    terms, offered = Terms(contribution, relation), Cost(rho=rho, pure=rho // 1000)
    row = terms.to_row(offered)
    back = terms.to_unit(row)
    assert back.within(offered)
    assert back.pure <= offered.pure
    assert offered.rho - back.rho < terms.rho_factor
    # The L2 distance of a histogram, squared: all of a unit's rows in one cell, and into another where it is replaced.
    assert terms.rho_factor == Fraction(contribution) ** 2 * (2 if relation is Neighbours.REPLACE else 1)
