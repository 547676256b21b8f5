"""What a cost means for a person: how far an onlooker can get who knows everything else, and has all the computers there are.

The onlooker guesses whether a person is in the table. Their *advantage* is the rate of right alarms less that of false ones: 0 is a guess,
1 is certainty. Under (epsilon, delta)-DP both rates are confined to a region (Kairouz, Oh and Viswanath 2015):

    right <= e^epsilon false + delta    and    right <= 1 - e^-epsilon (1 - delta - false)

zCDP is an (epsilon, delta) for every delta at once (Canonne, Kamath and Steinke 2020), so the least over many bounds it; its
Kullback-Leibler divergence of at most rho bounds the advantage too, by
sqrt(rho/2) (Pinsker) and sqrt(1 - e^-rho) (Bretagnolle and Huber 1979).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from contracts.cost import DELTA_SCALE, EPSILON_SCALE, RHO_SCALE, Cost
from halftone.privacy.conversion import MARGIN, delta_of

FALSE_ALARMS = Fraction(1, 100)
"""The rate of false alarms at which right ones are shown."""
SOURCE = (
    "Kairouz, Oh and Viswanath 2015 (trade-off of (epsilon, delta)); Canonne, Kamath and Steinke 2020 (zCDP to (epsilon, delta)); "
    "Pinsker; Bretagnolle and Huber 1979"
)
_GRID = tuple(2 ** (k / 4) * 1e-3 for k in range(64))
"""Epsilons from 0.001 to about 55, at which zCDP is looked at."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What all of a cost, given out at once, means for one person. Upper bounds: nobody gets further, most stay far behind."""

    advantage: float
    """The most that a guess of membership can gain over chance, in [0, 1]: right alarms less false ones."""
    true_positives: float
    """Right alarms, at most, where one in a hundred is false."""


@functools.lru_cache(maxsize=1024)
def meaning(cost: Cost) -> Meaning:
    """What a cost means, from whichever notion says more. Costs that nothing bounds mean certainty."""
    return Meaning(min(_advantages(cost)), min(_alarms(cost)))


def advantage(epsilon: float, delta: float) -> float:
    """The most that a guess can gain under (epsilon, delta)-DP: (e^epsilon - 1 + 2 delta)/(e^epsilon + 1)."""
    return _up(math.tanh(epsilon / 2) + 2 * delta / (math.exp(min(epsilon, 700.0)) + 1))


def true_positives(epsilon: float, delta: float, false_positives: float) -> float:
    """Right alarms, at most, at a rate of false ones, under (epsilon, delta)-DP."""
    steep = math.exp(min(epsilon, 700.0)) * false_positives + delta
    flat = 1 - math.exp(-epsilon) * max(0.0, 1 - delta - false_positives)
    return _up(min(steep, flat))


def _points(cost: Cost) -> Iterator[tuple[float, float]]:
    """Pairs (epsilon, delta) that hold."""
    if cost.pure:
        yield cost.pure / EPSILON_SCALE, cost.delta / DELTA_SCALE
    for epsilon in (0.0, *_GRID) if cost.rho else (0.0,):
        yield epsilon, (delta_of(cost.rho, epsilon) + cost.delta) / DELTA_SCALE


def _advantages(cost: Cost) -> Iterator[float]:
    rho, apart = cost.rho / RHO_SCALE, cost.delta / DELTA_SCALE
    yield 1.0
    # The part of the outputs that delta sets aside is lost altogether, the rest is bounded by its divergence.
    yield _up(math.sqrt(rho / 2) + apart)
    yield _up(math.sqrt(-math.expm1(-rho)) + apart)
    for epsilon, delta in _points(cost):
        yield advantage(epsilon, delta)


def _alarms(cost: Cost) -> Iterator[float]:
    false = float(FALSE_ALARMS)
    # Right alarms are false ones and the advantage, at most.
    yield min(1.0, min(_advantages(cost)) + false)
    for epsilon, delta in _points(cost):
        yield true_positives(epsilon, delta, false)


def _up(value: float) -> float:
    return min(1.0, value * (1 + 100 * MARGIN))
