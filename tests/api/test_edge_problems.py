"""Bad input: every answer is a problem document that names the thing and says what would be right."""

from __future__ import annotations

import errno
import json
import sqlite3
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from api.policy import RIGHTS, Role, Verb
from api.reading import OPTIONS

pytestmark = pytest.mark.asyncio(loop_scope="module")

DATASET = "ds_" + "0" * 32
JOB = "job_" + "0" * 32
SYNTHESIZE = {"kind": "synthesize", "dataset": DATASET, "epsilon": 1}


@pytest.mark.parametrize(
    ("epsilon", "says"),
    [
        pytest.param("0", "above 0", id="zero"),
        pytest.param("-1", "above 0", id="negative"),
        pytest.param("1e-10", "above 0", id="under a unit"),
        pytest.param("NaN", "such as 1.0", id="NaN"),
        pytest.param("Infinity", "such as 1.0", id="infinity"),
        pytest.param("-Infinity", "such as 1.0", id="minus infinity"),
        pytest.param("1e400", "such as 1.0", id="overflow"),
        pytest.param("2000000", "at most 1000,", id="without meaning"),
        pytest.param('"1.0"', "a string", id="string"),
        pytest.param("true", "a boolean", id="boolean"),
        pytest.param("null", "null", id="null"),
        pytest.param("[1]", "a list", id="list"),
    ],
)
async def test_epsilon_must_be_a_number_above_zero(system: Any, epsilon: str, says: str) -> None:
    """The parameter is named, with what it was and what would be right."""
    body = f'{{"kind": "synthesize", "dataset": "{DATASET}", "epsilon": {epsilon}}}'
    response = await system.http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    document = await system.problem(response, 422, "request-invalid")
    assert document["parameter"] == "epsilon"
    assert says in document["detail"]


async def test_a_release_without_differential_privacy_is_not_available(system: Any) -> None:
    """A missing epsilon is no default: the answer says why."""
    body = {name: value for name, value in SYNTHESIZE.items() if name != "epsilon"}
    document = await system.problem(await system.http.post("/v1/jobs", json=body), 422, "request-invalid")
    assert document["parameter"] == "epsilon"
    assert "releases without differential privacy are not available" in document["detail"]


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        pytest.param({}, "kind", id="no kind"),
        pytest.param({"kind": "ingest"}, "kind", id="a kind that is not asked for here"),
        pytest.param({"kind": "noop", "colour": "red"}, "colour", id="unknown field"),
        pytest.param({**SYNTHESIZE, "rows": 0}, "rows", id="no rows"),
        pytest.param({**SYNTHESIZE, "rows": "5"}, "rows", id="rows as text"),
        pytest.param({**SYNTHESIZE, "seed": -1}, "seed", id="negative seed"),
        pytest.param({**SYNTHESIZE, "delta": 1}, "delta", id="delta of one"),
        pytest.param({**SYNTHESIZE, "delta": 0}, "delta", id="delta of zero"),
        pytest.param({**SYNTHESIZE, "engine": "quantum"}, "engine", id="unknown engine"),
        pytest.param({**SYNTHESIZE, "dataset": JOB}, "dataset", id="id of another kind"),
        pytest.param({"kind": "noop", "project": "mine"}, "project", id="name for an id"),
        pytest.param([], "", id="a list"),
    ],
)
async def test_a_wrong_parameter_is_named(system: Any, body: Any, parameter: str) -> None:
    """422, and the first thing that is wrong."""
    response = await system.http.post("/v1/jobs", json=body)
    document = await system.problem(response, 422, "engine-unknown" if parameter == "engine" else "request-invalid")
    assert document["parameter"] == parameter


