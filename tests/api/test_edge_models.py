"""Models over HTTP: listed, looked at, drawn from again."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.commands import RunJob
from contracts.events import DatasetVersionAdded, JobCompleted, Origin
from contracts.ids import new_id
from contracts.jobs import Output, SampleSpec

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def fitted(system: Any, dataset: str | None = None) -> dict[str, str]:
    """A completed synthesis, as its actor would tell of it."""
    real = dataset or await system.ready()
    answer = (await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": real, "epsilon": 0.5})).json()
    target = answer["links"]["dataset"].rsplit("/", 1)[1]
    table, model = (system.objects.put(new_id("obj"), content) for content in (b"PAR1", b"a model"))
    await system.say(DatasetVersionAdded(dataset=target, version=1, origin=Origin.SYNTHETIC, table=table, job=answer["id"]))
    outputs = (Output(role="table", object=table), Output(role="model", object=model))
    sequence = await system.say(JobCompleted(job=answer["id"], attempt=1, outputs=outputs))
    await system.http.get(f"/v1/jobs/{answer['id']}?min_seq={sequence}")
    return {"real": real, "target": target, "job": answer["id"], "model": model, "table": table}


async def test_a_completed_synthesis_leaves_a_model(system: Any) -> None:
    """It is called as its object, says what it was fitted to and what that cost, and its job links to it."""
    made = await fitted(system)
    model = (await system.http.get(f"/v1/models/{made['model']}")).json()
    assert (model["id"], model["engine"], model["dataset"], model["version"]) == (made["model"], "marginal", made["real"], 1)
    assert (model["synthetic"], model["job"], model["epsilon"], model["delta"]) == (made["target"], made["job"], 0.5, 1e-9)
    assert (await system.http.get(model["links"]["artifact"])).content == b"a model"
    job = (await system.http.get(f"/v1/jobs/{made['job']}")).json()
    assert (job["links"]["model"], model["created"]) == (f"/v1/models/{made['model']}", job["ended"])


async def test_models_are_paged_newest_first_and_found_by_dataset(system: Any) -> None:
    """Following the cursor gives each once; either dataset of a model finds it."""
    first = await fitted(system)
    second = await fitted(system, first["real"])
    page = (await system.http.get(f"/v1/models?dataset={first['real']}&limit=1")).json()
    assert [model["id"] for model in page["items"]] == [second["model"]]
    rest = (await system.http.get(f"/v1/models?dataset={first['real']}&limit=1&cursor={page['next']}")).json()
    assert ([model["id"] for model in rest["items"]], rest["next"]) == ([first["model"]], None)
    by_target = (await system.http.get(f"/v1/models?dataset={first['target']}")).json()
    assert [model["id"] for model in by_target["items"]] == [first["model"]]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/models/obj_" + "0" * 32, 404, "not-found"),
        ("/v1/models/job_" + "0" * 32, 404, "not-found"),
        ("/v1/models?cursor=nonsense", 422, "request-invalid"),
        ("/v1/models?dataset=nonsense", 404, "not-found"),
    ],
)
async def test_what_is_no_model_is_said_to_be_none(system: Any, path: str, status: int, code: str) -> None:
    """Unknown ids, ids of other kinds and made-up cursors each get a problem."""
    await system.problem(await system.http.get(path), status, code)


async def test_an_object_that_is_no_model_is_not_drawn_from(system: Any) -> None:
    """A table's id is no model's, though the same job made both."""
    made = await fitted(system)
    await system.problem(await system.http.get(f"/v1/models/{made['table']}"), 404, "not-found")
    asked = await system.http.post("/v1/jobs", json={"kind": "sample", "model": made["table"]})
    await system.problem(asked, 404, "not-found")


async def test_a_sample_goes_to_its_executor_at_once_and_costs_nothing(system: Any) -> None:
    """No keeper is asked; the new dataset has the model's parent and budget, and its schema."""
    made = await fitted(system)
    body = {"kind": "sample", "model": made["model"], "rows": 50, "seed": 11, "name": "fifty more"}
    answer = await system.http.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    (command,) = await system.sent(answer.json()["id"])
    assert isinstance(command.message, RunJob)
    spec: Any = command.message.spec
    assert isinstance(spec, SampleSpec)
    assert (spec.model, spec.source, spec.engine, spec.rows, spec.seed) == (made["model"], made["job"], "marginal", 50, 11)
    job = (await system.http.get(f"/v1/jobs/{answer.json()['id']}")).json()
    assert (job["state"], job["links"]["model"]) == ("queued", f"/v1/models/{made['model']}")
    drawn = (await system.http.get(answer.json()["links"]["dataset"])).json()
    assert (drawn["name"], drawn["origin"], drawn["parents"], drawn["account"]) == ("fifty more", "synthetic", [made["real"]], spec.account)
    of = (await system.http.get(f"/v1/datasets/{drawn['id']}/schema")).json()
    assert of["tables"] == (await system.http.get(f"/v1/datasets/{made['real']}/schema")).json()["tables"]


async def test_a_sample_without_a_seed_says_which_one_was_chosen(system: Any) -> None:
    """Its rows can be had again; another sample gets another one."""
    made = await fitted(system)
    jobs = [(await system.http.post("/v1/jobs", json={"kind": "sample", "model": made["model"]})).json()["id"] for _ in range(2)]
    seeds = [(await system.http.get(f"/v1/jobs/{job}")).json()["spec"]["seed"] for job in jobs]
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"model": "ds_" + "0" * 32}, "model"),
        ({"rows": 0}, "rows"),
        ({"rows": 1.5}, "rows"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**53}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"name": ""}, "name"),
        ({"epsilon": 1}, "epsilon"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_a_sample_that_makes_no_sense_names_its_parameter(system: Any, change: dict[str, Any], parameter: str) -> None:
    """Wrong ids, rows, seeds, names, and what does not belong here."""
    body = {"kind": "sample", "model": "obj_" + "0" * 32, **change}
    problem = await system.problem(await system.http.post("/v1/jobs", json=body), 422, "request-invalid")
    assert problem["parameter"] == parameter


async def test_a_sample_needs_its_model(system: Any) -> None:
    """The kind without the model is told what is missing."""
    problem = await system.problem(await system.http.post("/v1/jobs", json={"kind": "sample"}), 422, "request-invalid")
    assert problem["parameter"] == "model"
