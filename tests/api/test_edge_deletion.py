"""Deleting datasets over HTTP: what depends on one, what is removed, and what stays for ever."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from api import deletion
from api.edge import Edge
from contracts import subjects
from contracts.commands import CancelJob
from contracts.cost import NOTHING
from contracts.events import BudgetLimited, DatasetDeleted, DatasetVersionAdded, JobCancelled, JobCompleted, JobFailed, JobStarted, Origin
from contracts.ids import ADMINISTRATOR, SYSTEM, new_id
from contracts.jobs import Output
from halftone.privacy.conversion import budget_limit
from infra.bus.connection import jetstream
from infra.database.store import now_ms

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY = 86_400_000


@pytest.fixture(scope="module", autouse=True)
def edges() -> Any:
    """The edges that run: a test may have one look for expired datasets now."""
    found: list[Edge] = []
    retain = deletion.retain

    async def noted(edge: Edge) -> None:
        found.append(edge)
        await retain(edge)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.server.retain", noted)
        yield found


@pytest.fixture
def edge(edges: Any, system: Any) -> Edge:
    """The one that serves."""
    found: Edge = edges[-1]
    return found


def held(system: Any) -> set[str]:
    """Objects that are stored."""
    return {path.name for path in system.home.objects.rglob("obj_*") if path.suffix == ""}


async def gone(system: Any, *objects: str) -> None:
    """Wait until objects are removed."""
    async with asyncio.timeout(10):
        while held(system) & set(objects):
            await system.http.get("/health/live")


async def synthesized(system: Any, dataset: str) -> tuple[dict[str, str], str]:
    """A synthetic dataset of a real one: what its job made, by role, and its own id."""
    answer = (await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": dataset, "epsilon": 1})).json()
    job, target = answer["id"], answer["links"]["dataset"].rsplit("/", 1)[1]
    made = {role: system.objects.put(new_id("obj"), role.encode()) for role in ("table", "model", "measurements")}
    await system.say(JobStarted(job=job, attempt=1))
    await system.say(DatasetVersionAdded(dataset=target, version=1, origin=Origin.SYNTHETIC, table=made["table"], job=job))
    outputs = tuple(Output(role=role, object=stored) for role, stored in made.items())
    sequence = await system.say(JobCompleted(job=job, attempt=1, outputs=outputs))
    await system.http.get(f"/v1/datasets/{target}?min_seq={sequence}")
    return made, target


async def end_all(system: Any, dataset: str) -> None:
    """Say that jobs on a dataset which still run were cancelled."""
    sequence = (await jetstream(system.bus).stream_info(subjects.EVENTS)).state.last_seq
    for job in (await system.http.get(f"/v1/jobs?dataset={dataset}&min_seq={sequence}")).json()["items"]:
        if job["state"] not in {"completed", "failed", "cancelled", "refused"}:
            sequence = await system.say(JobCancelled(job=job["id"], attempt=0))
    await system.http.get(f"/v1/datasets/{dataset}?min_seq={sequence}")


async def free(system: Any) -> str:
    """A dataset on which no job is at work."""
    dataset = await system.ready()
    await end_all(system, dataset)
    return str(dataset)


async def test_a_deleted_dataset_is_a_tombstone_and_its_objects_are_removed(system: Any) -> None:
    """Rows, proposal and schema go; id, name, account and the end stay to be seen; whatever asks for rows is answered 410."""
    before = held(system)
    dataset = await free(system)
    mine = held(system) - before
    assert mine
    account = (await system.http.get(f"/v1/datasets/{dataset}")).json()["account"]
    answer = await system.http.delete(f"/v1/datasets/{dataset}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["datasets"] == [dataset]
    seen = (await system.http.get(f"/v1/datasets/{dataset}")).json()
    assert (seen["state"], seen["name"], seen["account"], seen["versions"]) == ("deleted", "people.csv", account, [])
    assert seen["deleted"] is not None
    await gone(system, *mine)
    for path in ("schema", "profile", "versions"):
        await system.problem(await system.http.get(f"/v1/datasets/{dataset}/{path}"), 410, "dataset-deleted")
    body = {"kind": "synthesize", "dataset": dataset, "epsilon": 1}
    await system.problem(await system.http.post("/v1/jobs", json=body), 410, "dataset-deleted")
    await system.problem(await system.http.patch(f"/v1/datasets/{dataset}", json={"name": "x"}), 410, "dataset-deleted")
    (told,) = [e for e in await system.stored(subjects.EVENTS, dataset) if isinstance(e.message, DatasetDeleted)]
    assert (told.message, told.principal) == (DatasetDeleted(dataset=dataset, reason="asked"), ADMINISTRATOR)


async def test_deleting_again_changes_nothing(system: Any) -> None:
    """The second answer names nothing that was deleted, and no event follows."""
    dataset = await free(system)
    await system.http.delete(f"/v1/datasets/{dataset}")
    again = await system.http.delete(f"/v1/datasets/{dataset}?cascade=true")
    assert (again.status_code, again.json()["datasets"]) == (200, [])
    assert len([e for e in await system.stored(subjects.EVENTS, dataset) if isinstance(e.message, DatasetDeleted)]) == 1


async def test_lists_leave_out_what_was_deleted_unless_it_is_asked_for(system: Any) -> None:
    """Tombstones do not crowd out what is there."""
    dataset = await free(system)
    await system.http.delete(f"/v1/datasets/{dataset}")
    assert dataset not in {view["id"] for view in (await system.http.get("/v1/datasets")).json()["items"]}
    listed = (await system.http.get("/v1/datasets?deleted=true")).json()["items"]
    assert next(view["state"] for view in listed if view["id"] == dataset) == "deleted"


async def test_what_depends_on_a_dataset_is_named(system: Any) -> None:
    """409 lists synthetic datasets, models and jobs under way; nothing is deleted."""
    dataset = await free(system)
    made, target = await synthesized(system, dataset)
    running = (await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": dataset, "epsilon": 1})).json()
    assert (await system.http.get(f"/v1/jobs/{running['id']}?min_seq={running['sequence']}")).status_code == 200
    document = await system.problem(await system.http.delete(f"/v1/datasets/{dataset}"), 409, "dataset-in-use")
    other = running["links"]["dataset"].rsplit("/", 1)[1]
    assert {kind: set(ids) for kind, ids in document["dependents"].items()} == {
        "datasets": {target, other},
        "models": {made["model"]},
        "jobs": {running["id"]},
    }
    assert "cascade=true" in document["detail"]
    assert (await system.http.get(f"/v1/datasets/{dataset}")).json()["state"] == "ready"


async def test_cascade_takes_what_was_made_from_it_and_waits_for_its_jobs(system: Any) -> None:
    """Synthetic datasets and models go too; jobs are cancelled, and what they still leave is removed once they have ended."""
    dataset = await free(system)
    made, target = await synthesized(system, dataset)
    running = (await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": dataset, "epsilon": 1})).json()["id"]
    answer = (await system.http.delete(f"/v1/datasets/{dataset}?cascade=true")).json()
    assert set(answer["datasets"]) > {dataset, target}
    assert answer["cancelled"] == [running]
    assert CancelJob in [type(command.message) for command in await system.sent(running, 2)]
    told = {e.message.dataset: e.message for e in await system.stored(subjects.EVENTS, "") if isinstance(e.message, DatasetDeleted)}
    assert told[dataset] == DatasetDeleted(dataset=dataset, reason="asked", cascade=True)
    assert told[target] == DatasetDeleted(dataset=target, reason="cascade", cascade=False)
    await gone(system, *made.values())
    assert made["model"] not in str((await system.http.get("/v1/models")).json())
    late = system.objects.put(new_id("obj"), b"a traceback that quotes rows")
    await system.say(JobFailed(job=running, attempt=1, code="worker-lost", log=late))
    await gone(system, late)


async def test_a_synthetic_dataset_goes_alone(system: Any) -> None:
    """Its table is removed; the model that drew it, and the real dataset, stay."""
    dataset = await free(system)
    made, target = await synthesized(system, dataset)
    assert (await system.http.delete(f"/v1/datasets/{target}")).json()["datasets"] == [target]
    await gone(system, made["table"])
    assert made["model"] in held(system)
    assert (await system.http.get(f"/v1/datasets/{dataset}")).json()["state"] == "ready"


async def test_deleting_gives_nothing_back(system: Any) -> None:
    """The ledger stays to be read by the tombstone, and the same content uploaded again falls under the same budget."""
    content = os.urandom(40)
    registered = await system.upload(content)
    dataset = registered["dataset"]
    await system.ingest(dataset, registered["job"])
    account = (await system.http.get(f"/v1/datasets/{dataset}")).json()["account"]
    limit = budget_limit(3, 1e-9)
    limited = BudgetLimited(account=account, entry=1, spent=NOTHING, reserved=NOTHING, limit=limit, epsilon=3 * 10**9, delta=10**9)
    sequence = await system.say(limited)
    await system.http.get(f"/v1/datasets/{dataset}?min_seq={sequence}")
    assert (await system.http.delete(f"/v1/datasets/{dataset}")).status_code == 200
    assert (await system.http.get(f"/v1/budgets/{dataset}")).json()["limit"]["rho"] == limit.rho
    assert len((await system.http.get(f"/v1/budgets/{dataset}/entries")).json()["items"]) == 1
    again = await system.upload(content)
    assert (await system.http.get(f"/v1/datasets/{again['dataset']}")).json()["account"] == account


async def test_a_job_that_was_promised_meanwhile_stops_a_deletion(system: Any, edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer decides: what the view has not shown yet was promised all the same, and 503 says to try again."""
    dataset = await free(system)
    (await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": dataset, "epsilon": 1})).json()

    async def nothing(_: str) -> list[Any]:
        return []

    monkeypatch.setattr(edge.views, "jobs_of", nothing)
    monkeypatch.setattr(edge.views, "made_from", nothing)
    await system.problem(await system.http.delete(f"/v1/datasets/{dataset}"), 503, "unavailable")


async def test_a_dataset_is_named_anew(system: Any) -> None:
    """The name changes, and what is not given stays."""
    dataset = await free(system)
    path = f"/v1/datasets/{dataset}"
    changed = await system.http.patch(path, json={"name": "Café customers", "retention_days": 30})
    assert (changed.status_code, changed.json()["name"], changed.json()["retention_days"]) == (200, "Café customers", 30)
    assert (await system.http.patch(path, json={"name": "other"})).json()["retention_days"] == 30
    assert (await system.http.patch(path, json={"retention_days": None})).json()["retention_days"] is None
    assert (await system.http.get(path)).json()["name"] == "other"


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"retention_days": 0}, "retention_days"),
        ({"retention_days": 36_501}, "retention_days"),
        ({"retention_days": "7"}, "retention_days"),
        ({"state": "ready"}, "state"),
    ],
)
async def test_a_change_that_cannot_be_made_names_the_parameter(system: Any, body: dict[str, Any], parameter: str) -> None:
    """Nothing of the request is done."""
    dataset = (await system.upload())["dataset"]
    document = await system.problem(await system.http.patch(f"/v1/datasets/{dataset}", json=body), 422, "request-invalid")
    assert document["parameter"] == parameter