async def test_an_unknown_engine_is_answered_with_those_there_are(system: Any) -> None:
    """The client learns what it may ask for, in words and in a field."""
    response = await system.http.post("/v1/jobs", json={**SYNTHESIZE, "engine": "quantum"})
    document = await system.problem(response, 422, "engine-unknown")
    listed = [engine["name"] for engine in (await system.http.get("/v1/engines")).json()["items"]]
    assert document["engines"] == listed
    assert all(name in document["detail"] for name in listed)


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "body-not-json"),
        (b"", "application/json", 400, "body-not-json"),
        (b"\xff\xfe", "application/json", 400, "body-not-json"),
        (b"kind=noop", "application/x-www-form-urlencoded", 415, "content-type-wrong"),
        (b'{"kind": "noop"}', "text/plain", 415, "content-type-wrong"),
        (b'{"kind": "noop", "project": "' + b"x" * (5 << 20) + b'"}', "application/json", 413, "too-large"),
    ],
)
async def test_a_body_that_is_not_json_is_refused(system: Any, content: bytes, content_type: str, status: int, code: str) -> None:
    """Neither guessed at nor read for ever."""
    response = await system.http.post("/v1/jobs", content=content, headers={"Content-Type": content_type})
    await system.problem(response, status, code)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/jobs/{JOB}"),
        ("GET", f"/v1/jobs/{DATASET}"),
        ("GET", "/v1/jobs/..%2Fjobs"),
        ("GET", f"/v1/jobs/{JOB}/events"),
        ("GET", f"/v1/jobs/{JOB}/log"),
        ("POST", f"/v1/jobs/{JOB}:cancel"),
        ("POST", f"/v1/jobs/{JOB}:explode"),
        ("POST", f"/v1/jobs/{JOB}"),
        ("GET", f"/v1/datasets/{DATASET}"),
        ("GET", f"/v1/datasets/{JOB}"),
        ("GET", f"/v1/datasets/{DATASET}/schema"),
        ("GET", f"/v1/datasets/{DATASET}/profile"),
        ("GET", f"/v1/budgets/{DATASET}"),
        ("GET", f"/v1/budgets/{DATASET}/entries"),
        ("GET", f"/v1/evaluations/{JOB}"),
        ("GET", "/v1/evaluations?dataset=x"),
        ("GET", f"/v1/artifacts/{DATASET}"),
        ("GET", "/v1/artifacts/obj_" + "0" * 32),
        ("GET", "/v1/nothing"),
        ("GET", "/"),
    ],
)
async def test_what_is_not_there_is_not_found(system: Any, method: str, path: str) -> None:
    """Unknown ids, ids of another kind, verbs and addresses that do not exist: 404, naming the thing."""
    await system.problem(await system.http.request(method, path), 404, "not-found")


async def test_a_job_on_a_dataset_that_is_not_there_is_not_found(system: Any) -> None:
    """Also where the id stands in a body."""
    assert DATASET in (await system.problem(await system.http.post("/v1/jobs", json=SYNTHESIZE), 404, "not-found"))["detail"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("jobs?cursor=nonsense", "cursor"),
        (f"jobs?cursor={DATASET}", "cursor"),
        ("datasets?cursor=5", "cursor"),
        ("jobs?limit=0", "limit"),
        ("jobs?limit=501", "limit"),
        ("jobs?limit=many", "limit"),
        ("jobs?state=lost", "state"),
        ("jobs?kind=lost", "kind"),
        (f"jobs/{JOB}?min_seq=x", "min_seq"),
    ],
)
async def test_a_wrong_query_parameter_is_named(system: Any, query: str, parameter: str) -> None:
    """Under the name that the client gave it."""
    document = await system.problem(await system.http.get(f"/v1/{query}"), 422, "request-invalid")
    assert document["parameter"] == parameter


async def test_an_empty_key_is_no_key(system: Any) -> None:
    """An Idempotency-Key that every client could have is refused."""
    response = await system.http.post("/v1/jobs", json={"kind": "noop"}, headers={"Idempotency-Key": ""})
    await system.problem(response, 422, "request-invalid")


