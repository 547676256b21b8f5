"""Jobs over HTTP: promised durably, seen at once, followed to their end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from contracts import subjects
from contracts.commands import CancelJob, RunJob
from contracts.cost import Cost
from contracts.events import JobAccepted, JobCancelled, JobCompleted, JobFailed, JobRefused, JobStarted
from contracts.ids import ADMINISTRATOR, new_id
from contracts.jobs import Output
from contracts.records import Progress

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_accepted_job_is_on_the_bus_with_its_event_before_its_command(system: Any) -> None:
    """202 names the job, where it is, and where its acceptance is stored; event and command carry the principal and one correlation."""
    response = await system.http.post("/v1/jobs", json={"kind": "noop"})
    body = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/jobs/{body['id']}" == body["links"]["self"]
    assert body["state"] == "accepted"
    (event,) = await system.stored(subjects.EVENTS, body["id"])
    (command,) = await system.sent(body["id"])
    assert isinstance(event.message, JobAccepted)
    assert isinstance(command.message, RunJob)
    assert event.principal == ADMINISTRATOR
    assert command.correlationid == event.correlationid
    assert command.causationid == event.id


async def test_what_was_accepted_is_seen_at_once(system: Any) -> None:
    """The client that was told of a job can look at it, without waiting for anything it knows of."""
    job = await system.noop()
    seen = (await system.http.get(job["links"]["self"])).json()
    assert (seen["id"], seen["kind"], seen["state"], seen["sequence"]) == (job["id"], "noop", "queued", job["sequence"])


async def test_min_seq_waits_until_an_event_is_in_the_answer(system: Any) -> None:
    """A reader who knows an event's sequence sees its effect."""
    job = (await system.noop())["id"]
    sequence = await system.say(JobCompleted(job=job, attempt=1))
    seen = (await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")).json()
    assert (seen["state"], seen["sequence"]) == ("completed", sequence)


async def test_the_same_key_and_body_give_the_same_job(system: Any) -> None:
    """A client that heard no answer asks again, and nothing happens twice; another body under the key is refused."""
    headers = {"Idempotency-Key": new_id("key")}
    first, again = [await system.http.post("/v1/jobs", json={"kind": "noop"}, headers=headers) for _ in range(2)]
    assert first.json()["id"] == again.json()["id"]
    assert again.status_code == 202
    assert len(await system.sent(first.json()["id"])) == 1
    other = await system.http.post("/v1/jobs", json={"kind": "noop", "project": "prj_" + "1" * 32}, headers=headers)
    await system.problem(other, 409, "idempotency-key-reused")


async def test_concurrent_requests_under_one_key_give_one_job(system: Any) -> None:
    """Whoever comes second is told what the first was promised."""
    headers = {"Idempotency-Key": new_id("key")}
    answers = await asyncio.gather(*(system.http.post("/v1/jobs", json={"kind": "noop"}, headers=headers) for _ in range(8)))
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_prefer_wait_answers_with_the_end(system: Any) -> None:
    """The answer to a request that waits is the ended job; one that waits in vain gets it as it stands."""
    job = (await system.noop())["id"]
    waiting = asyncio.create_task(system.http.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=10"}))
    in_vain = await system.http.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=0"})
    assert in_vain.json()["state"] == "queued"
    await system.say(JobStarted(job=job, attempt=1))
    await system.say(JobCompleted(job=job, attempt=1))
    answer = await waiting
    assert answer.json()["state"] == "completed"
    assert answer.headers["preference-applied"] == "wait=10"


async def test_cancelling_sends_one_command_however_often_it_is_asked(system: Any) -> None:
    """The executor is told once; asking after the end changes nothing."""
    job = (await system.noop())["id"]
    for _ in range(2):
        response = await system.http.post(f"/v1/jobs/{job}:cancel")
        assert (response.status_code, response.json()["id"]) == (202, job)
    sent = await system.sent(job, 2)
    assert [type(command.message) for command in sent] == [RunJob, CancelJob]
    sequence = await system.say(JobCancelled(job=job, attempt=0))
    await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")
    late = await system.http.post(f"/v1/jobs/{job}:cancel")
    assert (late.status_code, late.json()["state"]) == (202, "cancelled")


async def test_a_failure_is_told_as_its_problem_document(system: Any) -> None:
    """Whoever looks at a failed job reads what its worker wrote down; the traceback is apart."""
    job = (await system.noop())["id"]
    document = {
        "type": "urn:halftone:problem:row-ragged",
        "title": "Ragged",
        "status": 422,
        "detail": "Line 7.",
        "code": "row-ragged",
        "line": 7,
    }
    problem = system.objects.put(new_id("obj"), json.dumps(document).encode())
    log = system.objects.put(new_id("obj"), b"Traceback", "text/plain", ".log")
    sequence = await system.say(JobFailed(job=job, attempt=1, code="row-ragged", problem=problem, log=log))
    seen = (await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")).json()
    assert seen["problem"] == document
    assert (await system.http.get(seen["links"]["log"])).text == "Traceback"


async def test_a_job_that_has_not_failed_has_no_log(system: Any) -> None:
    """There is nothing to show, and the answer says so."""
    job = (await system.noop())["id"]
    await system.problem(await system.http.get(f"/v1/jobs/{job}/log"), 404, "not-found")


async def test_a_refusal_says_what_was_asked_and_what_is_left(system: Any) -> None:
    """The numbers a person needs to act are in the problem document."""
    dataset = await system.ready()
    asked = await system.http.post("/v1/jobs", json={"kind": "synthesize", "dataset": dataset, "epsilon": 1.0})
    job = asked.json()["id"]
    account = (await system.http.get(f"/v1/datasets/{dataset}")).json()["account"]
    refused = JobRefused(job=job, code="budget-exhausted", account=account, asked=Cost(rho=9), left=Cost(rho=2))
    sequence = await system.say(refused)
    problem = (await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")).json()["problem"]
    assert (problem["code"], problem["status"]) == ("budget-exhausted", 409)
    assert (problem["asked"]["rho"], problem["left"]["rho"]) == (9, 2)


async def test_lists_are_paged_and_filtered(system: Any) -> None:
    """The pages together are the list, the newest first; a filter leaves the rest out."""
    jobs = [(await system.noop())["id"] for _ in range(3)]
    sequence = await system.say(JobCompleted(job=jobs[0], attempt=1))
    pages: list[Any] = []
    cursor = ""
    while len(pages) < 3:
        page = (await system.http.get(f"/v1/jobs?limit=1&min_seq={sequence}{cursor}")).json()
        pages += page["items"]
        cursor = f"&cursor={page['next']}"
    assert [job["id"] for job in pages] == jobs[::-1]
    completed = (await system.http.get("/v1/jobs?state=completed&kind=noop")).json()["items"]
    assert jobs[0] in {job["id"] for job in completed}
    assert {job["state"] for job in completed} == {"completed"}


async def _told(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


async def test_a_job_is_followed_from_its_acceptance_to_its_end(system: Any) -> None:
    """Events with their sequences, progress without one in between, and then the stream ends; it can be taken up again anywhere."""
    job = await system.noop()
    path = job["links"]["events"]
    async with system.http.stream("GET", path) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = _told(response)
        first = await anext(events)
        assert (first["id"], first["event"]) == (str(job["sequence"]), JobAccepted.TYPE)
        started = await system.say(JobStarted(job=job["id"], attempt=1))
        assert (await anext(events))["id"] == str(started)
        progress = Progress(job=job["id"], attempt=1, step="fit", fraction=0.5)
        await system.bus.publish(subjects.progress(job["id"]), progress.model_dump_json().encode())
        advanced = await anext(events)
        assert advanced["event"] == "progress"
        assert "id" not in advanced
        assert json.loads(advanced["data"]) == {"attempt": 1, "step": "fit", "fraction": 0.5, "left": None}
        ended = await system.say(JobCompleted(job=job["id"], attempt=1))
        rest = [event async for event in events]
        assert [(event["id"], event["event"]) for event in rest] == [(str(ended), JobCompleted.TYPE)]
    for last, expected in ((started, [str(ended)]), (ended, [])):
        async with system.http.stream("GET", path, headers={"Last-Event-ID": str(last)}) as response:
            assert [event["id"] async for event in _told(response)] == expected


async def test_an_artifact_is_downloaded_whole_in_part_or_not_again(system: Any) -> None:
    """The file comes with its hash; a range gives that part; a copy that is still good is not sent again."""
    job = (await system.noop())["id"]
    content = bytes(range(256)) * 20
    stored = system.objects.put(new_id("obj"), content, "application/vnd.apache.parquet", ".parquet")
    sequence = await system.say(JobCompleted(job=job, attempt=1, outputs=(Output(role="table", object=stored),)))
    (output,) = (await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")).json()["outputs"]
    whole = await system.http.get(output["href"])
    assert (whole.status_code, whole.content) == (200, content)
    assert whole.headers["etag"] == f'"{system.objects.info(stored).sha256}"'
    assert whole.headers["content-disposition"] == f'attachment; filename="table-{stored}.parquet"'
    assert whole.headers["content-length"] == str(len(content))
    for asked, part in (("bytes=10-19", content[10:20]), ("bytes=5000-", content[5000:]), ("bytes=-7", content[-7:])):
        response = await system.http.get(output["href"], headers={"Range": asked})
        assert (response.status_code, response.content) == (206, part)
    await system.problem(await system.http.get(output["href"], headers={"Range": "bytes=9000-"}), 416, "range-wrong")
    again = await system.http.get(output["href"], headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_what_would_come_is_told_without_it(system: Any) -> None:
    """HEAD answers as GET would, without the file; a range is not for it."""
    href, content = await artifact(system)
    whole = await system.http.get(href)
    for asked in ({}, {"Range": "bytes=0-1"}):
        head = await system.http.head(href, headers=asked)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(content))
        for name in ("etag", "repr-digest", "content-type", "content-disposition", "accept-ranges", "cache-control"):
            assert head.headers[name] == whole.headers[name]
    assert (await system.http.head(href, headers={"If-None-Match": whole.headers["etag"]})).status_code == 304
    missing = await system.http.head("/v1/artifacts/obj_" + "0" * 32)
    assert (missing.status_code, missing.content) == (404, b"")


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-0", 206, 0, 0),
        ("Bytes=0-0", 206, 0, 0),
        ("bytes=5119-", 206, 5119, 5119),
        ("bytes=5000-99999999", 206, 5000, 5119),
        ("bytes=-99999", 206, 0, 5119),
        ("bytes=5120-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=0-1,4-5", 200, 0, 5119),
        ("bytes=5-4", 200, 0, 5119),
        ("bytes=a-b", 200, 0, 5119),
        ("bytes=-", 200, 0, 5119),
        ("lines=1-2", 200, 0, 5119),
        ("bytes=" + "9" * 19 + "-", 200, 0, 5119),
    ],
)
async def test_a_range_is_given_or_refused_or_ignored(system: Any, asked: str, status: int, first: int, last: int) -> None:
    """RFC 9110: one range of bytes within the file is given; one outside is 416 with the size; anything else is as if it were not there."""
    href, content = await artifact(system)
    answer = await system.http.get(href, headers={"Range": asked})
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(content)}"
        assert answer.json()["size"] == len(content)
    else:
        assert answer.content == content[first : last + 1]
        assert answer.headers.get("content-range") == (f"bytes {first}-{last}/{len(content)}" if status == 206 else None)


async def test_a_range_on_condition_is_of_the_same_file(system: Any) -> None:
    """If-Range: the strong tag alone says that the part fits; a weak one, a date and another tag get the whole file."""
    href, content = await artifact(system)
    tag = (await system.http.head(href)).headers["etag"]
    for condition, status in ((tag, 206), (f"W/{tag}", 200), ('"other"', 200), ("Wed, 21 Oct 2026 07:28:00 GMT", 200)):
        answer = await system.http.get(href, headers={"Range": "bytes=1-2", "If-Range": condition})
        assert (answer.status_code, answer.content) == (status, content[1:3] if status == 206 else content)
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        assert (await system.http.get(href, headers={"If-None-Match": known, "Range": "bytes=1-2"})).status_code == 304
    assert (await system.http.get(href, headers={"If-None-Match": '"other"'})).status_code == 200


async def artifact(system: Any) -> tuple[str, bytes]:
    """The path of a file of 5,120 bytes, and what is in it."""
    job, content = (await system.noop())["id"], bytes(range(256)) * 20
    stored = system.objects.put(new_id("obj"), content, "application/vnd.apache.parquet", ".parquet")
    sequence = await system.say(JobCompleted(job=job, attempt=1, outputs=(Output(role="table", object=stored),)))
    (output,) = (await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")).json()["outputs"]
    return str(output["href"]), content


async def test_an_object_that_is_no_jobs_output_is_not_given_out(system: Any) -> None:
    """Uploads and schemas are objects too; knowing an id is not enough."""
    hidden = system.objects.put(new_id("obj"), b"rows")
    await system.problem(await system.http.get(f"/v1/artifacts/{hidden}"), 404, "not-found")