async def test_a_dataset_whose_time_is_over_is_deleted_and_what_was_made_from_it_stays(system: Any, edge: Edge) -> None:
    """Neither a day early nor while a job is at work; the synthetic dataset, its model and the schema that it was made under stay."""
    before = held(system)
    dataset = await free(system)
    mine = held(system) - before
    made, target = await synthesized(system, dataset)
    schema = (await system.http.get(f"/v1/datasets/{target}/schema")).json()
    await system.http.patch(f"/v1/datasets/{dataset}", json={"retention_days": 7})
    assert dataset not in await deletion.retain_once(edge, now_ms() + 7 * DAY - 60_000)
    running = (await system.http.post("/v1/jobs", json={"kind": "evaluate", "dataset": target})).json()["id"]
    await system.http.get(f"/v1/jobs/{running}")
    assert dataset not in await deletion.retain_once(edge, now_ms() + 8 * DAY)
    sequence = await system.say(JobCancelled(job=running, attempt=0))
    await system.http.get(f"/v1/jobs/{running}?min_seq={sequence}")
    assert dataset in await deletion.retain_once(edge, now_ms() + 8 * DAY)
    assert dataset not in await deletion.retain_once(edge, now_ms() + 9 * DAY)
    (told,) = [e for e in await system.stored(subjects.EVENTS, dataset) if isinstance(e.message, DatasetDeleted)]
    assert (told.message.reason, told.principal) == ("retention", SYSTEM)
    (version,) = (await system.http.get(f"/v1/datasets/{target}/versions")).json()["items"]
    assert {version["table"], made["model"]} <= held(system)
    async with asyncio.timeout(10):
        while len(held(system) & mine) > 1:
            await system.http.get("/health/live")
    assert (await system.http.get(f"/v1/datasets/{target}/schema")).json() == schema
