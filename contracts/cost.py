"""What privacy costs, in integers: no float ever enters a ledger."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field

from contracts.base import Contract

RHO_SCALE = 10**12
"""One unit of zCDP rho is 1e-12."""
DELTA_SCALE = 10**18
"""One unit of delta is 1e-18."""
EPSILON_SCALE = 10**9
"""One unit of epsilon, where a person states one, is 1e-9."""


LARGEST = 2**53 - 1
"""The largest integer that every reader of JSON keeps exactly (RFC 8785, I-JSON): rho of 9,007, delta of 0.009."""
LARGEST_EPSILON = 1000 * EPSILON_SCALE
"""The largest epsilon of a budget or a job, 1,000: nothing above it protects anyone."""
LARGEST_DELTA = DELTA_SCALE // 1000
"""The largest delta of a budget or a job, 0.001."""


class Composition(StrEnum):
    """How a budget's costs add up."""

    ZCDP = "zcdp"
    """By rho, and by the delta of mechanisms: the default."""
    PURE = "pure"
    """By epsilon, with no delta at all: Gaussian noise is refused."""


class Neighbours(StrEnum):
    """What differs between two tables that no output may tell apart."""

    ADD_REMOVE = "add-remove"
    """One has all that a unit brought, the other lacks it."""
    REPLACE = "replace"
    """A unit's data are other data; how many units there are is no secret."""


class Cost(Contract):
    """delta-approximate zCDP (Bun and Steinke 2016), and pure epsilon: every part adds up under composition, adaptive or not."""

    rho: int = Field(ge=0, le=LARGEST, description="zCDP rho in 1e-12; a cost is rounded up, a limit down")
    delta: int = Field(default=0, ge=0, le=LARGEST, description="delta in 1e-18 that mechanisms use, conversion not counted")
    pure: int = Field(
        default=0, ge=0, le=LARGEST, description="pure epsilon in 1e-9, where the mechanisms have one; 0 for Gaussian noise, which has none"
    )

    def __add__(self, other: Cost) -> Cost:
        return Cost(rho=self.rho + other.rho, delta=self.delta + other.delta, pure=self.pure + other.pure)

    def __sub__(self, other: Cost) -> Cost:
        """What is left of a total without a part of it. Raises ValueError where it is no part."""
        return Cost(rho=self.rho - other.rho, delta=self.delta - other.delta, pure=self.pure - other.pure)

    def within(self, limit: Cost) -> bool:
        """Whether both parts of zCDP are at most the limit's: a filter needs both."""
        return self.rho <= limit.rho and self.delta <= limit.delta

    def left(self, limit: Cost) -> Self:
        """What remains under a limit, never below zero (a limit may be lowered under what is spent)."""
        return type(self)(rho=max(0, limit.rho - self.rho), delta=max(0, limit.delta - self.delta), pure=max(0, limit.pure - self.pure))


class BudgetTerms(Contract):
    """What an account's costs are about. Fixed once anything is spent: sums of other things would mean nothing."""

    composition: Composition
    neighbours: Neighbours = Neighbours.ADD_REMOVE
    by_user: bool = Field(default=False, description="whether the privacy unit is all rows of a user, and not a row")
    contribution: int = Field(default=1, ge=1, le=100_000, description="rows of one unit that count, at most; others are left out")


USUAL_TERMS = BudgetTerms(composition=Composition.ZCDP)
"""Those of a budget for which nothing else was said: a row, there or not, under zCDP."""


class Room(Contract):
    """What one limit leaves."""

    scope: Literal["dataset", "person", "project"] = Field(description="whose limit: the lineage's own, or a quota besides it")
    left: Cost


NOTHING = Cost(rho=0, delta=0)
