"""Replay on neighbouring tables: a private engine runs on one table while its noise is recorded, then on another with the same noise.

Given the same noisy answers, an engine that keeps its promise asks the same questions and ends with the same bytes, whatever the table; and
exact answers differ by no more than the sensitivity that it pays for. What does not depend on the noise itself is so checked exactly, with
no statistics (Re:cord-play, as the auditing literature calls it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from contracts.cost import RHO_SCALE
from halftone.privacy.measure import Counts, Mechanism, Noise, discrete_gaussian

Private = Callable[[Any, Noise], tuple[tuple[Mechanism, ...], bytes]]
"""Runs something private on a table with a source of noise. Gives the mechanisms that it declares, and all that it gives out."""


@dataclass
class Recorded:
    """What went through the source of noise, in order."""

    exact: list[Counts] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    noisy: list[Counts] = field(default_factory=list)

    def record(self, exact: Counts, scale: float) -> Counts:
        """Real noise, noted."""
        noisy = discrete_gaussian(exact, scale)
        self._note(exact, scale, noisy)
        return noisy

    def again(self, before: Recorded) -> Noise:
        """The noisy answers of before, noted with the exact ones of now. Raises Diverged where there is none that fits."""

        def noise(exact: Counts, scale: float) -> Counts:
            at = len(self.exact)
            if at >= len(before.noisy) or before.noisy[at].shape != exact.shape or before.scales[at] != scale:
                raise Diverged(f"question {at} is another one on the neighbouring table")
            self._note(exact, scale, before.noisy[at])
            return before.noisy[at]

        return noise

    def _note(self, exact: Counts, scale: float, noisy: Counts) -> None:
        self.exact.append(exact.copy())
        self.scales.append(scale)
        self.noisy.append(noisy)


class Diverged(Exception):
    """What is asked depends on the table beyond what noisy answers told of it."""


def replay(private: Private, table: Any, neighbour: Any, rho: int) -> list[str]:
    """What is wrong with something that is said to cost a row at most rho (in 1e-12); nothing, if it keeps its promise on these tables."""
    first, second = Recorded(), Recorded()
    declared, given = private(table, first.record)
    try:
        again, given_again = private(neighbour, second.again(first))
    except Diverged as error:
        return [str(error)]
    except Exception as error:  # noqa: BLE001  # that it fails on one table alone is what tells
        return [f"fails on the neighbouring table alone: {type(error).__name__}"]
    wrong = []
    if len(second.exact) != len(first.exact):
        wrong.append(f"asks {len(first.exact)} questions on one table and {len(second.exact)} on the other")
    if declared != again:
        wrong.append("declares other mechanisms on the neighbouring table")
    if given != given_again:
        wrong.append("gives out other bytes for the same noisy answers")
    return wrong + _undersold(declared, first, second, rho)


def _undersold(declared: tuple[Mechanism, ...], first: Recorded, second: Recorded, rho: int) -> list[str]:
    wrong, spent = [], Fraction(0)
    if [mechanism.scale for mechanism in declared] != first.scales:
        wrong.append("declares other scales than it used")
    for at, (one, other, scale) in enumerate(zip(first.exact, second.exact, first.scales, strict=False)):
        apart = int(np.sum((one - other).astype(object) ** 2))
        if at < len(declared) and apart > Fraction(declared[at].sensitivity) ** 2:
            wrong.append(f"mechanism {at} moves by sqrt({apart}), and declares {declared[at].sensitivity}")
        spent += Fraction(apart) / (2 * Fraction(scale) ** 2)
    if spent * RHO_SCALE > rho:
        wrong.append(f"costs {float(spent * RHO_SCALE):.0f} on these tables, and {rho} was granted")
    return wrong
