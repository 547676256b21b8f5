"""Datasets over HTTP: streamed in, described, attested, synthesized from."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from api.uploads import plain_name
from contracts import subjects
from contracts.commands import ReserveBudget, RunJob
from contracts.cost import NOTHING
from contracts.events import (
    DatasetProfiled,
    DatasetRegistered,
    DatasetVersionAdded,
    JobAccepted,
    JobCompleted,
    JobFailed,
    Origin,
    SchemaAttested,
)
from contracts.ids import ADMINISTRATOR, new_id
from contracts.jobs import IngestSpec, Output, Use
from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.privacy.conversion import job_cost

pytestmark = pytest.mark.asyncio(loop_scope="module")


def parts(home: Any) -> list[str]:
    """Drafts of objects that are left behind."""
    return [str(path) for path in home.objects.rglob("*.part")]


def objects(home: Any) -> int:
    return sum(1 for path in home.objects.rglob("obj_*") if path.suffix != ".json")


async def test_an_upload_becomes_an_object_and_a_job(system: Any) -> None:
    """The bytes are stored as they came; the dataset is registered, and its ingest job accepted, in that order."""
    content = b"a,b\n" + os.urandom(200_000).hex().encode()[:280_000]
    answer = await system.upload(content, name="Café customers")
    dataset, job = answer["dataset"], answer["job"]
    events = await system.stored(subjects.EVENTS, job)
    assert [type(event.message) for event in events] == [DatasetRegistered, JobAccepted]
    (command,) = await system.sent(job)
    assert isinstance(command.message, RunJob)
    spec: Any = command.message.spec
    assert isinstance(spec, IngestSpec)
    assert (spec.dataset, spec.version, spec.stored, spec.declared) == (dataset, 1, False, None)
    assert system.objects.read(spec.source) == content
    seen = (await system.http.get(f"/v1/datasets/{dataset}")).json()
    assert (seen["name"], seen["state"], seen["origin"], seen["job"]) == ("Café customers", "ingesting", "real", job)


async def test_names_and_files_never_cross_the_bus(system: Any) -> None:
    """What a person wrote stays in the edge's own database."""
    answer = await system.upload(name="a telling name")
    told = [*await system.stored(subjects.EVENTS, answer["dataset"]), *await system.stored(subjects.COMMANDS, answer["dataset"])]
    assert len(told) == 3
    assert not any(b"telling" in envelope.dump() or b"people.csv" in envelope.dump() for envelope in told)


async def test_the_same_content_falls_under_the_same_budget(system: Any) -> None:
    """Uploading a table again gives no new budget; another table has one of its own, which its content cannot be told from."""
    content = os.urandom(50)
    first, again, other = await system.upload(content), await system.upload(content), await system.upload()
    accounts = [(await system.http.get(f"/v1/datasets/{d['dataset']}")).json()["account"] for d in (first, again, other)]
    assert accounts[0] == accounts[1] != accounts[2]
    assert first["dataset"] != again["dataset"]


async def test_an_upload_again_under_its_key_registers_and_keeps_nothing_more(system: Any) -> None:
    """A client that heard no answer sends the file again and learns of the first dataset; other content under the key is refused."""
    headers = {"Idempotency-Key": new_id("key")}
    content = os.urandom(50)
    first = await system.http.post("/v1/datasets", files={"file": ("a.csv", content)}, headers=headers)
    held = objects(system.home)
    again = await system.http.post("/v1/datasets", files={"file": ("a.csv", content)}, headers=headers)
    assert (again.status_code, again.json()["dataset"]) == (202, first.json()["dataset"])
    other = await system.http.post("/v1/datasets", files={"file": ("a.csv", b"x")}, headers=headers)
    await system.problem(other, 409, "idempotency-key-reused")
    assert objects(system.home) == held


@pytest.mark.parametrize(
    ("files", "data", "status", "code"),
    [
        pytest.param({"file": ("a.csv", b"")}, {}, 422, "file-empty", id="empty file"),
        pytest.param({"name": (None, b"x")}, {}, 422, "file-missing", id="no file"),
        pytest.param({"file": (None, b"a,b\n1,2\n")}, {}, 422, "request-invalid", id="file without a file name"),
        pytest.param({"file": ("a.csv", b"x" * 300_001)}, {}, 413, "too-large", id="too large"),
        pytest.param({"file": ("a.csv", b"x"), "more": ("b.csv", b"y")}, {}, 422, "request-invalid", id="unknown part"),
        pytest.param({"file": ("a.csv", b"x")}, {"name": "n" * 257}, 422, "request-invalid", id="long name"),
        pytest.param({"file": ("a.csv", b"x")}, {"schema": "{"}, 400, "body-not-json", id="schema that is not JSON"),
        pytest.param({"file": ("a.csv", b"x")}, {"schema": '{"columns": []}'}, 422, "request-invalid", id="schema without columns"),
    ],
)
async def test_an_upload_that_cannot_be_used_leaves_nothing(
    system: Any, files: dict[str, Any], data: dict[str, str], status: int, code: str
) -> None:
    """The answer names what is wrong; no object, no draft and no dataset is left behind."""
    held = objects(system.home)
    await system.problem(await system.http.post("/v1/datasets", files=files, data=data), status, code)
    assert objects(system.home) == held
    assert parts(system.home) == []


