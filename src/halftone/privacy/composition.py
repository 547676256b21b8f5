"""How costs go together: one after the other, side by side, for groups, for other neighbours, and through transformations.

Everything is exact on the ledger's integers. Where nothing is known that would hold, it is refused rather than guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import reduce

from contracts.cost import NOTHING, Cost, Neighbours


class CannotCompose(ValueError):
    """No theorem covers it."""


def sequential(costs: Iterable[Cost]) -> Cost:
    """One mechanism after the other on the same rows, also where each is chosen by what the last one gave out: the plain sum.

    For zCDP: Bun and Steinke 2016, lemma 1.7 and, adaptively with costs chosen on the way under a fixed limit, the filter of Whitehouse,
    Ramdas, Rogers and Wu 2023. For pure epsilon: Rogers, Roth, Ullman and Vadhan 2016.
    """
    return reduce(Cost.__add__, costs, NOTHING)


def parallel(costs: Iterable[Cost], relation: Neighbours, *, public: bool, one_partition_per_unit: bool) -> Cost:
    """Mechanisms on disjoint partitions: the largest part of each (McSherry 2009, theorem 4).

    It holds where a unit is in one partition, keys are public, and neighbours differ by a unit that is there or not: replaced, a unit
    may leave one partition and enter another. Raises CannotCompose.
    """
    if relation is not Neighbours.ADD_REMOVE:
        raise CannotCompose("Parallel composition is for neighbours by add or remove: a unit that is replaced may change its partition.")
    if not public:
        raise CannotCompose("Parallel composition needs public keys: partitions read off the data depend on who is in it.")
    if not one_partition_per_unit:
        raise CannotCompose("Parallel composition needs each unit in one partition: its rows may lie in several.")
    held = list(costs)
    parts = ("rho", "delta", "pure")
    return Cost(**{part: max((getattr(cost, part) for cost in held), default=0) for part in parts})


def group(cost: Cost, size: int) -> Cost:
    """What a mechanism costs a group of so many units: size² rho (Bun and Steinke 2016, proposition 1.9), size times pure epsilon.

    Raises CannotCompose for a mechanism that uses a delta, where size is above 1, and ValueError for a size below 1.
    """
    if size < 1:
        raise ValueError(f"a group has 1 unit or more, not {size}")
    if cost.delta and size > 1:
        raise CannotCompose("Groups are for mechanisms without a delta of their own.")
    return Cost(rho=cost.rho * size**2, delta=cost.delta, pure=cost.pure * size)


class Statistic(StrEnum):
    """What is known of a measured statistic when a unit is replaced."""

    ANY = "any"
    """Nothing: to replace is to remove and to add."""
    HISTOGRAM = "histogram"
    """One cell loses 1 and another gains 1: the L2 distance is sqrt(2), the L1 distance 2."""


def replacing(cost: Cost, statistic: Statistic = Statistic.ANY) -> Cost:
    """An add-or-remove cost as one of neighbours by replacement: 2 epsilon, and 4 rho or, of histograms, 2 rho. Raises CannotCompose."""
    generic = group(cost, 2)
    return generic if statistic is Statistic.ANY else Cost(rho=2 * cost.rho, delta=generic.delta, pure=generic.pure)


@dataclass(frozen=True, slots=True)
class Stability:
    """How many units of a derived table one unit of its parent can change, at most: it multiplies as transformations follow each other."""

    units: int = 1

    def __post_init__(self) -> None:
        if self.units < 1:
            raise ValueError(f"a transformation's stability is 1 or more, not {self.units}")

    def then(self, other: Stability) -> Stability:
        """First this one, then the other (McSherry 2009, section 3)."""
        return Stability(self.units * other.units)

    def charge(self, cost: Cost) -> Cost:
        """What a cost on the derived table is to the parent. Raises CannotCompose."""
        return group(cost, self.units)


ROWWISE = Stability()
"""Filter, copy, sort, a column more or less: a row makes one row, or none."""


def join_stability(most_matches: int) -> Stability:
    """Of an inner join on a key that is bounded to so many matches a row: a row makes that many rows. Raises ValueError."""
    return Stability(most_matches)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a budget's costs are about: the unit (rows it may have), and how neighbours differ."""

    contribution: int = 1
    """Rows that one unit brings at most; 1 where the unit is a row."""
    relation: Neighbours = Neighbours.ADD_REMOVE

    @property
    def rho_factor(self) -> int:
        """How much rho to the unit is one of a row, for noisy histograms: contribution² (a group), twice that where units are replaced."""
        return self.contribution**2 * (1 if self.relation is Neighbours.ADD_REMOVE else 2)

    @property
    def reach(self) -> float:
        """The L2 distance that a unit can make where a row makes 1, rounded up."""
        root = math.sqrt(self.rho_factor)
        return root if Fraction(root) ** 2 >= self.rho_factor else math.nextafter(root, math.inf)

    def to_unit(self, row: Cost) -> Cost:
        """What histograms that cost a row so much cost a unit. Raises CannotCompose."""
        cost = row if self.relation is Neighbours.ADD_REMOVE else replacing(row, Statistic.HISTOGRAM)
        return group(cost, self.contribution)

    def to_row(self, unit: Cost) -> Cost:
        """What may be spent a row, rounded down, so that a unit is charged no more."""
        pure = self.contribution * (1 if self.relation is Neighbours.ADD_REMOVE else 2)
        return Cost(rho=unit.rho // self.rho_factor, delta=unit.delta, pure=unit.pure // pure)
