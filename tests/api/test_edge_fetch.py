"""Datasets made from what the settings name: what is asked for is checked here, fetched elsewhere, and told to nobody."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from api.policy import RIGHTS, Role, Verb
from contracts.envelope import Envelope
from contracts.events import DatasetRegistered, DatasetVersionAdded, JobFailed, JobStarted, Origin
from contracts.ids import new_id
from contracts.jobs import Fetch, IngestSpec
from infra.objects import ObjectMissing
from infra.sources.named import Store

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "hunter2"
QUERY = "SELECT age FROM people WHERE name = 'Jane Doe'"
SQL = {"sql": "crm", "query": QUERY}
STORE = {"store": "lake", "key": "2024/jane doe.csv"}


@pytest.fixture(autouse=True)
def named(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources that the running edge knows; nothing listens there."""
    sql = {"crm": f"postgresql://jane:{SECRET}@127.0.0.1:1/people", "old": "sqlite:////nowhere/x.db"}
    monkeypatch.setitem(system.settings.__dict__, "sql_sources", sql)
    stores = {"lake": Store(url=f"s3://{SECRET}/people", options={"aws_secret_access_key": SECRET})}
    monkeypatch.setitem(system.settings.__dict__, "object_sources", stores)


def held(system: Any) -> set[str]:
    return {path.name for path in system.home.objects.rglob("*") if path.is_file()}


async def asked(system: Any, source: dict[str, str], **more: Any) -> dict[str, Any]:
    answer = await system.http.post("/v1/datasets", json={"source": source, **more})
    assert answer.status_code == 202, answer.text
    assert SECRET not in answer.text
    return dict(answer.json())


async def told(system: Any, job: str) -> Envelope:
    (command,) = await system.sent(job)
    return command  # type: ignore[no-any-return]


async def test_sources_are_listed_by_name(system: Any) -> None:
    """Without their addresses."""
    answer = await system.http.get("/v1/sources")
    assert answer.json() == {"items": [{"name": "crm", "kind": "sql"}, {"name": "old", "kind": "sql"}, {"name": "lake", "kind": "store"}]}


@pytest.mark.parametrize(("source", "kind", "name"), [(SQL, Fetch.SQL, "crm"), (STORE, Fetch.STORE, "jane doe.csv")])
async def test_what_is_to_be_fetched_is_kept_as_an_object(system: Any, source: dict[str, str], kind: Fetch, name: str) -> None:
    """The command refers to it: neither query, key nor credential crosses the bus."""
    registered = await asked(system, source)
    command = await told(system, registered["job"])
    spec: Any = command.message.spec
    assert isinstance(spec, IngestSpec)
    assert (spec.fetch, json.loads(system.objects.read(spec.source))) == (kind, source)
    for secret in (SECRET, "Jane", "jane", "crm", "lake"):
        assert secret.encode() not in command.dump()
    assert (await system.http.get(f"/v1/datasets/{registered['dataset']}")).json()["name"] == name


async def test_name_schema_and_reading_go_along(system: Any) -> None:
    """As with an upload."""
    schema = {"columns": [{"name": "age", "type": "integer"}]}
    registered = await asked(system, STORE, name="people", schema=schema, read={"delimiter": ";"})
    spec: Any = (await told(system, registered["job"])).message.spec
    assert json.loads(system.objects.read(spec.options))["delimiter"] == ";"
    assert spec.declared is not None
    assert (await system.http.get(f"/v1/datasets/{registered['dataset']}")).json()["name"] == "people"


@pytest.mark.parametrize(
    ("source", "status", "code", "parameter"),
    [
        ({"sql": "cmr", "query": QUERY}, 404, "source-unknown", None),
        ({"sql": "lake", "query": QUERY}, 404, "source-unknown", None),
        ({"store": "crm", "key": "x"}, 404, "source-unknown", None),
        ({"sql": "crm", "query": "SELECT 1; SELECT 2"}, 422, "query-not-select", "source.query"),
        ({"sql": "crm", "query": "DELETE FROM people"}, 422, "query-not-select", "source.query"),
        ({"sql": "old", "query": "PRAGMA table_info(people)"}, 422, "query-not-select", "source.query"),
        ({"sql": "crm", "query": "SELECT (age FROM people"}, 422, "query-not-select", "source.query"),
        ({"sql": "crm", "query": ""}, 422, "query-not-select", "source.query"),
        ({"sql": "crm", "query": "SELECT '" + "x" * 30_000 + "'"}, 422, "query-not-select", "source.query"),
        ({"store": "lake", "key": "../secret.csv"}, 422, "source-key-wrong", "source.key"),
        ({"store": "lake", "key": "2024/../../secret.csv"}, 422, "source-key-wrong", "source.key"),
        ({"store": "lake", "key": "/etc/passwd"}, 422, "source-key-wrong", "source.key"),
        ({"store": "lake", "key": "a//b"}, 422, "source-key-wrong", "source.key"),
        ({"store": "lake", "key": "..\\secret.csv"}, 422, "source-key-wrong", "source.key"),
        ({"store": "lake", "key": "a\nb"}, 422, "source-key-wrong", "source.key"),
        ({"store": "lake", "key": ""}, 422, "source-key-wrong", "source.key"),
        ({"sql": "crm"}, 422, "request-invalid", "source.query"),
        ({"store": "lake"}, 422, "request-invalid", "source.key"),
        ({"query": QUERY}, 422, "request-invalid", "source"),
        ({**SQL, **STORE}, 422, "request-invalid", "source"),
        ({"path": "/data/x.csv", **SQL}, 422, "request-invalid", "source"),
        ({"sql": 1, "query": QUERY}, 422, "request-invalid", "source.sql"),
        ({"url": "s3://x"}, 422, "request-invalid", "source.url"),
    ],
)
async def test_what_cannot_be_fetched_is_refused_and_leaves_nothing(
    system: Any, source: dict[str, Any], status: int, code: str, parameter: str | None
) -> None:
    """At once, naming what is wrong; no answer holds an address."""
    before = held(system)
    answer = await system.http.post("/v1/datasets", json={"source": source})
    problem = await system.problem(answer, status, code)
    assert problem.get("parameter") == parameter
    assert SECRET not in answer.text
    assert held(system) == before