async def test_an_announced_length_beyond_the_limit_is_refused_unread(system: Any) -> None:
    """Nobody sends a gigabyte that will not be taken: the answer comes before the body."""
    reader, writer = await asyncio.open_connection(system.http.base_url.host, system.http.base_url.port)
    head = "POST /v1/datasets HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 10000000000\r\n"
    writer.write(f"{head}Authorization: {system.http.headers['authorization']}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        pytest.param(b"a,b", "text/csv", 415, "content-type-wrong", id="CSV without a form"),
        pytest.param(
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx',
            "multipart/form-data; boundary=b",
            422,
            "request-invalid",
            id="cut off",
        ),
        pytest.param(b"nonsense", "multipart/form-data; boundary=b", 422, "request-invalid", id="no parts"),
        pytest.param(b"x", "multipart/form-data", 415, "content-type-wrong", id="no boundary"),
    ],
)
async def test_a_body_that_is_no_form_is_refused(system: Any, body: bytes, content_type: str, status: int, code: str) -> None:
    """What is needed is said, and nothing is left."""
    response = await system.http.post("/v1/datasets", content=body, headers={"Content-Type": content_type})
    await system.problem(response, status, code)
    assert parts(system.home) == []


async def test_a_hostile_file_name_is_a_name_to_show_and_nothing_else(system: Any) -> None:
    """No path of it is used, and control characters are gone."""
    response = await system.http.post("/v1/datasets", files={"file": ("..\\..\\etc/passwd.csv", b"x" + os.urandom(8))})
    assert (await system.http.get(response.headers["location"])).json()["name"] == "passwd.csv"
    assert [plain_name(name) for name in ("a\x01\nb", "/", "\u202e", "x" * 999)] == ["ab", "upload", "upload", "x" * 256]


async def test_a_failed_ingest_makes_a_failed_dataset_that_jobs_refuse(system: Any) -> None:
    """The dataset carries the ingestor's problem, a synthesis of it is a conflict, and the upload is removed."""
    answer = await system.upload()
    dataset, job = answer["dataset"], answer["job"]
    (command,) = await system.sent(job)
    document = b'{"type":"urn:halftone:problem:file-truncated","title":"T","status":422,"detail":"The file ends.","code":"file-truncated"}'
    problem = system.objects.put(new_id("obj"), document)
    sequence = await system.say(JobFailed(job=job, attempt=1, code="file-truncated", problem=problem))
    seen = (await system.http.get(f"/v1/datasets/{dataset}?min_seq={sequence}")).json()
    assert (seen["state"], seen["problem"]["code"]) == ("failed", "file-truncated")
    asked = await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": dataset, "epsilon": 1})
    assert (await system.problem(asked, 409, "dataset-failed"))["job"] == job
    await system.problem(await system.http.get(f"/v1/datasets/{dataset}/profile"), 409, "dataset-failed")
    source = command.message.spec.source
    while (await asyncio.to_thread(_exists, system, source)) is True:
        await system.http.get("/health/live")


def _exists(system: Any, object_id: str) -> bool:
    try:
        return bool(system.objects.path(object_id))
    except LookupError:
        return False


async def test_a_schema_is_proposed_then_attested(system: Any) -> None:
    """What was inferred is a proposal; putting it, changed, attests it in the caller's name, and has the rows profiled against it."""
    dataset = await system.ready(attested=False)
    path = f"/v1/datasets/{dataset}/schema"
    proposed = (await system.http.get(path)).json()
    assert (proposed["status"], proposed["attested_by"]) == ("proposed", None)
    changed = {**proposed, "tables": [{**proposed["tables"][0], "name": "changed"}]}
    answer = await system.http.put(path, json=changed)
    assert answer.status_code == 200
    attested = answer.json()
    assert (attested["status"], attested["attested_by"], attested["tables"][0]["name"]) == ("attested", ADMINISTRATOR, "changed")
    assert {column["attested_by"] for column in attested["tables"][0]["columns"]} == {ADMINISTRATOR}
    assert (await system.http.get(path)).json() == {**attested, "job": None}
    (told,) = [e for e in await system.stored(subjects.EVENTS, dataset) if isinstance(e.message, SchemaAttested)]
    (command,) = await system.sent(attested["job"])
    spec: Any = command.message.spec
    assert (spec.stored, spec.declared) == (True, told.message.declared)