async def test_a_method_that_is_not_served_is_said_so(system: Any) -> None:
    """405, not 404."""
    await system.problem(await system.http.delete("/v1/jobs"), 405, "method-not-allowed")


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "token-missing"),
        ("Basic eDp5", "token-missing"),
        ("Bearer", "token-missing"),
        ("Bearer ht_wrong", "token-wrong"),
        ("Bearer \xe9", "token-wrong"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/jobs"), ("POST", "/v1/datasets"), ("GET", f"/v1/artifacts/{JOB}"), ("GET", "/schema")]
)
async def test_everything_but_health_needs_a_token(system: Any, authorization: str | None, code: str, method: str, path: str) -> None:
    """401 says how to authenticate, before anything is looked at."""
    async with httpx.AsyncClient(base_url=system.http.base_url) as stranger:
        headers = {} if authorization is None else {b"Authorization": authorization.encode("latin-1")}
        response = await stranger.request(method, path, headers=headers)
        await system.problem(response, 401, code)
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert (await stranger.get("/health/live")).status_code == 200
        assert (await stranger.get("/health/ready")).json() == {"status": "ok", "reasons": []}


FULL, LOCKED = sqlite3.OperationalError("database or disk is full"), sqlite3.OperationalError("database is locked")
FULL.sqlite_errorcode, LOCKED.sqlite_errorcode = sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/path"), 507, "storage-full"),
        (OperationalError("insert", {}, FULL), 507, "storage-full"),
        (OperationalError("insert", {}, LOCKED), 503, "storage-away"),
        (OSError(errno.EBADF, "Bad file descriptor"), 500, "internal-error"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_what_cannot_be_stored_is_told_from_a_fault(
    system: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    """A client knows whether to wait, to make room, or to report it; of paths and statements it hears nothing."""

    def broken(*_: object) -> bool:
        raise error

    monkeypatch.setattr("api.auth.allowed", broken)
    response = await system.http.get("/v1/jobs")
    await system.problem(response, status, code)
    assert ("retry-after" in response.headers) == (status == 503)
    assert "path" not in response.text
    assert "insert" not in response.text


async def test_a_right_that_is_missing_is_named(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """403 where the policy says no: on a route, and on raw data behind a route that is otherwise allowed."""
    dataset = await system.ready(attested=False)
    job = (await system.http.get(f"/v1/datasets/{dataset}")).json()["job"]
    (output,) = (await system.http.get(f"/v1/jobs/{job}")).json()["outputs"]
    monkeypatch.setitem(RIGHTS, Role.ADMINISTRATOR, frozenset(Verb) - {Verb.RAW_READ, Verb.BUDGET_SET})
    for path in (f"/v1/datasets/{dataset}/schema", f"/v1/datasets/{dataset}/profile", output["href"]):
        assert (await system.problem(await system.http.get(path), 403, "forbidden"))["right"] == "raw.read"
    await system.problem(await system.http.put(f"/v1/budgets/{dataset}", json={"epsilon": 1}), 403, "forbidden")
    assert (await system.http.get(f"/v1/datasets/{dataset}")).status_code == 200


async def test_a_fault_of_ours_tells_nothing_of_the_inside(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 with a document; the traceback goes to the log."""

    def broken(*_: object) -> bool:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("api.auth.allowed", broken)
    response = await system.http.get("/v1/jobs")
    await system.problem(response, 500, "internal-error")
    assert "secret" not in response.text


async def test_the_description_names_every_operation(system: Any) -> None:
    """OpenAPI at /schema: each operation has an id of its own, a summary and a description, and the upload its form."""
    described = (await system.http.get("/schema")).json()
    operations = [operation for path in described["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids)) > 20
    assert all(operation["summary"] and operation["description"] for operation in operations)
    upload = described["paths"]["/v1/datasets"]["post"]["requestBody"]["content"]
    assert set(upload["multipart/form-data"]["schema"]["properties"]) == {"file", "name", "schema", *OPTIONS}
    body = described["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "SynthesizeBody" in json.dumps(body)
