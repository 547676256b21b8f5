"""Engines end to end: what they spend, what they see, what they give out."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.cost import RHO_SCALE
from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.privacy.measure import GrantExceeded, discrete_gaussian
from halftone.synthesis.encoding import DomainNotDeclared, open_handle
from halftone.synthesis.engine import Measurements, engine, engines
from halftone.synthesis.marginal import MarginalEngine
from halftone.synthesis.mixture import Targets, fit_mixture
from halftone.tables.writing import writing

T = ColumnType
SCHEMA = TableSchema(
    columns=(
        ColumnSchema(name="age", type=T.INTEGER, minimum=0, maximum=120),
        ColumnSchema(name="income", type=T.NUMBER, minimum=0, maximum=1e7, nullable=True),
        ColumnSchema(name="region", type=T.CATEGORICAL, categories=("north", "south", "west", "other")),
        ColumnSchema(name="member", type=T.BOOLEAN, nullable=True),
        ColumnSchema(name="since", type=T.DATE, minimum="2000-01-01", maximum="2025-12-31"),
        ColumnSchema(name="mail", type=T.TEXT, pii="email"),
    )
)
NAMES = ("independent", "marginal")
RHO = RHO_SCALE // 10


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small mixture and a few hundred steps show what these tests ask for."""
    monkeypatch.setattr("halftone.synthesis.mixture.COMPONENTS", 40)
    monkeypatch.setattr("halftone.synthesis.mixture.STEPS", 200)


def people(rows: int) -> pa.Table:
    rng = np.random.default_rng(5)
    age = np.clip(rng.normal(45, 18, rows), 0, 120).astype(np.int64)
    income = np.where(age < 20, 0.0, np.abs(rng.normal(30_000 + 500.0 * age, 9_000)))
    region = np.where(age > 50, "south", np.where(rng.random(rows) < 0.5, "north", "west"))
    return pa.table(
        {
            "age": age,
            "income": pa.array(income, mask=rng.random(rows) < 0.1),
            "region": region,
            "member": pa.array(age > 40, mask=rng.random(rows) < 0.05),
            "since": pa.array((11_000 + rng.integers(0, 9_000, rows)).astype(np.int32)).cast(pa.date32()),
            "mail": [f"person{i}@real.org" for i in range(rows)],
        }
    )


def dead_noise(exact: np.ndarray, scale: float) -> np.ndarray:
    """A test's seam: noise that is none."""
    return exact


def fitted(name: str, table: pa.Table, noise: Callable | None = None, rho: int = RHO):
    chosen = engine(name)
    return chosen.fit(chosen.measure(open_handle(table, SCHEMA, rho, noise=noise), SCHEMA, rho))


def ipc(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_engines_are_found_with_what_a_chooser_needs() -> None:
    """Name, licence, privacy and a sentence, from the entry points."""
    found = engines()
    assert set(NAMES) <= set(found)
    for name in NAMES:
        info = found[name]
        assert (info.name, info.licence, info.private) == (name, "Apache-2.0", True)
        assert info.description
    with pytest.raises(KeyError, match="independent"):
        engine("nobody")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [0, 1, 2000])
def test_a_table_of_any_length_gives_a_table_of_the_declared_types(name: str, rows: int) -> None:
    """Types, order and bounds of the schema hold, and no real address is given out."""
    model = fitted(name, people(rows))
    out = model.sample(300, seed=1)
    assert out.schema.names == [column.name for column in SCHEMA.columns]
    assert [str(kind) for kind in out.schema.types] == ["int64", "double", "string", "bool", "date32[day]", "string"]
    assert out.num_rows == 300
    assert 0 <= min(out["age"].to_pylist()) <= max(out["age"].to_pylist()) <= 120
    assert out["age"].null_count == out["region"].null_count == 0
    assert set(out["region"].to_pylist()) <= {"north", "south", "west", "other"}
    assert not any("real.org" in mail for mail in out["mail"].to_pylist())
    assert model.sample(0, seed=1).schema == out.schema
    assert model.sample(seed=1).num_rows >= 0
    with pytest.raises(ValueError, match="rows"):
        model.sample(-1, seed=1)