async def test_a_schema_given_with_the_upload_is_attested_from_the_start(system: Any) -> None:
    """Whoever uploads with a schema states that it is public; the ingestor checks the rows against it."""
    schema = '{"columns": [{"name": "age", "type": "integer", "minimum": 0, "maximum": 120}]}'
    answer = await system.upload(schema=schema)
    (command,) = await system.sent(answer["job"])
    assert command.message.spec.declared is not None
    seen = (await system.http.get(f"/v1/datasets/{answer['dataset']}/schema")).json()
    assert (seen["status"], seen["attested_by"], seen["tables"][0]["columns"][0]["maximum"]) == ("attested", ADMINISTRATOR, 120)
    assert SchemaAttested in [type(event.message) for event in await system.stored(subjects.EVENTS, answer["dataset"])]


async def test_a_schema_that_does_not_fit_is_refused_by_column(system: Any) -> None:
    """An absent column, a wrong type and an unknown field each name the column or field."""
    dataset = await system.ready(attested=False)
    path = f"/v1/datasets/{dataset}/schema"
    age = {"name": "age", "type": "integer"}
    absent = await system.problem(
        await system.http.put(path, json={"columns": [age, {"name": "town", "type": "text"}]}), 422, "schema-column-absent"
    )
    assert absent["column"] == "town"
    dated = {"columns": [{"name": "age", "type": "date"}, {"name": "city", "type": "text"}]}
    assert (await system.problem(await system.http.put(path, json=dated), 422, "schema-type-mismatch"))["column"] == "age"
    unknown = await system.problem(await system.http.put(path, json={"columns": [{**age, "kind": "x"}]}), 422, "request-invalid")
    assert [error["parameter"] for error in unknown["errors"]] == ["tables.0.columns.0.kind"], "and nothing that follows from it"
    empty = await system.problem(await system.http.put(path, json={"columns": []}), 422, "request-invalid")
    assert empty["detail"] == "tables.0.columns: must have at least 1 item, not 0"
    assert (await system.http.get(path)).json()["status"] == "proposed"


async def test_a_schema_waits_for_the_rows(system: Any) -> None:
    """There is nothing to attest, and no profile, while a dataset is taken in."""
    dataset = (await system.upload())["dataset"]
    await system.problem(
        await system.http.put(f"/v1/datasets/{dataset}/schema", json={"columns": [{"name": "a", "type": "text"}]}), 409, "dataset-ingesting"
    )
    await system.problem(await system.http.get(f"/v1/datasets/{dataset}/profile"), 409, "dataset-ingesting")


async def test_a_profile_is_given_as_it_was_stored(system: Any) -> None:
    """The profile is the ingestor's own document."""
    answer = await system.upload()
    await system.ingest(answer["dataset"], answer["job"])
    profile = system.objects.put(new_id("obj"), b'{"rows": 2}')
    sequence = await system.say(DatasetProfiled(dataset=answer["dataset"], version=1, profile=profile, job=answer["job"]))
    await system.http.get(f"/v1/datasets/{answer['dataset']}?min_seq={sequence}")
    assert (await system.http.get(f"/v1/datasets/{answer['dataset']}/profile")).json() == {"rows": 2}
    (version,) = (await system.http.get(f"/v1/datasets/{answer['dataset']}/versions")).json()["items"]
    assert (version["version"], version["profile"]) == (1, profile)


async def test_a_synthesis_asks_the_keeper_for_exactly_its_cost(system: Any) -> None:
    """The first command reserves what the stated epsilon and delta mean; the job's dataset is registered beside its parent's budget."""
    dataset = await system.ready()
    body = {"kind": "synthesize", "dataset": dataset, "epsilon": 0.5, "delta": 1e-8, "rows": 100, "seed": 7, "name": "made up"}
    answer = await system.http.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()["id"]
    (command,) = await system.sent(job)
    reserve = command.message
    assert isinstance(reserve, ReserveBudget)
    assert (reserve.use, reserve.step, reserve.cost) == (Use.CHARGE, "measure", job_cost(0.5, 1e-8))
    spec: Any = reserve.then.spec
    assert (spec.epsilon, spec.delta, spec.engine, spec.rows, spec.seed) == (500_000_000, 10**10, "marginal", 100, 7)
    made = (await system.http.get(answer.json()["links"]["dataset"])).json()
    assert (made["name"], made["origin"], made["parents"], made["account"]) == ("made up", "synthetic", [dataset], spec.account)
    inherited = (await system.http.get(f"/v1/datasets/{made['id']}/schema")).json()
    assert inherited["tables"] == (await system.http.get(f"/v1/datasets/{dataset}/schema")).json()["tables"]


