"""What privacy costs, in integers: no float ever enters a ledger."""

from __future__ import annotations

from typing import Self

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


class Cost(Contract):
    """delta-approximate zCDP (Bun and Steinke 2016): both parts add up under composition, adaptive or not."""

    rho: int = Field(ge=0, le=LARGEST, description="zCDP rho in 1e-12; a cost is rounded up, a limit down")
    delta: int = Field(default=0, ge=0, le=LARGEST, description="delta in 1e-18 that mechanisms use, conversion not counted")

    def __add__(self, other: Cost) -> Cost:
        return Cost(rho=self.rho + other.rho, delta=self.delta + other.delta)

    def within(self, limit: Cost) -> bool:
        """Whether both parts are at most the limit's: a filter needs both."""
        return self.rho <= limit.rho and self.delta <= limit.delta

    def left(self, limit: Cost) -> Self:
        """What remains under a limit, never below zero (a limit may be lowered under what is spent)."""
        return type(self)(rho=max(0, limit.rho - self.rho), delta=max(0, limit.delta - self.delta))


NOTHING = Cost(rho=0, delta=0)