async def test_options_of_reading_are_for_files(system: Any) -> None:
    """A query's result has columns and types already."""
    answer = await system.http.post("/v1/datasets", json={"source": SQL, "read": {"delimiter": ";"}})
    assert (await system.problem(answer, 422, "request-invalid"))["parameter"] == "read"


async def test_a_right_of_its_own_is_needed(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may upload may not for that reason have the server read."""
    monkeypatch.setitem(RIGHTS, Role.ADMINISTRATOR, frozenset(Verb) - {Verb.SOURCE_USE})
    for source in (SQL, STORE, {"path": "/data/x.csv"}):
        problem = await system.problem(await system.http.post("/v1/datasets", json={"source": source}), 403, "forbidden")
        assert problem["right"] == "source.use"
    await system.problem(await system.http.get("/v1/sources"), 403, "forbidden")


async def test_the_same_request_under_one_key_gives_one_job(system: Any) -> None:
    """Another query under it is refused, and what was kept for it is gone."""
    headers = {"Idempotency-Key": new_id("job")}
    first = (await system.http.post("/v1/datasets", json={"source": SQL}, headers=headers)).json()
    before = held(system)
    again = (await system.http.post("/v1/datasets", json={"source": SQL}, headers=headers)).json()
    assert (again["job"], again["dataset"]) == (first["job"], first["dataset"])
    other = await system.http.post("/v1/datasets", json={"source": {**SQL, "query": "SELECT 1"}}, headers=headers)
    await system.problem(other, 409, "idempotency-key-reused")
    assert held(system) == before


async def failed(system: Any, registered: dict[str, Any]) -> None:
    await system.say(JobStarted(job=registered["job"], attempt=1))
    sequence = await system.say(JobFailed(job=registered["job"], attempt=1, code="source-unreachable"))
    seen = await system.http.get(f"/v1/datasets/{registered['dataset']}?min_seq={sequence}")
    assert seen.json()["state"] == "failed"


async def test_fetching_can_be_tried_again(system: Any) -> None:
    """A new job makes a new dataset of the same name and schema; what it is to fetch is a copy, so that the first may be deleted."""
    registered = await asked(system, SQL, name="people", schema={"columns": [{"name": "age", "type": "integer"}]})
    await failed(system, registered)
    answer = await system.http.post(f"/v1/jobs/{registered['job']}:retry")
    assert answer.status_code == 202, answer.text
    deleted = await system.http.delete(f"/v1/datasets/{registered['dataset']}")
    assert deleted.status_code == 200, deleted.text
    job = answer.json()["id"]
    spec: Any = (await told(system, job)).message.spec
    view = (await system.http.get(answer.json()["links"]["dataset"])).json()
    assert (view["name"], view["state"], view["id"] != registered["dataset"]) == ("people", "ingesting", True)
    assert (json.loads(system.objects.read(spec.source)), spec.fetch) == (SQL, Fetch.SQL)
    assert json.loads(system.objects.read(spec.declared))["tables"][0]["columns"][0]["name"] == "age"


def kept(system: Any, object_id: str) -> bool:
    try:
        system.objects.info(object_id)
    except ObjectMissing:
        return False
    return True


async def test_what_was_to_be_fetched_is_removed_with_the_dataset(system: Any) -> None:
    """Kept until then, since a job may be tried again; a query may hold a name."""
    registered = await asked(system, SQL)
    spec: Any = (await told(system, registered["job"])).message.spec
    await failed(system, registered)
    await system.http.delete(f"/v1/datasets/{registered['dataset']}")

    async with asyncio.timeout(10):
        while kept(system, spec.source):  # noqa: ASYNC110  # removed in the background
            await asyncio.sleep(0.01)
    problem = await system.problem(await system.http.post(f"/v1/jobs/{registered['job']}:retry"), 409, "source-gone")
    assert problem["dataset"] == registered["dataset"]


async def test_a_dataset_falls_under_the_account_that_its_rows_turn_out_to_belong_to(system: Any) -> None:
    """Until they are there no budget can be set; then it is that of the first dataset with this content."""
    first = await asked(system, SQL)
    known = (await system.http.get(f"/v1/datasets/{first['dataset']}")).json()["account"]
    second = await asked(system, SQL)
    assert (await system.http.get(f"/v1/datasets/{second['dataset']}")).json()["account"] != known
    early = await system.http.put(f"/v1/budgets/{second['dataset']}", json={"epsilon": 1})
    assert (await system.problem(early, 409, "dataset-ingesting"))["job"] == second["job"]
    added = DatasetVersionAdded(
        dataset=second["dataset"], version=1, origin=Origin.REAL, table=new_id("obj"), job=second["job"], account=known
    )
    sequence = await system.say(added)
    seen = (await system.http.get(f"/v1/datasets/{second['dataset']}?min_seq={sequence}")).json()
    assert (seen["state"], seen["account"]) == ("ready", known)
    assert (await system.http.get(f"/v1/budgets/{second['dataset']}")).json()["account"] == known
    (registered,) = [each for each in await system.stored("EVENTS", second["dataset"]) if isinstance(each.message, DatasetRegistered)]
    assert registered.data["account"] != known
