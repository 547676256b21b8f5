"""Hostile input: a clear problem for each, nothing stored, and no fault of ours in the log."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from api import problems
from contracts.events import JobCompleted
from contracts.ids import new_id
from infra.objects import Objects

pytestmark = pytest.mark.asyncio(loop_scope="module")
DATASET = "ds_" + "0" * 32
JSON = {"Content-Type": "application/json"}


def body(epsilon: str) -> bytes:
    return f'{{"kind": "synthesize", "dataset": "{DATASET}", "epsilon": {epsilon}}}'.encode()


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        pytest.param(b"[" * 100_000 + b"]" * 100_000, {}, 400, "body-not-json", id="deep lists"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {}, 400, "body-not-json", id="deep objects"),
        pytest.param(body("1" + "0" * 400), {}, 422, "request-invalid", id="a number beyond floats"),
        pytest.param(body("1" + "0" * 5000), {}, 400, "body-not-json", id="a number of five thousand digits"),
        pytest.param(body("1e999"), {}, 422, "request-invalid", id="infinity"),
        pytest.param(body("1e-999"), {}, 422, "request-invalid", id="nothing"),
        pytest.param(b'{"kind": "no\\u0000op"}', {}, 422, "request-invalid", id="a NUL in a code"),
        pytest.param(b'{"kind": "no\x00op"}', {}, 400, "body-not-json", id="a raw NUL"),
        pytest.param(b'{"kind": "noop", "project": "\\ud800"}', {}, 400, "body-not-json", id="half a character"),
        pytest.param('{"kind": "noop"}'.encode("utf-16"), {}, 400, "body-not-json", id="another encoding"),
        pytest.param(b'{"kind": "noop"}', {"Content-Type": "application/json\xff"}, 415, "content-type-wrong", id="no content type"),
        pytest.param(b'{"kind": "noop"}', {"Content-Encoding": "zstd"}, 415, "content-type-wrong", id="compressed"),
        pytest.param(b'{"kind": "noop"}{"kind": "noop"}', {}, 400, "body-not-json", id="two documents"),
        pytest.param(b'{"kind": "noop", "' + b"x" * 100_000 + b'": 1}', {}, 422, "request-invalid", id="a field with a long name"),
    ],
)
async def test_a_body_that_is_no_request_is_refused(system: Any, content: bytes, headers: dict[str, str], status: int, code: str) -> None:
    """Whatever it holds, the answer is a problem document of a few lines."""
    sent = {name.encode(): value.encode("latin-1") for name, value in {**JSON, **headers}.items()}
    response = await system.http.post("/v1/jobs", content=content, headers=sent)
    await system.problem(response, status, code)
    assert len(response.content) < 5000


@pytest.mark.parametrize("name", ["a\u0000b", "a\nb", "\u202ebc", "", "x" * 257])
async def test_a_name_is_one_line_that_can_be_read(system: Any, name: str) -> None:
    """Wherever somebody may give one: no control characters, nothing that turns the reading round, and an end."""
    asked = {"kind": "synthesize", "dataset": DATASET, "epsilon": 1, "name": name}
    assert (await system.problem(await system.http.post("/v1/jobs", json=asked), 422, "request-invalid"))["parameter"] == "name"
    token = {"name": name, "role": "reader"}
    assert (await system.problem(await system.http.post("/v1/tokens", json=token), 422, "request-invalid"))["parameter"] == "name"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/jobs?cursor=%FF%FE", 422, "request-invalid"),
        ("/v1/jobs?cursor=%00", 422, "request-invalid"),
        ("/v1/jobs?cursor=" + "x" * 5000, 422, "request-invalid"),
        ("/v1/jobs?limit=99999999999999999999999999", 422, "request-invalid"),
        ("/v1/jobs?min_seq=99999999999999999999999999", 422, "request-invalid"),
        ("/v1/jobs?since=0001-01-01T00:00:00%2B14:00", 422, "request-invalid"),
        ("/v1/jobs?until=9999-12-31T23:59:59.999999-14:00", 422, "request-invalid"),
        ("/v1/jobs?since=yesterday", 422, "request-invalid"),
        ("/v1/datasets?cursor=job_" + "0" * 32, 422, "request-invalid"),
        (f"/v1/datasets?cursor={DATASET}", 200, ""),
        (f"/v1/budgets/{DATASET}/entries?cursor=%D9%A3", 422, "request-invalid"),
        (f"/v1/budgets/{DATASET}/entries?cursor=-1", 422, "request-invalid"),
        ("/v1/datasets/%00", 404, "not-found"),
        ("/v1/datasets/%FF", 404, "not-found"),
        ("/v1/datasets/" + "x" * 5000, 404, "not-found"),
        ("/v1/artifacts/..%2F..%2Fadmin-token", 404, "not-found"),
        ("/v1/audit/entries?start=4611686018427387905", 422, "request-invalid"),
        ("/v1/audit/proofs/%00", 404, "not-found"),
        ("/v1/audit/consistency?old=99999999999999999999", 422, "request-invalid"),
        ("/v1/evaluations?dataset=%00", 404, "not-found"),
        ("/v1/jobs?project=prj_" + "1" * 32, 404, "not-found"),
        ("/v1/jobs?project=" + DATASET, 404, "not-found"),
    ],
)
async def test_an_address_made_to_break_something_breaks_nothing(system: Any, path: str, status: int, code: str) -> None:
    """Forged cursors, numbers beyond every range, bytes that are no text: answered in words, or with an empty page."""
    response = await system.http.get(path)
    if code:
        await system.problem(response, status, code)
        assert len(response.content) < 2000
    else:
        assert response.status_code == status
        assert isinstance(response.json()["items"], list)


@pytest.mark.parametrize("last", ["99999999999999999999", "-1", "\u0663".encode().decode("latin-1"), "x"])
async def test_an_event_id_that_no_stream_has_is_the_beginning_or_the_end(system: Any, last: str) -> None:
    """A follower with a forged place gets the story from its start, or no more than its end; and no error."""
    job = (await system.noop())["id"]
    sequence = await system.say(JobCompleted(job=job, attempt=1))
    await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")
    response = await system.http.get(f"/v1/jobs/{job}/events", headers={b"Last-Event-ID": last.encode("latin-1")})
    assert response.status_code == 200


async def test_a_key_may_be_any_bytes(system: Any) -> None:
    """An Idempotency-Key is compared, never read."""
    headers = {b"Idempotency-Key": os.urandom(8).hex().encode() + b"\xff\xe9", b"Prefer": b"wait=\xb2", b"traceparent": b"\xff"}
    answers = [await system.http.post("/v1/jobs", json={"kind": "noop"}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_client_that_goes_away_in_an_upload_leaves_nothing(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a draft nor a line in the log that blames us."""
    host, port = system.http.base_url.host, system.http.base_url.port
    head = (
        f"POST /v1/datasets HTTP/1.1\r\nHost: x\r\nAuthorization: {system.http.headers['authorization']}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 250000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    )
    answered: list[str] = []
    answer = problems.answer

    def noted(document: Any, headers: Any = None) -> Any:
        answered.append(document.code)
        return answer(document, headers)

    monkeypatch.setattr(problems, "answer", noted)
    with capture_logs() as lines:
        _, writer = await asyncio.open_connection(host, port)
        writer.write(head.encode() + b"x" * 100_000)
        await writer.drain()
        async with asyncio.timeout(5):
            while not drafts(system.home.objects) and not directories(system.home.objects):
                await system.http.get("/health/live")
        writer.transport.abort()
        async with asyncio.timeout(5):
            while not answered:
                await system.http.get("/health/live")
    assert answered == ["client-gone"]
    assert not [line for line in lines if line["log_level"] in {"error", "critical"}]
    assert drafts(system.home.objects) == []


def drafts(objects: Path) -> list[str]:
    return [path.name for path in objects.rglob("*.part")]


def directories(objects: Path) -> list[str]:
    return [path.name for path in objects.iterdir()]


async def test_drafts_of_processes_that_are_gone_are_removed(tmp_path: Path) -> None:
    """What somebody still writes, and what is kept, stays."""
    objects = Objects(tmp_path)
    kept = objects.put(new_id("obj"), b"{}")
    dead = 4_194_305  # above the largest process id there can be
    with objects.write(new_id("obj"), "text/plain", "") as draft:
        draft.path.write_bytes(b"being written")
        left = [draft.path.with_name(f"{new_id('obj')}.{dead}.{end}") for end in ("part", "json.part")]
        for path in left:
            path.write_bytes(b"left")
        assert objects.sweep_drafts() == 2
        assert draft.path.exists()
        assert not any(path.exists() for path in left)
    assert objects.read(kept) == b"{}"


async def test_a_project_that_there_is_not_is_not_found(system: Any) -> None:
    """However well its id is formed: nothing is promised in its name."""
    unknown = new_id("prj")
    for asked in ({"kind": "noop"}, {"kind": "synthesize", "dataset": DATASET, "epsilon": 1}):
        problem = await system.problem(await system.http.post("/v1/jobs", json={**asked, "project": unknown}), 404, "not-found")
        assert (problem["parameter"], problem["id"]) == ("project", unknown)