async def test_an_evaluation_observes_and_names_the_real_parent(system: Any) -> None:
    """Raw figures cost nothing and are entered: the command goes to the keeper first, for the account of the real dataset."""
    dataset = await system.ready()
    answer = (await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": dataset, "epsilon": 1})).json()
    target = answer["links"]["dataset"].rsplit("/", 1)[1]
    await system.problem(await system.http.post("/v1/jobs", json={"kind": "evaluate", "dataset": target}), 409, "dataset-ingesting")
    table = system.objects.put(new_id("obj"), b"PAR1")
    await system.say(DatasetVersionAdded(dataset=target, version=1, origin=Origin.SYNTHETIC, table=table, job=answer["id"]))
    sequence = await system.say(JobCompleted(job=answer["id"], attempt=1))
    await system.http.get(f"/v1/jobs/{answer['id']}?min_seq={sequence}")
    evaluated = await system.http.post("/v1/jobs", json={"kind": "evaluate", "dataset": target})
    assert evaluated.status_code == 202, evaluated.text
    (command,) = await system.sent(evaluated.json()["id"])
    assert (command.message.use, command.message.step, command.message.cost) == (Use.OBSERVE, "observe", NOTHING)
    spec = command.message.then.spec
    assert (spec.real.dataset, spec.synthetic.table) == (dataset, table)
    await system.problem(await system.http.get(f"/v1/evaluations/{evaluated.json()['id']}"), 409, "not-evaluated")
    backwards = await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": target, "epsilon": 1})
    await system.problem(backwards, 422, "origin-wrong")


async def test_a_synthesis_needs_an_attested_schema_with_domains(system: Any) -> None:
    """What was read off the data is never used for noise: without a person's word, or with a column left open, nothing is accepted."""
    open_ended = TableSchema(
        columns=(ColumnSchema(name="age", type=ColumnType.INTEGER, minimum=0), ColumnSchema(name="note", type=ColumnType.TEXT))
    )
    dataset = await system.ready(open_ended, attested=False)
    body = {"kind": "synthesize", "dataset": dataset, "epsilon": 1}
    await system.problem(await system.http.post("/v1/jobs", json=body), 409, "schema-not-attested")
    await system.http.put(f"/v1/datasets/{dataset}/schema", json=open_ended.model_dump(mode="json", exclude_none=True))
    refused = await system.problem(await system.http.post("/v1/jobs", json=body), 422, "domain-not-declared")
    assert (refused["column"], refused["declare"]) == ("age", "minimum and maximum")


async def test_a_report_is_read_where_its_evaluation_is(system: Any) -> None:
    """A completed evaluation is listed by dataset, and its report is its worker's own document."""
    dataset = await system.ready()
    answer = (await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": dataset, "epsilon": 1})).json()
    target = answer["links"]["dataset"].rsplit("/", 1)[1]
    await system.say(DatasetVersionAdded(dataset=target, version=1, origin=Origin.SYNTHETIC, table=new_id("obj"), job=answer["id"]))
    sequence = await system.say(JobCompleted(job=answer["id"], attempt=1))
    await system.http.get(f"/v1/jobs/{answer['id']}?min_seq={sequence}")
    job = (await system.http.post("/v1/jobs", json={"kind": "evaluate", "dataset": target, "seed": 3})).json()["id"]
    report = system.objects.put(new_id("obj"), b'{"accuracy": 0.9}')
    sequence = await system.say(JobCompleted(job=job, attempt=1, outputs=(Output(role="report", object=report),)))
    await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")
    for of in (dataset, target):
        (listed,) = (await system.http.get(f"/v1/evaluations?dataset={of}")).json()["items"]
        assert (listed["job"], listed["dataset"], listed["real"]) == (job, target, dataset)
    assert (await system.http.get(f"/v1/evaluations/{job}")).json() == {"accuracy": 0.9}
    await system.problem(await system.http.get(f"/v1/evaluations/{answer['id']}"), 404, "not-found")
