"""A mixture of products fitted to noisy pairs.

The model's two-way marginals are one matrix product, P diag(w) P^T, so a gradient over all pairs costs two of them. The fit minimises the
squared distance to the noisy marginals plus a pull of every component towards the columns' own distributions, by Adam (Kingma and Ba 2015)
on logits. The idea of fitting a mixture of products to noisy marginals is in Liu et al. 2021 (arXiv 2106.07153) and McKenna's ``mbi``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Single = NDArray[np.float32]

COMPONENTS = 300
STEPS = 1000
"""Steps of descent; fewer where there are so many bins that they would take minutes."""
_FEWEST_STEPS = 150
_STEPS_TIMES_CELLS = STEPS * 600**2

PULL = 29.0
"""Strength of the pull to independence, times noise^1.5 (noise: as a share of the rows); measured on Adult from epsilon 0.1 to 2.39."""
_RATE, _MOMENTUM, _MEMORY = 0.1, 0.9, 0.99
_FARTHEST = 30.0  # of a logit: exp stays finite in single precision
_SPREAD = 1.0  # standard deviation of the first logits; components must differ before they can learn to


@dataclass(frozen=True, slots=True)
class Targets:
    """What a mixture is fitted to. All bins of all columns stand in one row: D of them."""

    sizes: tuple[int, ...]
    """Bins per column."""
    shares: Single
    """Share of the rows per bin, shape (D,); each column's sum to 1 and none is negative."""
    pairs: Single
    """Noisy share of the rows per pair of bins, symmetric, shape (D, D)."""
    measured: Single
    """1 where a pair of bins was measured, else 0, shape (D, D)."""
    noise: float
    """Standard deviation of ``pairs``."""


def fit_mixture(targets: Targets, report: Callable[[float], None]) -> tuple[Single, Single]:
    """Weights of the components, shape (K,), and bins' shares in each, shape (D, K). Deterministic."""
    if not targets.measured.any():
        return np.ones(1, np.float32), targets.shares[:, None].copy()
    bins = len(targets.shares)
    steps = int(np.clip(_STEPS_TIMES_CELLS // bins**2, _FEWEST_STEPS, STEPS))
    logits = np.log(targets.shares + 1e-4)[:, None] + _SPREAD * np.random.default_rng(0).standard_normal((bins, COMPONENTS))
    parameters = (logits.astype(np.float32), np.zeros(COMPONENTS, np.float32))
    descent = _Adam(parameters)
    slope = _Slope(targets)
    for step in range(steps):
        descent.step(slope(*parameters), _RATE * 0.5 * (1 + math.cos(math.pi * step / steps)))
        np.clip(parameters[0], -_FARTHEST, _FARTHEST, out=parameters[0])
        if step % 50 == 0:
            report(step / steps)
    return _softmax(parameters[1]), slope.shares(parameters[0])


class _Slope:
    """Gradient of the objective with respect to the logits of bins, shape (D, K), and of weights, shape (K,)."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._starts = np.concatenate([[0], np.cumsum(targets.sizes)[:-1]])
        self._sizes = np.array(targets.sizes)
        self._log_shares = np.log(targets.shares + 1e-4)[:, None]
        self._pull = np.float32(PULL * targets.noise**1.5)

    def shares(self, logits: Single) -> Single:
        """Each column's bins sum to 1 in each component."""
        raised: Single = np.exp(logits)
        raised /= self._spread(np.add.reduceat(raised, self._starts, axis=0))
        return raised

    def __call__(self, logits: Single, weight_logits: Single) -> tuple[Single, Single]:
        shares, weights = self.shares(logits), _softmax(weight_logits)
        residual: Single = np.matmul(shares * weights, shares.T)
        residual -= self._targets.pairs
        residual *= self._targets.measured
        toward: Single = np.matmul(residual, shares)
        off = np.float32(len(self._sizes)) * (shares @ weights - self._targets.shares)
        apart = np.log(shares + np.float32(1e-9)) - self._log_shares
        by_weight: Single = np.einsum("dk,dk->k", shares, toward) + off @ shares + self._pull * np.einsum("dk,dk->k", shares, apart)
        toward *= 2
        toward += off[:, None]
        toward += self._pull * apart
        toward *= shares * weights
        toward -= shares * self._spread(np.add.reduceat(toward, self._starts, axis=0))
        by_weight -= weights @ by_weight
        by_weight *= weights
        return toward, by_weight

    def _spread(self, per_column: Single) -> Single:
        return np.repeat(per_column, self._sizes, axis=0)


class _Adam:
    """Adam's two moments of each parameter, which it changes in place."""

    def __init__(self, parameters: tuple[Single, ...]) -> None:
        self._parameters = parameters
        self._first = [np.zeros_like(value) for value in parameters]
        self._second = [np.zeros_like(value) for value in parameters]
        self._steps = 0

    def step(self, gradients: tuple[Single, ...], rate: float) -> None:
        self._steps += 1
        rate /= 1 - _MOMENTUM**self._steps
        unbias = math.sqrt(1 - _MEMORY**self._steps)
        for value, gradient, first, second in zip(self._parameters, gradients, self._first, self._second, strict=True):
            np.add(np.float32(_MOMENTUM) * first, np.float32(1 - _MOMENTUM) * gradient, out=first)
            np.add(np.float32(_MEMORY) * second, np.float32(1 - _MEMORY) * gradient * gradient, out=second)
            np.subtract(value, np.float32(rate * unbias) * first / (np.sqrt(second) + np.float32(1e-9)), out=value)


def _softmax(logits: Single) -> Single:
    raised: NDArray[Any] = np.exp(logits - logits.max())
    shares: Single = raised / raised.sum()
    return shares
