"""From (epsilon, delta) to zCDP and back, rounded against the spender.

rho-zCDP implies (epsilon, delta)-DP for every alpha > 1 with

    delta = exp((alpha - 1)(alpha rho - epsilon)) / (alpha - 1) * (1 - 1/alpha)^alpha

(Canonne, Kamath and Steinke 2020, "The discrete Gaussian for differential privacy", corollary 13). With t = alpha - 1 its logarithm is

    t ((1 + t) rho - epsilon) - t log(1 + 1/t) - log(1 + t)

in which nothing cancels. Every t gives a valid bound, so the search for the best t need not be exact to be safe; only rounding must be
watched, and a margin far above the error of a dozen operations is put on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from contracts.cost import DELTA_SCALE, EPSILON_SCALE, RHO_SCALE, Cost

Real = int | float | Fraction | Decimal
"""A number as a person or a ledger states it."""

MARGIN = 1e-14
"""Relative: what is put on the safe side of an operation whose terms are each good to a few 1e-16."""


def rho_limit(epsilon: Real, delta: Real) -> int:
    """The largest rho, in 1e-12 and rounded down, that guarantees (epsilon, delta)-DP. It is 0 where that is under one unit.

    Raises ValueError if epsilon is not a finite number above 0, or delta not strictly between 0 and 1.
    """
    eps, log_inverse = float(checked_epsilon(epsilon)), -math.log(float(checked_delta(delta)))

    def terms(t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        gain, loss = eps + np.log1p(1 / t), (log_inverse - np.log1p(t)) / t
        return (gain - loss) / (1 + t), (gain + np.abs(loss)) / (1 + t)

    value, size = _at_best(lambda t: -terms(t)[0], terms)
    return max(0, math.floor(Fraction(value - MARGIN * size) * RHO_SCALE))


def epsilon_of(rho: int, delta: Real) -> float:
    """The epsilon, rounded up, that rho (in 1e-12) means at this delta; at least 0.

    Raises ValueError if rho is negative, or delta not strictly between 0 and 1.
    """
    if rho < 0:
        raise ValueError(f"rho must be 0 or more, in units of 1e-12; it is {rho}")
    log_inverse, share = -math.log(float(checked_delta(delta))), rho / RHO_SCALE
    if rho == 0:
        return 0.0

    def terms(t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        loss, gain, tail = (1 + t) * share, np.log1p(1 / t), (log_inverse - np.log1p(t)) / t
        return loss - gain + tail, loss + gain + np.abs(tail)

    value, size = _at_best(lambda t: terms(t)[0], terms)
    return max(0.0, value + MARGIN * size)


def delta_of(rho: int, epsilon: Real) -> int:
    """The delta, in 1e-18 and rounded up, that rho (in 1e-12) means at this epsilon, which may be 0 here; at most 1.

    Raises ValueError if rho is negative, or epsilon no finite number of 0 or more.
    """
    if rho < 0:
        raise ValueError(f"rho must be 0 or more, in units of 1e-12; it is {rho}")
    eps = float(_exact("epsilon", epsilon, "a finite number of 0 or more"))
    if eps < 0:
        raise ValueError(f"epsilon must be a finite number of 0 or more; it is {epsilon}")
    if rho == 0:
        return 0
    share = rho / RHO_SCALE

    def terms(t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        up, down, tail, last = t * (1 + t) * share, t * eps, t * np.log1p(1 / t), np.log1p(t)
        return up - down - tail - last, up + down + tail + last

    value, size = _at_best(lambda t: terms(t)[0], terms)
    # Never 0, which the exponential of a float may be: a rho above 0 leaves some chance at every epsilon.
    return max(1, min(DELTA_SCALE, math.ceil(Fraction(math.exp(min(0.0, value + MARGIN * size)) * (1 + MARGIN)) * DELTA_SCALE)))


def pure_cost(epsilon: Real) -> Cost:
    """What an epsilon-DP mechanism costs: rho = epsilon²/2, rounded up (Bun and Steinke 2016, proposition 1.4). Raises ValueError."""
    exact = checked_epsilon(epsilon)
    return Cost(rho=math.ceil(exact**2 / 2 * RHO_SCALE), pure=math.ceil(exact * EPSILON_SCALE))


def job_cost(epsilon: Real, delta: Real) -> Cost:
    """What a job 'of (epsilon, delta)' may spend: half of delta is for the conversion, and its mechanisms are zCDP, of delta 0.

    Raises ValueError, also where epsilon is so small that rho is under one unit.
    """
    rho = rho_limit(epsilon, checked_delta(delta) / 2)
    if rho == 0:
        raise ValueError(f"epsilon must be larger: at {epsilon} with delta {delta} nothing can be measured (rho is under 1e-12)")
    return Cost(rho=rho)


def budget_limit(epsilon: Real, delta: Real) -> Cost:
    """The limits of an (epsilon, delta) budget: half of delta is for the conversion, half for mechanisms. Raises ValueError."""
    half = checked_delta(delta) / 2
    return Cost(rho=rho_limit(epsilon, half), delta=math.floor(half * DELTA_SCALE))


def pure_limit(epsilon: Real) -> Cost:
    """The limit of a budget of pure epsilon, rounded down: epsilon alone gates, so rho is what it implies. Raises ValueError."""
    exact = checked_epsilon(epsilon)
    return Cost(rho=math.ceil(exact**2 / 2 * RHO_SCALE), pure=math.floor(exact * EPSILON_SCALE))


def _at_best(
    objective: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    terms: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[float, float]:
    """The terms at the t that makes the objective least: a coarse grid, then finer ones around its best point."""
    low, high = -16.0, 30.0
    best = 0.0
    for _ in range(6):
        grid = np.linspace(low, high, 257)
        best = float(grid[np.argmin(objective(np.exp(grid)))])
        reach = 2 * (high - low) / 256
        low, high = best - reach, best + reach
    value, size = terms(np.exp(np.array([best])))
    return float(value[0]), float(size[0])


def checked_epsilon(epsilon: Real) -> Fraction:
    """The epsilon that was written. Raises ValueError unless it is finite and above 0."""
    exact = _exact("epsilon", epsilon, "a finite number above 0, such as 1.0")
    if exact <= 0:
        raise ValueError(f"epsilon must be a finite number above 0, such as 1.0; it is {epsilon}")
    return exact


def checked_delta(delta: Real) -> Fraction:
    """The delta that was written. Raises ValueError unless it is strictly between 0 and 1."""
    exact = _exact("delta", delta, "a number strictly between 0 and 1, such as 1e-9")
    if not 0 < exact < 1 or float(exact) == 0.0:
        raise ValueError(f"delta must be a number strictly between 0 and 1, such as 1e-9; it is {delta}")
    return exact


def _exact(name: str, value: Real, right: str) -> Fraction:
    """The number that was written: 1e-9 is one in a billion, not the binary fraction next to it."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name} must be {right}; it is {value!r}")
    return Fraction(repr(float(value))) if isinstance(value, float) else Fraction(value)
