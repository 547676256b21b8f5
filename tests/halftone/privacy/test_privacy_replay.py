"""Every private engine on neighbouring tables, with the same noise: sensitivity and control flow are what is claimed.

And engines that are broken on purpose are caught, each for what is wrong with it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.cost import Neighbours
from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.privacy.composition import Terms
from halftone.privacy.contribution import bounded
from halftone.privacy.conversion import job_cost
from halftone.privacy.measure import Counts, Mechanism, Noise
from halftone.synthesis.encoding import open_handle
from halftone.synthesis.engine import engine, engines
from replay import Private, replay

PRIVATE = [name for name, info in engines().items() if info.private]
RHO = job_cost(1.0, 1e-9).rho
ROWS = 400
SCHEMA = TableSchema(
    columns=(
        ColumnSchema(name="age", type=ColumnType.INTEGER, minimum=0, maximum=120, nullable=True),
        ColumnSchema(name="income", type=ColumnType.NUMBER, minimum=0.0, maximum=1e6),
        ColumnSchema(name="city", type=ColumnType.CATEGORICAL, categories=("Basel", "Bern", "Chur")),
        ColumnSchema(name="born", type=ColumnType.DATE, minimum="1900-01-01", maximum="2020-12-31"),
        ColumnSchema(name="member", type=ColumnType.BOOLEAN, nullable=True),
        ColumnSchema(name="person", type=ColumnType.TEXT, pii="name"),
    )
)


def people(rows: int = ROWS, seed: int = 3) -> pa.Table:
    rng = np.random.default_rng(seed)
    days = rng.integers(-25000, 18000, rows).astype("datetime64[D]")
    return pa.table(
        {
            "age": pa.array(rng.integers(0, 99, rows), mask=rng.random(rows) < 0.1),
            "income": rng.lognormal(10, 1, rows),
            "city": rng.choice(["Basel", "Bern"], rows),
            "born": pa.array(days),
            "member": pa.array(rng.random(rows) < 0.3, mask=rng.random(rows) < 0.2),
            "person": [f"p{n % 97}" for n in range(rows)],
        }
    )


def row(**values: Any) -> pa.Table:
    """One row, of anything."""
    usual: dict[str, Any] = {"age": 40, "income": 5e4, "city": "Bern", "born": dt.date(1980, 1, 1), "member": True, "person": "x"}
    return pa.Table.from_pylist([{**usual, **values}], schema=people(1).schema)


STRANGE = {
    "nan": row(income=math.nan),
    "infinity": row(income=math.inf),
    "minus infinity": row(income=-math.inf),
    "1e308": row(income=1e308),
    "-1e308": row(income=-1e308),
    "denormal": row(income=5e-324),
    "minus zero": row(income=-0.0),
    "out of the domain": row(age=2**62, city="Nowhere"),
    "below the domain": row(age=-(2**62), born=dt.date(1, 1, 1)),
    "missing where nothing may be": row(income=None, city=None, born=None),
    "only one of its kind": row(age=119, city="Chur", income=999_999.0),
}


def run(name: str, rho: int = RHO) -> Private:
    def private(table: pa.Table, noise: Noise) -> tuple[tuple[Mechanism, ...], bytes]:
        measured = engine(name).measure(open_handle(table, SCHEMA, rho, noise=noise), SCHEMA, rho)
        return measured.mechanisms, measured.to_bytes()

    return private


@pytest.mark.parametrize("name", PRIVATE)
@pytest.mark.parametrize("gone", [0, 17, ROWS - 1])
def test_a_row_less_changes_nothing_that_noise_does_not_hide(name: str, gone: int) -> None:
    """Same questions, same bytes for the same answers, and within the cost."""
    table = people()
    assert replay(run(name), table, pa.concat_tables([table.slice(0, gone), table.slice(gone + 1)]), RHO) == []


@pytest.mark.parametrize("name", PRIVATE)
@pytest.mark.parametrize("strange", STRANGE)
def test_no_value_breaks_the_promise(name: str, strange: str) -> None:
    """Not numbers, infinities, denormals, the largest there are, what no domain holds: one row more is one row more."""
    table = people()
    assert replay(run(name), table, pa.concat_tables([table, STRANGE[strange]]), RHO) == []


@pytest.mark.parametrize("name", PRIVATE)
def test_from_no_row_to_one(name: str) -> None:
    """The empty table is a neighbour too."""
    assert replay(run(name), people(0), row(), RHO) == []


@pytest.mark.parametrize("name", PRIVATE)
@pytest.mark.parametrize("epsilon", [1e-3, 0.05, 1000.0])
def test_extreme_epsilons_keep_the_promise(name: str, epsilon: float) -> None:
    """However small or large; where nothing can be measured, that is said of both tables alike."""
    rho, table = job_cost(epsilon, 1e-9).rho, people()
    if rho < engine(name).least(SCHEMA):
        with pytest.raises(ValueError, match="rho"):
            run(name, rho)(table, lambda exact, scale: exact)
        return
    assert replay(run(name, rho), table, table.slice(1), rho) == []


@pytest.mark.parametrize("name", PRIVATE)
@pytest.mark.parametrize("relation", list(Neighbours))
@pytest.mark.parametrize("contribution", [1, 3])
def test_a_user_less_or_another_one_costs_a_user_what_was_charged(name: str, relation: Neighbours, contribution: int) -> None:
    """However many rows the user brings: those over the bound do not count, and the rest are paid for."""
    terms = Terms(contribution, relation)
    charged = job_cost(1.0, 1e-9)
    rho = terms.to_row(charged).rho

    def private(table: pa.Table, noise: Noise) -> tuple[tuple[Mechanism, ...], bytes]:
        kept = bounded(table, "person", contribution)
        measured = engine(name).measure(open_handle(kept, SCHEMA, rho, noise=noise), SCHEMA, rho)
        user = [dataclasses.replace(m, sensitivity=m.sensitivity * terms.reach) for m in measured.mechanisms]
        return tuple(user), measured.to_bytes()

    table = pa.concat_tables([people(), pa.concat_tables([row(person="busy")] * 20)])
    without = table.filter(pa.array([name != "busy" for name in table["person"].to_pylist()]))
    other = pa.concat_tables([without, pa.concat_tables([row(person="busy", age=90, city="Basel", income=1.0)] * 7)])
    assert replay(private, table, without if relation is Neighbours.ADD_REMOVE else other, charged.rho) == []


def domain_from_the_data(table: pa.Table, noise: Noise) -> tuple[tuple[Mechanism, ...], bytes]:
    """Takes the categories that it finds."""
    found = tuple(sorted({value for value in table["city"].to_pylist() if value is not None}))
    schema = TableSchema(columns=(ColumnSchema(name="city", type=ColumnType.CATEGORICAL, categories=found),))
    measured = engine("independent").measure(open_handle(table, schema, RHO, noise=noise), schema, RHO)
    return measured.mechanisms, measured.to_bytes()


def count_leaked(table: pa.Table, noise: Noise) -> tuple[tuple[Mechanism, ...], bytes]:
    """Says how many rows there are."""
    mechanisms, given = run("independent")(table, noise)
    return mechanisms, given + str(table.num_rows).encode()


def sensitivity_understated(table: pa.Table, noise: Noise) -> tuple[tuple[Mechanism, ...], bytes]:
    """Counts every row twice, and pays for it once."""
    return run("independent")(pa.concat_tables([table, table]), noise)


def asks_what_the_data_suggest(table: pa.Table, noise: Noise) -> tuple[tuple[Mechanism, ...], bytes]:
    """Measures income only where somebody is rich."""
    handle = open_handle(table, SCHEMA, RHO, noise=noise)
    handle.measure(("income",) if np.nanmax(table["income"].to_numpy()) > 9e5 else ("age",), RHO)
    return handle.mechanisms, b""


def scale_overstated(table: pa.Table, noise: Noise) -> tuple[tuple[Mechanism, ...], bytes]:
    """Adds half the noise that it declares."""

    def half(exact: Counts, scale: float) -> Counts:
        return noise(exact, scale / 2)

    return run("independent")(table, half)


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (domain_from_the_data, "another one"),
        (count_leaked, "other bytes"),
        (sensitivity_understated, "moves by sqrt"),
        (sensitivity_understated, "was granted"),
        (asks_what_the_data_suggest, "another one"),
        (scale_overstated, "other scales"),
    ],
)
def test_an_engine_that_breaks_its_promise_is_caught(broken: Private, found: str) -> None:
    """For what is wrong with it."""
    table = people()
    wrong = replay(broken, table, pa.concat_tables([table, STRANGE["only one of its kind"]]), RHO)
    assert any(found in line for line in wrong), wrong


def test_users_whose_rows_are_not_bounded_are_caught() -> None:
    """Noise for three rows a user does not hide twenty."""
    terms = Terms(3)
    rho = terms.to_row(job_cost(1.0, 1e-9)).rho
    table = people()
    more = pa.concat_tables([table, pa.concat_tables([row(person="busy")] * 20)])
    assert replay(run("independent", rho), table, more, terms.rho_factor * rho) != []
