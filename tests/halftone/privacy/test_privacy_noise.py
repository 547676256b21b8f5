"""The noise that engines really get: its distribution, its scale, and what the best attack on it achieves.

The sampler cannot be seeded, so each bound states how seldom it raises a false alarm; and each test is shown to fail for noise that is too
small.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from contracts.cost import RHO_SCALE
from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.privacy.conversion import job_cost
from halftone.privacy.measure import Counts, Noise, discrete_gaussian
from halftone.synthesis.encoding import open_handle
from halftone.synthesis.engine import engine, engines
from replay import Diverged, Recorded

PRIVATE = [name for name, info in engines().items() if info.private]
LOOKS = 6
"""Times that an engine measures: enough numbers for half the noise to be told from all of it."""
SELDOM = 25.0
"""Alarms that are false: e^-25, one in 7e10, by the bounds of Laurent and Massart (2000) on chi-square."""


def too_small(noise: Noise) -> Noise:
    """Half the noise that was asked for."""

    def half(exact: Counts, scale: float) -> Counts:
        return noise(exact, scale / 2)

    return half


def chi_square_bounds(freedom: int) -> tuple[float, float]:
    """Between which a chi-square of so many degrees lies, but for one time in e^25 on either side."""
    spread = 2 * math.sqrt(freedom * SELDOM)
    return freedom - spread, freedom + spread + 2 * SELDOM


def goodness(noise: Noise, scale: float, draws: int = 20_000) -> tuple[float, int]:
    """Pearson's statistic of draws against the discrete Gaussian's own probabilities, and its degrees of freedom."""
    drawn = noise(np.zeros(draws, np.int64), scale)
    reach = math.ceil(12 * scale)
    values = np.arange(-reach, reach + 1)
    weights = np.exp(-(values.astype(float) ** 2) / (2 * scale**2))
    expected = draws * weights / weights.sum()
    inner = expected >= 25
    seen = np.array([(drawn == value).sum() for value in values[inner]])
    rest, expected_rest = draws - seen.sum(), draws - expected[inner].sum()
    statistic = ((seen - expected[inner]) ** 2 / expected[inner]).sum() + (rest - expected_rest) ** 2 / max(expected_rest, 1.0)
    return float(statistic), int(inner.sum())


@pytest.mark.parametrize("scale", [0.7, 2.0, 9.0])
def test_the_noise_is_the_discrete_gaussian(scale: float) -> None:
    """Value by value; 25 times the freedom would be needed for noise of half the scale, and it is never missed."""
    statistic, freedom = goodness(discrete_gaussian, scale)
    low, high = chi_square_bounds(freedom)
    # Cells of 25 draws are nearly normal; twice the bound leaves room for what they are not.
    assert low / 2 < statistic < 2 * high
    assert goodness(too_small(discrete_gaussian), scale)[0] > 2 * high


SCHEMA = TableSchema(
    columns=(
        ColumnSchema(name="age", type=ColumnType.INTEGER, minimum=0, maximum=99),
        ColumnSchema(name="city", type=ColumnType.CATEGORICAL, categories=("Basel", "Bern", "Chur")),
        ColumnSchema(name="member", type=ColumnType.BOOLEAN),
    )
)


def people(rows: int = 300) -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.table(
        {"age": rng.integers(0, 100, rows), "city": rng.choice(["Basel", "Bern", "Chur"], rows), "member": rng.random(rows) < 0.4}
    )


def energy(name: str, noise: Noise, rho: int) -> tuple[float, int]:
    """Noise that an engine got, squared, in units of what it paid for; and how many numbers it was."""
    recorded = Recorded()

    def record(exact: Counts, scale: float) -> Counts:
        noisy = noise(exact, scale)
        recorded._note(exact, scale, noisy)
        return noisy

    declared = engine(name).measure(open_handle(people(), SCHEMA, rho, noise=record), SCHEMA, rho).mechanisms
    assert len(declared) == len(recorded.exact)
    total, numbers = 0.0, 0
    for mechanism, exact, noisy in zip(declared, recorded.exact, recorded.noisy, strict=True):
        # What was paid says how much noise there must be: rho = sensitivity²/(2 scale²), never less.
        paid = mechanism.sensitivity / math.sqrt(2 * mechanism.rho / RHO_SCALE)
        assert mechanism.scale >= paid * (1 - 1e-9)
        total += float((((noisy - exact) / mechanism.scale) ** 2).sum())
        numbers += exact.size
    return total, numbers


@pytest.mark.parametrize("name", PRIVATE)
def test_an_engine_gets_all_the_noise_that_it_declares(name: str) -> None:
    """Over all its measurements together; half of it would be a quarter of the energy."""
    rho = job_cost(1.0, 1e-9).rho
    looks = [energy(name, discrete_gaussian, rho) for _ in range(LOOKS)]
    low, high = chi_square_bounds(sum(numbers for _, numbers in looks))
    assert low < sum(total for total, _ in looks) < high
    assert sum(energy(name, too_small(discrete_gaussian), rho)[0] for _ in range(LOOKS)) < low


TRIALS = int(os.environ.get("HALFTONE_CANARIES", "80"))
"""More of them (2,000 in the long check) make the lower bound a sharper one."""


def lower_bound(name: str, rho: int, noise: Noise, delta: float) -> float:
    """An epsilon that the engine must cost, at least, with 95 % confidence: of the best guess whether a canary was in the table.

    The guess is the likelihood ratio of every noisy count that the engine saw. Half of the trials choose its threshold, half judge it;
    rates are bounded by Hoeffding's inequality.
    """
    without, canary = people(), pa.table({"age": [99], "city": ["Chur"], "member": [True]})
    scores = {
        present: [_score(name, rho, pa.concat_tables([without, canary]) if present else without, canary, noise) for _ in range(TRIALS)]
        for present in (True, False)
    }
    half = TRIALS // 2
    slack = math.sqrt(math.log(2 / 0.05) / (2 * half))

    def bound(threshold: float, part: Callable[[list[float]], list[float]]) -> float:
        right = np.mean([score >= threshold for score in part(scores[True])]) - slack
        false = np.mean([score >= threshold for score in part(scores[False])]) + slack
        return math.log((right - delta) / false) if right > delta else 0.0

    best = max(scores[True][:half], key=lambda threshold: bound(threshold, lambda each: each[:half]))
    return max(0.0, bound(best, lambda each: each[half:]))


def _score(name: str, rho: int, table: pa.Table, canary: pa.Table, noise: Noise) -> float:
    recorded = Recorded()

    def record(exact: Counts, scale: float) -> Counts:
        noisy = noise(exact, scale)
        recorded._note(exact, scale, noisy)
        return noisy

    engine(name).measure(open_handle(table, SCHEMA, rho, noise=record), SCHEMA, rho)
    alone = Recorded()
    try:
        # The canary's own cells, of each question that was asked.
        engine(name).measure(open_handle(canary, SCHEMA, rho, noise=alone.again(recorded)), SCHEMA, rho)
    except Diverged as error:
        raise AssertionError("an engine asks the same for the same answers") from error
    score, present = 0.0, int(table.num_rows > people().num_rows)
    for mine, exact, noisy, scale in zip(alone.exact, recorded.exact, recorded.noisy, recorded.scales, strict=True):
        # Less what everybody else brings, which the onlooker knows.
        score += float((mine * (noisy - (exact - present * mine))).sum()) / scale**2
    return score


@pytest.mark.parametrize("name", PRIVATE)
def test_no_canary_shows_more_than_was_claimed(name: str) -> None:
    """The onlooker knows every other row, and sees every noisy count: what they can tell bounds epsilon from below, under the claim."""
    assert lower_bound(name, job_cost(4.0, 1e-9).rho, discrete_gaussian, 1e-9) <= 4.0


def test_a_canary_shows_noise_that_is_too_small() -> None:
    """A fortieth of the noise that epsilon 0.5 takes gives itself away: the bound is no formality."""

    def little(exact: Counts, scale: float) -> Counts:
        return discrete_gaussian(exact, scale / 40)

    assert lower_bound("independent", job_cost(0.5, 1e-9).rho, little, 1e-9) > 0.5
