"""Tables over HTTP: as they are, or in another format that a worker writes once; raw rows for those with the right to them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from typing import Any

import pytest

from api.policy import RIGHTS, Role, Verb
from contracts import subjects
from contracts.commands import ReserveBudget, RunJob
from contracts.events import DatasetVersionAdded, JobCancelled, JobCompleted, JobFailed, JobStarted, Origin
from contracts.ids import new_id
from contracts.jobs import ExportSpec, Output, Use

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = bytes(range(256)) * 20


@pytest.fixture
def no_raw_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator's role without the right to raw data."""
    monkeypatch.setitem(RIGHTS, Role.ADMINISTRATOR, frozenset(Verb) - {Verb.RAW_READ})


async def synthetic(system: Any) -> dict[str, str]:
    """A synthetic dataset with rows, and the path of its table."""
    real = await system.ready()
    answer = (await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": real, "epsilon": 1})).json()
    dataset = answer["links"]["dataset"].rsplit("/", 1)[1]
    table = system.objects.put(new_id("obj"), ROWS, "application/vnd.apache.parquet", ".parquet")
    await system.say(DatasetVersionAdded(dataset=dataset, version=1, origin=Origin.SYNTHETIC, table=table, job=answer["id"]))
    await done(system, answer["id"], Output(role="table", object=table))
    return {"dataset": dataset, "table": table, "path": f"/v1/datasets/{dataset}/versions/1/table"}


async def done(system: Any, job: str, *outputs: Output) -> None:
    sequence = await system.say(JobCompleted(job=job, attempt=1, outputs=outputs))
    await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")


async def written(system: Any, job: str, content: bytes = b"age,city\n41,Bern\n", extension: str = ".csv") -> str:
    """The end of an export, as the ingestor tells of it. Gives the file's id."""
    exported: str = system.objects.put(new_id("obj"), content, "text/csv; charset=utf-8; header=present", extension)
    await done(system, job, Output(role="export", object=exported))
    return exported


async def test_made_rows_are_given_out_as_they_are_stored(system: Any) -> None:
    """Parquet needs no job: the file comes at once, with a name that says of what it is."""
    made = await synthetic(system)
    answer = await system.http.get(made["path"])
    assert (answer.status_code, answer.content) == (200, ROWS)
    assert answer.headers["content-disposition"] == f'attachment; filename="{made["dataset"]}-v1.parquet"'
    assert (await system.http.get(f"/v1/artifacts/{made['table']}?format=parquet")).content == ROWS


async def test_another_format_is_written_once_and_then_given_out(system: Any) -> None:
    """202 with the job until it is done, however often one asks; then 200; and no second job."""
    made = await synthetic(system)
    path = made["path"] + "?format=csv"
    answers = await asyncio.gather(*(system.http.get(path) for _ in range(4)))
    (job,) = {answer.json()["id"] for answer in answers}
    assert {answer.status_code for answer in answers} == {202}
    assert (answers[0].headers["location"], answers[0].headers["retry-after"]) == (f"/v1/jobs/{job}", "1")
    (command,) = await system.sent(job)
    assert isinstance(command.message, RunJob)
    spec: Any = command.message.spec
    assert isinstance(spec, ExportSpec)
    assert (spec.source.table, spec.format, spec.account) == (made["table"], "csv", None)
    await system.http.get(f"/v1/jobs/{job}?min_seq={await system.say(JobStarted(job=job, attempt=1))}")
    assert (await system.http.get(path)).json()["id"] == job
    await written(system, job)
    for address in (path, f"/v1/artifacts/{made['table']}?format=csv"):
        answer = await system.http.get(address)
        assert (answer.status_code, answer.text) == (200, "age,city\n41,Bern\n")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert answer.headers["content-disposition"] == f'attachment; filename="{made["dataset"]}-v1.csv"'
    other = (await system.http.get(made["path"] + "?format=jsonl")).json()
    assert other["id"] != job


async def test_asking_what_would_come_has_nothing_written(system: Any) -> None:
    """HEAD of a file that nobody has asked for is 404 and starts no job; of one that is written it tells the size."""
    made = await synthetic(system)
    assert (await system.http.head(made["path"])).headers["content-length"] == str(len(ROWS))
    path = made["path"] + "?format=csv"
    assert (await system.http.head(path)).status_code == 404
    listed = (await system.http.get("/v1/jobs", params={"dataset": made["dataset"], "kind": "export"})).json()["items"]
    assert listed == []
    await written(system, (await system.http.get(path)).json()["id"])
    assert (await system.http.head(path)).headers["content-length"] == "17"


async def test_prefer_wait_gives_the_file_itself(system: Any) -> None:
    """Who waits for a job that is done in time sees nothing of it; who waits in vain gets the promise."""
    made = await synthetic(system)
    path = made["path"] + "?format=csv"
    in_vain = await system.http.get(path, headers={"Prefer": "wait=0"})
    assert in_vain.status_code == 202
    waiting = asyncio.create_task(system.http.get(path, headers={"Prefer": "wait=10"}))
    await written(system, in_vain.json()["id"])
    assert (await waiting).text == "age,city\n41,Bern\n"


async def test_an_export_that_failed_says_why_until_it_is_tried_again(system: Any) -> None:
    """The worker's problem is the answer, with the way to try again; a cancelled one is just asked for anew."""
    made = await synthetic(system)
    path = made["path"] + "?format=xlsx"
    job = (await system.http.get(path)).json()["id"]
    document = {"type": "urn:halftone:problem:export-too-large", "title": "T", "status": 422, "detail": "D", "code": "export-too-large"}
    problem = system.objects.put(new_id("obj"), json.dumps(document).encode())
    sequence = await system.say(JobFailed(job=job, attempt=1, code="export-too-large", problem=problem))
    await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")
    told = await system.problem(await system.http.get(path), 422, "export-too-large")
    assert (told["job"], told["retry"]) == (job, f"/v1/jobs/{job}:retry")
    retried = (await system.http.post(told["retry"])).json()
    again = retried["id"]
    await system.http.get(f"/v1/jobs/{again}?min_seq={retried['sequence']}")
    assert (await system.http.get(path)).json()["id"] == again
    sequence = await system.say(JobCancelled(job=again, attempt=0))
    await system.http.get(f"/v1/jobs/{again}?min_seq={sequence}")
    assert (await system.http.get(path)).json()["id"] not in {job, again}


async def test_a_file_that_is_gone_is_written_again(system: Any) -> None:
    """Removing an export loses nothing."""
    made = await synthetic(system)
    path = made["path"] + "?format=csv"
    job = (await system.http.get(path)).json()["id"]
    exported = await written(system, job)
    system.objects.delete(exported)
    await system.problem(await system.http.get(f"/v1/artifacts/{exported}"), 404, "not-found")
    answer = await system.http.get(path)
    assert answer.status_code == 202
    assert answer.json()["id"] != job


async def test_raw_rows_are_entered_before_they_are_given_out(system: Any) -> None:
    """Whatever the format, the keeper is asked to observe it, for the lineage's account; the artifact is no way round."""
    dataset = await system.ready()
    path = f"/v1/datasets/{dataset}/versions/1/table"
    held = (await system.http.get(f"/v1/datasets/{dataset}")).json()
    for address, form in ((path, "parquet"), (path + "?format=csv", "csv")):
        job = (await system.http.get(address)).json()["id"]
        (command,) = await system.sent(job)
        assert isinstance(command.message, ReserveBudget)
        assert (command.message.use, command.message.account, command.message.then.spec.format) == (Use.OBSERVE, held["account"], form)
        assert (await system.http.get(f"/v1/jobs/{job}")).json()["state"] == "accepted"
    table = await system.http.get(f"/v1/artifacts/{held['versions'][0]['table']}")
    assert table.status_code == 202
    assert len([e for e in await system.stored(subjects.EVENTS, dataset) if '"export"' in json.dumps(e.data)]) == 2
    exported = await written(system, job)
    assert (await system.http.get(f"/v1/artifacts/{exported}")).status_code == 200


@pytest.mark.usefixtures("no_raw_right")
async def test_raw_rows_are_refused_without_the_right_to_them(system: Any) -> None:
    """On every way: by version, by artifact, by job; synthetic rows are not."""
    dataset = await system.ready()
    ways = [await system.http.get(f"/v1/datasets/{dataset}/versions/1/table?format={form}") for form in ("csv", "parquet")]
    ways.append(await system.http.post("/v1/jobs", json={"kind": "export", "dataset": dataset, "format": "csv"}))
    for answer in ways:
        assert (await system.problem(answer, 403, "release-not-available"))["right"] == "raw.read"
    made = await synthetic(system)
    assert (await system.http.get(made["path"] + "?format=csv")).status_code == 202


async def test_a_raw_export_is_no_artifact_for_those_without_the_right(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written for someone who may see it; the right is asked for with each download."""
    dataset = await system.ready()
    job = (await system.http.get(f"/v1/datasets/{dataset}/versions/1/table?format=csv")).json()["id"]
    exported = await written(system, job)
    monkeypatch.setitem(RIGHTS, Role.ADMINISTRATOR, frozenset(Verb) - {Verb.RAW_READ})
    await system.problem(await system.http.get(f"/v1/artifacts/{exported}"), 403, "forbidden")
    await system.problem(await system.http.get(f"/v1/datasets/{dataset}/versions/1/table?format=csv"), 403, "release-not-available")


async def test_an_export_can_be_asked_for_as_a_job(system: Any) -> None:
    """By version, or the latest one; the version must be there."""
    made = await synthetic(system)
    body = {"kind": "export", "dataset": made["dataset"], "format": "jsonl"}
    job = (await system.http.post("/v1/jobs", json=body)).json()["id"]
    seen = (await system.http.get(f"/v1/jobs/{job}")).json()
    assert (seen["kind"], seen["spec"]["source"]["version"], seen["links"]["dataset"]) == ("export", 1, f"/v1/datasets/{made['dataset']}")
    missing = await system.problem(await system.http.post("/v1/jobs", json={**body, "version": 2}), 404, "not-found")
    assert missing["version"] == 2


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"format": "pdf"}, "format"),
        ({"format": None}, "format"),
        ({"version": 0}, "version"),
        ({"dataset": "x"}, "dataset"),
        ({"rows": 1}, "rows"),
    ],
    ids=str,
)
async def test_an_export_that_makes_no_sense_names_its_parameter(system: Any, change: dict[str, Any], parameter: str) -> None:
    """Wrong formats, versions and ids, and what does not belong here."""
    body = {"kind": "export", "dataset": "ds_" + "0" * 32, "format": "csv", **change}
    assert (await system.problem(await system.http.post("/v1/jobs", json=body), 422, "request-invalid"))["parameter"] == parameter


async def test_a_table_that_is_not_there_is_not_found(system: Any) -> None:
    """Unknown datasets and versions, formats that do not exist, and what has no rows yet."""
    made = await synthetic(system)
    await system.problem(await system.http.get(f"/v1/datasets/{made['dataset']}/versions/2/table"), 404, "not-found")
    await system.problem(await system.http.get(f"/v1/datasets/{made['dataset']}/versions/x/table"), 404, "not-found")
    await system.problem(await system.http.get(f"/v1/datasets/ds_{'0' * 32}/versions/1/table"), 404, "not-found")
    wrong = await system.problem(await system.http.get(made["path"] + "?format=pdf"), 422, "request-invalid")
    assert wrong["parameter"] == "format"
    assert "parquet" in wrong["detail"]
    waiting = (await system.upload())["dataset"]
    await system.problem(await system.http.get(f"/v1/datasets/{waiting}/versions/1/table"), 409, "dataset-ingesting")


async def test_only_tables_have_other_formats(system: Any) -> None:
    """A report in CSV is not a thing."""
    job = (await system.noop())["id"]
    stored = system.objects.put(new_id("obj"), b"{}")
    await done(system, job, Output(role="report", object=stored))
    problem = await system.problem(await system.http.get(f"/v1/artifacts/{stored}?format=csv"), 422, "format-not-available")
    assert problem["parameter"] == "format"


async def test_a_file_comes_with_what_is_needed_to_check_it(system: Any) -> None:
    """Length, type, and its SHA-256 as ETag and Repr-Digest (RFC 9530)."""
    made = await synthetic(system)
    headers = (await system.http.get(made["path"])).headers
    digest = hashlib.sha256(ROWS)
    assert headers["etag"] == f'"{digest.hexdigest()}"'
    assert headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert (headers["content-length"], headers["accept-ranges"]) == (str(len(ROWS)), "bytes")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=10-19", 10, 19),
        ("bytes=5000-", 5000, 5119),
        ("bytes=-7", 5113, 5119),
        ("bytes=-999999", 0, 5119),
        ("bytes=5119-5119", 5119, 5119),
        ("bytes=0-999999", 0, 5119),
    ],
)
async def test_a_range_gives_that_part(system: Any, asked: str, first: int, last: int) -> None:
    """206 with the part, its place and its length; one that ends beyond the file ends with it."""
    made = await synthetic(system)
    answer = await system.http.get(made["path"], headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, ROWS[first : last + 1])
    assert answer.headers["content-length"] == str(last + 1 - first)
    assert answer.headers["content-range"] == f"bytes {first}-{last}/5120"


@pytest.mark.parametrize("asked", ["rows=1-2", "bytes=", "bytes=-", "bytes=5-2", "bytes=1-2,5-6", "bytes=a-b"])
async def test_what_is_no_single_range_gives_the_whole(system: Any, asked: str) -> None:
    """RFC 9110: a Range that is not understood is ignored."""
    made = await synthetic(system)
    answer = await system.http.get(made["path"], headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, ROWS)


@pytest.mark.parametrize("asked", ["bytes=5120-", "bytes=999999-1000000", "bytes=-0"])
async def test_a_range_outside_the_file_says_how_long_it_is(system: Any, asked: str) -> None:
    """416 with Content-Range, so that the client can ask for what there is."""
    made = await synthetic(system)
    answer = await system.http.get(made["path"], headers={"Range": asked})
    await system.problem(answer, 416, "range-wrong")
    assert answer.headers["content-range"] == f"bytes */{len(ROWS)}"


async def test_a_download_goes_on_only_in_the_same_file(system: Any) -> None:
    """If-Range: the part while the file is the same, the whole of it once it is another."""
    made = await synthetic(system)
    etag = (await system.http.get(made["path"])).headers["etag"]
    for tag, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200), ("Sun, 06 Nov 1994 08:49:37 GMT", 200)):
        answer = await system.http.get(made["path"], headers={"Range": "bytes=1-2", "If-Range": tag})
        assert answer.status_code == status


async def test_a_copy_that_is_still_good_is_not_sent_again(system: Any) -> None:
    """304 for its tag, alone, among others, weak, or for any; not for another's. It goes before a range."""
    made = await synthetic(system)
    etag = (await system.http.get(made["path"])).headers["etag"]
    for given in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer = await system.http.get(made["path"], headers={"If-None-Match": given, "Range": "bytes=1-2"})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    for given in ('"x"', "", etag.strip('"')):
        assert (await system.http.get(made["path"], headers={"If-None-Match": given})).status_code == 200
