"""What others see of a private job depends on parameters and schema alone: the worker, on neighbouring tables, with one noise."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.certifying import make_key
from actors.synthesizer import work
from contracts.commands import RunJob
from contracts.cost import BudgetTerms, Composition, Cost
from contracts.ids import derived_id
from contracts.jobs import Grant, SynthesizeSpec, TableRef, Use
from contracts.schema import ColumnSchema, ColumnType, DatasetSchema, TableSchema
from halftone.certificates.content import content_hash
from halftone.privacy import measure
from halftone.privacy.conversion import job_cost
from infra.objects import Objects
from infra.work.task import Limits, Task, TaskRefused
from replay import Recorded

SCHEMA = TableSchema(
    columns=(
        ColumnSchema(name="age", type=ColumnType.INTEGER, minimum=0, maximum=99, attested_by="prn_" + "0" * 32),
        ColumnSchema(name="pay", type=ColumnType.NUMBER, minimum=0.0, maximum=1e5, attested_by="prn_" + "0" * 32),
        ColumnSchema(name="who", type=ColumnType.TEXT, pii="name", attested_by="prn_" + "0" * 32),
    )
)
PEOPLE = pa.table({"age": [n % 90 for n in range(60)], "pay": [n * 1000.0 for n in range(60)], "who": [f"p{n % 20}" for n in range(60)]})
EXTREMES = [float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324]


@dataclass
class Heard:
    """What a worker says, in order; no clock decides what is left out."""

    said: list[tuple[str, Any]] = field(default_factory=list)

    def advanced(self, step: str, fraction: float) -> None:
        self.said.append((step, fraction))

    def measured(self, object_id: str) -> None:
        self.said.append(("measured", object_id))

    def opening(self) -> None:
        self.said.append(("opening", None))


def task(home: Path, table: pa.Table, epsilon: float = 1.0, *, users: bool = False) -> Task:
    objects = Objects(home / "objects")
    source, declared = derived_id("obj", "source"), derived_id("obj", "declared")
    with objects.write(source, "application/vnd.apache.parquet", ".parquet") as draft:
        pq.write_table(table, draft.path)
    objects.put(declared, DatasetSchema(tables=(SCHEMA,)).model_dump_json().encode())
    make_key_once(home)
    spec = SynthesizeSpec(
        source=TableRef(dataset=derived_id("ds", "real"), version=1, table=source),
        declared=declared,
        engine="marginal",
        rows=30,
        epsilon=round(epsilon * 10**9),
        delta=10**9,
        seed=1,
        target=derived_id("ds", "made"),
        account=derived_id("acc", "a"),
        terms=BudgetTerms(composition=Composition.ZCDP, by_user=users, contribution=2 if users else 1),
        unit_column=2 if users else None,
    )
    cost = job_cost(epsilon, 1e-9) if epsilon >= 1e-3 else Cost(rho=1)
    grant = Grant(account=spec.account, step="measure", use=Use.CHARGE, cost=cost, entry=1)
    run = RunJob(job=derived_id("job", "j"), spec=spec, grant=grant)
    limits = Limits(max_upload_bytes=1 << 30, max_table_bytes=1 << 30, max_columns=100)
    return Task(entry="", command=run, attempt=1, objects_directory=home / "objects", limits=limits, certificates=home / "certificates")


def make_key_once(home: Path) -> None:
    (home / "certificates").mkdir(parents=True, exist_ok=True)
    make_key(home / "certificates")


def seen(asked: Task) -> tuple[Any, ...]:
    """Everything that others see: what was said meanwhile, events, which outputs there are, and the released content."""
    heard = Heard()
    finished = work(asked, heard)  # type: ignore[arg-type]  # it speaks as a reporter does
    outputs = {output.role: output.object for output in finished.outputs}
    content = content_hash(pq.read_table(asked.objects.path(outputs["table"])))
    payload = json.loads(asked.objects.read(outputs["certificate"]))["payload"]
    # The time is coarse, to the minute: between two runs it may pass.
    certified = len(payload)
    return heard.said, finished.events, finished.outputs, content, certified


@pytest.mark.parametrize("users", [False, True])
@pytest.mark.parametrize("value", EXTREMES)
def test_a_strange_row_more_shows_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, users: bool) -> None:
    """Neither in steps, progress, events and outputs, nor in the table: not a number, infinite, huge, denormal."""
    first, second = Recorded(), Recorded()
    monkeypatch.setattr(measure, "discrete_gaussian", first.record)
    here = seen(task(tmp_path / "a", PEOPLE, users=users))
    monkeypatch.setattr(measure, "discrete_gaussian", second.again(first))
    more = pa.table({"age": [2**40], "pay": [value], "who": ["somebody else"]})
    there = seen(task(tmp_path / "b", pa.concat_tables([PEOPLE, more]), users=users))
    assert here == there
    assert any(not (one == other).all() for one, other in zip(first.exact, second.exact, strict=True)), (
        "the tables are neighbours, not twins"
    )


@pytest.mark.parametrize("table", [PEOPLE, PEOPLE.slice(0, 0), pa.concat_tables([PEOPLE] * 3)], ids=["some", "none", "many"])
def test_what_cannot_be_measured_is_said_before_anything_is_read(tmp_path: Path, table: pa.Table) -> None:
    """The same words whatever the rows, and the table was not opened."""
    heard = Heard()
    with pytest.raises(TaskRefused) as refused:
        work(task(tmp_path, table, epsilon=1e-4), heard)  # type: ignore[arg-type]
    assert refused.value.code == "epsilon-too-small"
    assert refused.value.detail == "epsilon buys a rho of 1e-12; engine 'marginal' needs 16e-12 for these columns: ask for a larger epsilon"
    assert heard.said == [("measure", 0.0)]
