"""The notions in which a cost can be known, and the way from one to another, each with its source.

| from | to | by | source |
|---|---|---|---|
| epsilon-DP | rho-zCDP | epsilon²/2 | Bun and Steinke 2016, proposition 1.4 |
| epsilon-DP of a selection (exponential, noisy max) | rho-zCDP | epsilon²/8 | Durfee and Rogers 2019; Cesar and Rogers 2021 |
| epsilon-DP | (epsilon', delta)-DP | (e^epsilon - e^epsilon')/(1 + e^epsilon) | Kairouz, Oh and Viswanath 2015 |
| (epsilon, delta)-DP | delta-approximate rho-zCDP | epsilon²/2, delta | Bun and Steinke 2016, section 8 |
| delta'-approximate rho-zCDP | (epsilon, delta + delta')-DP | see ``conversion`` | Canonne, Kamath and Steinke 2020, corollary 13 |
| (epsilon, delta)-DP wanted | the largest rho | see ``conversion`` | the same, solved for rho |

There is no way from zCDP, or from an (epsilon, delta) with delta above 0, to a pure epsilon: Gaussian noise has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from contracts.cost import DELTA_SCALE, EPSILON_SCALE, RHO_SCALE, Cost
from halftone.privacy.conversion import MARGIN, Real, checked_delta, checked_epsilon, delta_of, epsilon_of


class NoConversion(ValueError):
    """There is no such way: what is wanted promises more than what is known."""


@dataclass(frozen=True, slots=True)
class Pure:
    """epsilon-DP, in 1e-9."""

    epsilon: int

    @classmethod
    def of(cls, epsilon: Real) -> Pure:
        """A mechanism's epsilon, rounded up. Raises ValueError."""
        return cls(math.ceil(checked_epsilon(epsilon) * EPSILON_SCALE))

    def zcdp(self) -> ZCDP:
        """epsilon²/2 (Bun and Steinke 2016, proposition 1.4)."""
        return ZCDP(math.ceil(self._exact() ** 2 / 2 * RHO_SCALE))

    def selected(self) -> ZCDP:
        """epsilon²/8: of the exponential mechanism and noisy max, whose range is bounded (Cesar and Rogers 2021)."""
        return ZCDP(math.ceil(self._exact() ** 2 / 8 * RHO_SCALE))

    def approximate(self, epsilon: int) -> Approximate:
        """The delta that goes with another epsilon, in 1e-9: randomised response is the worst case (Kairouz et al. 2015)."""
        apart = (self.epsilon - epsilon) / EPSILON_SCALE
        if apart <= 0:
            return Approximate(epsilon, 0)
        # (e^a - e^b)/(1 + e^a), with nothing that overflows or cancels.
        delta = -math.expm1(-apart) / (1 + math.exp(-self.epsilon / EPSILON_SCALE))
        return Approximate(epsilon, min(DELTA_SCALE, math.ceil(Fraction(delta * (1 + MARGIN)) * DELTA_SCALE)))

    def cost(self) -> Cost:
        """What it costs in a ledger, in every notion it is known in."""
        return Cost(rho=self.zcdp().rho, pure=self.epsilon)

    def _exact(self) -> Fraction:
        return Fraction(self.epsilon, EPSILON_SCALE)


@dataclass(frozen=True, slots=True)
class Approximate:
    """(epsilon, delta)-DP, in 1e-9 and 1e-18."""

    epsilon: int
    delta: int

    @classmethod
    def of(cls, epsilon: Real, delta: Real) -> Approximate:
        """A mechanism's epsilon and delta, rounded up. Raises ValueError."""
        return cls(math.ceil(checked_epsilon(epsilon) * EPSILON_SCALE), math.ceil(checked_delta(delta) * DELTA_SCALE))

    def zcdp(self) -> ZCDP:
        """delta-approximate epsilon²/2 (Bun and Steinke 2016, section 8)."""
        return ZCDP(Pure(self.epsilon).zcdp().rho, self.delta)

    def pure(self) -> Pure:
        """The pure epsilon, where delta is 0. Raises NoConversion."""
        if self.delta:
            raise NoConversion("An (epsilon, delta) with delta above 0 is no pure epsilon, however large.")
        return Pure(self.epsilon)

    def cost(self) -> Cost:
        """What it costs in a ledger."""
        return self.zcdp().cost() if self.delta else self.pure().cost()


@dataclass(frozen=True, slots=True)
class ZCDP:
    """delta-approximate rho-zCDP, in 1e-12 and 1e-18."""

    rho: int
    delta: int = 0

    def approximate(self, delta: int) -> Approximate:
        """The epsilon, rounded up, at a delta in 1e-18 all told: what mechanisms use, and the rest for the conversion.

        Raises NoConversion where mechanisms alone use as much.
        """
        rest = delta - self.delta
        if rest <= 0 and self.rho:
            raise NoConversion(f"Mechanisms use a delta of {self.delta} (in 1e-18): state one above it.")
        epsilon = 0.0 if not self.rho else epsilon_of(self.rho, Fraction(rest, DELTA_SCALE))
        return Approximate(math.ceil(Fraction(epsilon) * EPSILON_SCALE), delta)

    def at(self, epsilon: int) -> Approximate:
        """The delta, rounded up, at an epsilon in 1e-9."""
        return Approximate(epsilon, min(DELTA_SCALE, delta_of(self.rho, Fraction(epsilon, EPSILON_SCALE)) + self.delta))

    def pure(self) -> Pure:
        """Nothing but no cost at all is pure. Raises NoConversion."""
        if self.rho or self.delta:
            raise NoConversion("zCDP gives no pure epsilon: Gaussian noise has none.")
        return Pure(0)

    def cost(self) -> Cost:
        """What it costs in a ledger."""
        return Cost(rho=self.rho, delta=self.delta)