@pytest.mark.parametrize("name", NAMES)
def test_without_noise_every_column_comes_out_as_it_went_in(name: str) -> None:
    """The encoders and the fit alone: means within 2 % of the range in use, shares within 0.02, rows exact. No randomness but the seed."""
    real = people(4000)
    out = fitted(name, real, dead_noise).sample(seed=3)
    assert out.num_rows == 4000
    assert np.mean(out["age"].to_numpy()) == pytest.approx(np.mean(real["age"].to_numpy()), abs=1.5)
    assert np.nanmean(out["income"].to_numpy()) == pytest.approx(np.nanmean(real["income"].to_numpy()), rel=0.05)
    for column in ("income", "member"):
        assert out[column].null_count == pytest.approx(real[column].null_count, abs=80)
    south = [np.mean(np.array(table["region"].to_pylist()) == "south") for table in (out, real)]
    assert south[0] == pytest.approx(south[1], abs=0.02)


def test_the_marginal_engine_keeps_relations_and_the_independent_one_does_not() -> None:
    """The share of those over 50 who live in the south is 1 in the real table. Noise off, seed fixed: no false alarms."""
    real = people(4000)
    south = {}
    for name in NAMES:
        out = fitted(name, real, dead_noise).sample(seed=3)
        old = out["age"].to_numpy() > 52
        south[name] = np.mean(np.array(out["region"].to_pylist())[old] == "south")
    assert south["marginal"] > 0.9
    assert south["independent"] < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_what_is_spent_is_what_is_recorded_and_within_the_grant(name: str) -> None:
    """The certificate's mechanisms sum up to the handle's spending, nearly all of the grant and never more."""
    handle = open_handle(people(500), SCHEMA, RHO)
    measured = engine(name).measure(handle, SCHEMA, RHO)
    assert sum(used.rho for used in measured.mechanisms) == handle.spent <= RHO
    assert handle.spent > 0.7 * RHO
    assert all(used.kind == "discrete_gaussian" and used.sensitivity == 1.0 for used in measured.mechanisms)


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_cannot_go_beyond_the_grant(name: str) -> None:
    """An engine that is told it may spend more than was granted is stopped by the handle, before it has spent anything."""
    handle = open_handle(people(50), SCHEMA, RHO // 2)
    with pytest.raises(GrantExceeded):
        engine(name).measure(handle, SCHEMA, RHO)
    assert handle.spent == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gone", [0, 137, 1199])
def test_replayed_on_a_neighbouring_table_only_the_counts_change_and_by_one_row(name: str, gone: int) -> None:
    """The claimed sensitivity holds, and control flow follows noisy answers alone (after Re:cord-play, arXiv 2602.17454).

    The noisy answers of a run on one table are given again in a run on the table without one row: every measurement must be asked for in
    the same order, shape and scale, its exact counts differ by at most 1 in L2, and what is stored in the end is the same.
    """
    table = people(1200)
    neighbour = pa.concat_tables([table.slice(0, gone), table.slice(gone + 1)])
    first: list[tuple[np.ndarray, float, np.ndarray]] = []
    second: list[tuple[np.ndarray, float]] = []

    def record(exact: np.ndarray, scale: float) -> np.ndarray:
        first.append((exact, scale, discrete_gaussian(exact, scale)))
        return first[-1][2]

    def replay(exact: np.ndarray, scale: float) -> np.ndarray:
        second.append((exact, scale))
        return first[len(second) - 1][2]

    chosen = engine(name)
    stored = [
        chosen.measure(open_handle(t, SCHEMA, RHO, noise=n), SCHEMA, RHO).to_bytes() for t, n in ((table, record), (neighbour, replay))
    ]
    assert len(first) == len(second) >= 5
    for (exact, scale, _), (other, other_scale) in zip(first, second, strict=True):
        assert exact.shape == other.shape
        assert scale == other_scale
        assert np.linalg.norm(exact - other) == 1.0
    assert stored[0] == stored[1]


@pytest.mark.parametrize("name", NAMES)
def test_measurements_and_models_survive_storage_to_the_byte(name: str) -> None:
    """A retry goes on from stored measurements, and a stored model samples what the fitted one did; bytes of others are refused."""
    chosen, handle = engine(name), open_handle(people(800), SCHEMA, RHO)
    measured = chosen.measure(handle, SCHEMA, RHO)
    again = Measurements.from_bytes(measured.to_bytes())
    assert (again.schema, again.mechanisms, again.engine) == (SCHEMA, handle.mechanisms, name)
    model, other = chosen.fit(measured), chosen.fit(again)
    assert model.save() == other.save()
    loaded = chosen.load(model.save())
    assert loaded.save() == model.save()
    assert ipc(loaded.sample(seed=7)) == ipc(model.sample(seed=7))
    for wrong in (b"", b"PK\x03\x04", measured.to_bytes()):
        with pytest.raises(ValueError, match="no model"):
            chosen.load(wrong)
    stranger = engine(NAMES[1 - NAMES.index(name)])
    with pytest.raises(ValueError, match=name):
        stranger.fit(measured)
    with pytest.raises(ValueError, match=name):
        stranger.load(model.save())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bytes_and_noise_never_repeats(name: str) -> None:
    """Sampling is reproducible and measuring is not (two runs of five or more noisy histograms agree with a probability under 1e-100)."""
    table = people(800)
    model = fitted(name, table)
    assert ipc(model.sample(500, seed=7)) == ipc(model.sample(500, seed=7))
    assert ipc(model.sample(500, seed=7)) != ipc(model.sample(500, seed=8))
    assert model.save() != fitted(name, table).save()


def test_a_large_sample_is_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are the sample, numbered on from one to the next, each with noise of its own; a seed's first part does not depend on how
    many follow, and no part is of more rows than is said.
    """
    keys = SCHEMA.model_copy(
        update={"columns": (ColumnSchema(name="id", type=ColumnType.INTEGER), *SCHEMA.columns), "primary_key": ("id",)}
    )
    table = people(300)
    handle = open_handle(table.append_column("id", pa.array(range(300))), keys, RHO)
    chosen = MarginalEngine()
    model = chosen.fit(chosen.measure(handle, keys, RHO))
    monkeypatch.setattr("halftone.synthesis.model.CHUNK_ROWS", 100)
    parts = [*model.chunks(250, seed=7)]
    assert [part.num_rows for part in parts] == [100, 100, 50]
    assert pa.concat_tables(parts).equals(model.sample(250, seed=7))
    assert pa.concat_tables(parts)["id"].to_pylist() == [*range(1, 251)]
    assert parts[0].equals(model.sample(100, seed=7))
    assert not parts[1].drop_columns("id").equals(parts[0].drop_columns("id"))
    assert [part.num_rows for part in model.chunks(0, seed=7)] == [0]


def test_a_table_without_rows_is_a_file_all_the_same(tmp_path: Path) -> None:
    """With its columns and types."""
    nothing = next(fitted("independent", people(100)).chunks(0, seed=1))
    with writing(tmp_path / "t.parquet", nothing.schema):
        pass
    assert pq.read_table(tmp_path / "t.parquet").equals(nothing)


def test_a_sample_is_written_and_read_by_others() -> None:
    """Plain Arrow types: Parquet takes them."""
    sink = io.BytesIO()
    out = fitted("independent", people(100)).sample(50, seed=1)
    pq.write_table(out, sink)
    assert pq.read_table(sink).equals(out)


def test_progress_goes_up_to_one() -> None:
    """Somebody is watching a bar."""
    seen: list[tuple[float, str]] = []
    chosen = MarginalEngine()
    handle = open_handle(people(300), SCHEMA, RHO)
    chosen.fit(chosen.measure(handle, SCHEMA, RHO, lambda f, s: seen.append((f, s))), lambda f, s: seen.append((f, s)))
    measuring, fitting = ([f for f, s in seen if s.startswith(step)] for step in ("measure", "fit"))
    assert measuring == sorted(measuring)
    assert fitting == sorted(fitting)
    assert measuring[-1] == fitting[-1] == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_table_with_nothing_to_model_still_has_a_noisy_length(name: str) -> None:
    """A table of keys alone: its rows are counted, for the whole grant."""
    keys = TableSchema(columns=(ColumnSchema(name="id", type=T.INTEGER),), primary_key=("id",))
    chosen, handle = engine(name), open_handle(pa.table({"id": [5, 6, 7]}), keys, RHO)
    out = chosen.fit(chosen.measure(handle, keys, RHO)).sample(seed=1)
    # The noise has a scale of 2.2: 60 rows off would be 25 standard deviations, a false alarm in 1e-130.
    assert out.num_rows < 63
    assert handle.spent <= RHO
    assert out["id"].to_pylist() == list(range(1, out.num_rows + 1))


@pytest.mark.parametrize("name", NAMES)
def test_one_column_all_missing_and_a_constant_are_synthesized(name: str) -> None:
    """Degenerate tables are tables."""
    schema = TableSchema(
        columns=(
            ColumnSchema(name="void", type=T.NUMBER, minimum=0, maximum=1, nullable=True),
            ColumnSchema(name="same", type=T.INTEGER, minimum=4, maximum=4),
        )
    )
    chosen = engine(name)
    for columns in (schema.columns, schema.columns[:1], schema.columns[1:]):
        declared = TableSchema(columns=columns)
        table = pa.table({"void": pa.nulls(500), "same": [4] * 500})
        out = chosen.fit(chosen.measure(open_handle(table, declared, RHO, noise=dead_noise), declared, RHO)).sample(seed=1)
        assert out.num_rows == 500
        if "void" in out.column_names:
            assert out["void"].null_count == 500
        if "same" in out.column_names:
            assert set(out["same"].to_pylist()) == {4}


@pytest.mark.parametrize("name", NAMES)
def test_too_little_rho_is_refused_in_words(name: str) -> None:
    """A grant that cannot buy one unit per column is no grant."""
    with pytest.raises(ValueError, match="rho"):
        engine(name).measure(open_handle(people(50), SCHEMA, RHO), SCHEMA, 3)
    with pytest.raises(DomainNotDeclared):
        engine(name).measure(open_handle(people(50), SCHEMA, RHO), TableSchema(columns=(ColumnSchema(name="age", type=T.INTEGER),)), RHO)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("columns", [1, 2, 5, 6])
def test_the_least_rho_is_enough(name: str, columns: int) -> None:
    """What is known before the data is opened is all that can forbid measuring: at the least rho, every table can be measured."""
    schema = TableSchema(columns=SCHEMA.columns[-columns:])
    chosen = engine(name)
    least = chosen.least(schema)
    for rows in (0, 1, 500):
        measured = chosen.measure(open_handle(people(rows), schema, least), schema, least)
        assert sum(mechanism.rho for mechanism in measured.mechanisms) <= least
    if name == "independent" and columns > 1:
        with pytest.raises(ValueError, match="rho"):
            chosen.measure(open_handle(people(50), schema, least), schema, len(schema.columns) - 2)


def test_a_mixture_learns_a_relation_from_pairs() -> None:
    """Two columns that are equal, exactly measured: the fitted pair is within 0.02 of the truth in every cell. Deterministic."""
    truth = np.diag([0.5, 0.3, 0.2]).astype(np.float32)
    shares = np.array([0.5, 0.3, 0.2], np.float32)
    pairs, measured = np.zeros((2, 6, 6), np.float32)
    pairs[:3, 3:] = pairs[3:, :3] = truth
    measured[:3, 3:] = measured[3:, :3] = 1
    weights, fit = fit_mixture(Targets((3, 3), np.tile(shares, 2), pairs, measured, 1e-4), lambda done: None)
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert np.abs((fit[:3] * weights) @ fit[3:].T - truth).max() < 0.02
