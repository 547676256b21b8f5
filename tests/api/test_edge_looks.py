"""Drafts of schemas and rows to look at, over HTTP: raw where the rows are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.policy import RIGHTS, Role, Verb
from contracts.commands import ObserveBudget
from contracts.events import DatasetVersionAdded, JobCompleted, Origin
from contracts.ids import ADMINISTRATOR, new_id
from contracts.jobs import Output

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = [{"age": n, "city": None} for n in range(30)]
DRAFT = {"schema": {"name": "table"}, "guesses": [], "keys": []}


def outputs(system: Any) -> tuple[Output, ...]:
    written = {"sample": {"columns": ["age", "city"], "rows": ROWS}, "draft": DRAFT}
    return tuple(
        Output(role=role, object=system.objects.put(new_id("obj"), json.dumps(content).encode())) for role, content in written.items()
    )


async def ingested(system: Any, made: tuple[Output, ...]) -> str:
    """A real dataset whose job left something beside its rows."""
    answer = await system.upload()
    dataset, job, table = answer["dataset"], answer["job"], system.objects.put(new_id("obj"), b"PAR1")
    await system.say(DatasetVersionAdded(dataset=dataset, version=1, origin=Origin.REAL, table=table, job=job))
    sequence = await system.say(JobCompleted(job=job, attempt=1, outputs=made))
    await system.http.get(f"/v1/datasets/{dataset}?min_seq={sequence}")
    return str(dataset)


async def drawn(system: Any) -> str:
    """A synthetic dataset with rows to look at."""
    real = await system.ready()
    answer = (await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": real, "epsilon": 1})).json()
    dataset = answer["links"]["dataset"].rsplit("/", 1)[1]
    await system.say(DatasetVersionAdded(dataset=dataset, version=1, origin=Origin.SYNTHETIC, table=new_id("obj"), job=answer["id"]))
    sequence = await system.say(JobCompleted(job=answer["id"], attempt=1, outputs=outputs(system)[:1]))
    await system.http.get(f"/v1/jobs/{answer['id']}?min_seq={sequence}")
    return str(dataset)


async def test_a_draft_is_given_as_it_was_written(system: Any) -> None:
    """Asked for again, or had made: it is the same."""
    dataset = await ingested(system, outputs(system))
    path = f"/v1/datasets/{dataset}/schema:draft"
    for answer in (await system.http.get(path), await system.http.post(path)):
        assert (answer.status_code, answer.json()) == (200, DRAFT)


async def test_a_few_rows_are_shown(system: Any) -> None:
    """As many as asked for, 20 without a number, always the same ones."""
    path = f"/v1/datasets/{await ingested(system, outputs(system))}/sample"
    shown = (await system.http.get(path)).json()
    assert (shown["version"], shown["columns"], shown["rows"]) == (1, ["age", "city"], ROWS[:20])
    assert (await system.http.get(path + "?rows=3")).json()["rows"] == ROWS[:3]
    assert (await system.http.get(path + "?rows=100")).json()["rows"] == ROWS


@pytest.mark.parametrize("rows", ["0", "101", "-1", "1.5", "many", ""])
async def test_a_number_of_rows_that_is_none_is_refused(system: Any, rows: str) -> None:
    """422, with what would be right."""
    path = f"/v1/datasets/{await ingested(system, outputs(system))}/sample?rows={rows}"
    problem = await system.problem(await system.http.get(path), 422, "request-invalid")
    assert problem["parameter"] == "rows"
    assert "from 1 to 100" in problem["detail"]


async def test_what_was_read_off_real_rows_needs_the_right_to_them(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drafts and rows of a real dataset; made rows are for everyone."""
    real, synthetic = await ingested(system, outputs(system)), await drawn(system)
    monkeypatch.setitem(RIGHTS, Role.ADMINISTRATOR, frozenset(Verb) - {Verb.RAW_READ})
    for answer in (
        await system.http.get(f"/v1/datasets/{real}/sample"),
        await system.http.get(f"/v1/datasets/{real}/schema:draft"),
        await system.http.post(f"/v1/datasets/{real}/schema:draft"),
    ):
        assert (await system.problem(answer, 403, "forbidden"))["right"] == "raw.read"
    assert (await system.http.get(f"/v1/datasets/{synthetic}/sample?rows=1")).json()["rows"] == ROWS[:1]


async def test_what_is_not_there_is_not_shown(system: Any) -> None:
    """No rows yet, none written down, removed since, a synthetic dataset's draft, an unknown dataset."""
    waiting = (await system.upload())["dataset"]
    await system.problem(await system.http.get(f"/v1/datasets/{waiting}/sample"), 409, "dataset-ingesting")
    await system.problem(await system.http.get(f"/v1/datasets/{waiting}/schema:draft"), 409, "dataset-ingesting")
    bare = await ingested(system, ())
    await system.problem(await system.http.get(f"/v1/datasets/{bare}/sample"), 404, "not-found")
    gone = await ingested(system, (Output(role="draft", object=new_id("obj")),))
    await system.problem(await system.http.get(f"/v1/datasets/{gone}/schema:draft"), 404, "not-found")
    await system.problem(await system.http.get(f"/v1/datasets/{await drawn(system)}/schema:draft"), 422, "origin-wrong")
    await system.problem(await system.http.get(f"/v1/datasets/ds_{'0' * 32}/sample"), 404, "not-found")


async def test_whoever_sees_raw_figures_is_entered_first(system: Any) -> None:
    """The keeper is told of each kind of figures, once for each who asks; a job's own files are entered whichever way they are had."""
    path = f"/v1/datasets/{await ingested(system, outputs(system))}"
    view = (await system.http.get(path)).json()
    made = {output["role"]: output["href"] for output in (await system.http.get(f"/v1/jobs/{view['job']}")).json()["outputs"]}
    for asked in ("/schema:draft", "/sample", "/schema:draft", "/sample?rows=1"):
        assert (await system.http.get(path + asked)).status_code == 200
    assert (await system.http.get(made["draft"])).status_code == 200
    issued = (await system.http.post("/v1/tokens", json={"name": "x", "role": "curator"})).json()
    other = {"Authorization": f"Bearer {issued['token']}"}
    assert (await system.http.get(f"{path}/sample", headers=other)).status_code == 200
    told = [each for each in await system.sent(view["job"], 4) if isinstance(each.message, ObserveBudget)]
    assert {each.message.account for each in told} == {view["account"]}
    assert sorted((each.message.step, each.principal) for each in told) == sorted(
        [("draft", ADMINISTRATOR), ("sample", ADMINISTRATOR), ("sample", issued["holder"])]
    )
