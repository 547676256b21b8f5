"""How much may be open at a time, on an edge with little room."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import httpx
import pytest

from edge_steps import end_jobs, new_job, new_token, streams

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE = 10.0


async def end_all(system: Any) -> None:
    """End every job that is under way."""
    last = (await noop(system)).json()
    listed = (await system.http.get(f"/v1/jobs?min_seq={last.get('sequence', 0)}")).json()["items"]
    await end_jobs(system, *(each["id"] for each in listed if each["state"] in {"accepted", "queued"}))


async def noop(system: Any) -> httpx.Response:
    answer: httpx.Response = await system.http.post("/v1/jobs", json={"kind": "noop"})
    return answer


class Upload:
    """An upload that is on its way: all but its end was sent."""

    BODY = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\na,b\r\n1,2\r\n\r\n--b--\r\n'

    def __init__(self, system: Any, headers: dict[str, str]) -> None:
        self._system, self._headers = system, headers

    async def __aenter__(self) -> Self:
        url = self._system.http.base_url
        self.reader, self.writer = await asyncio.open_connection(url.host, url.port)
        head = (
            f"POST /v1/datasets HTTP/1.1\r\nHost: x\r\nAuthorization: {self._headers['Authorization']}\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(self.BODY)}\r\n\r\n"
        )
        self.writer.write(head.encode() + self.BODY[:-10])
        await self.writer.drain()
        return self

    async def finish(self) -> None:
        self.writer.write(self.BODY[-10:])
        await self.writer.drain()

    async def status(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return int((await self.reader.readline()).split()[1])

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def until_refused(system: Any, headers: dict[str, str]) -> httpx.Response:
    """The first answer to an upload that is not its acceptance: the other one has begun by then."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await system.http.post("/v1/datasets", files={"file": ("a.csv", b"a\n1\n")}, headers=headers)
            if answer.status_code != 202:
                return answer  # type: ignore[no-any-return]


async def test_uploads_streams_requests_and_jobs_are_limited(small: Any) -> None:
    """Each limit answers 429 with Retry-After and its own code; what ends makes room again."""
    followed = await new_job(small)
    _, header = await new_token(small)
    async with Upload(small, header) as first:
        refused = await until_refused(small, header)
        await small.problem(refused, 429, "too-many-uploads")
        assert int(refused.headers["retry-after"]) >= 1
        await first.finish()
        assert await first.status() == 202
    async with streams(small, followed, [header, header]):
        refused = await small.http.get(f"/v1/jobs/{followed}/events", headers=(await new_token(small))[1])
        await small.problem(refused, 429, "too-many-streams")
        patient = {**header, "Prefer": "wait=30"}
        waits = [asyncio.create_task(small.http.get(f"/v1/jobs/{followed}", headers=patient)) for _ in range(6)]
        document = await busy(small, header)
        assert document["limit"] == 8
        assert (await small.http.get("/v1/engines")).status_code == 200, "another token has room"
        await end_jobs(small, followed)
        assert {(await wait).json()["state"] for wait in waits} == {"completed"}
    assert (await small.http.get("/v1/engines", headers=header)).status_code == 200


async def busy(system: Any, headers: dict[str, str]) -> dict[str, Any]:
    """The refusal of a request, once the token's others are all open."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await system.http.get("/v1/engines", headers=headers)).status_code == 200:
            pass
    return await system.problem(answer, 429, "too-many-requests")  # type: ignore[no-any-return]


async def test_a_project_has_so_many_jobs_under_way_and_no_more(small: Any) -> None:
    """Also of those asked for at once; what has ended makes room. An upload is refused before it is taken."""
    await end_all(small)
    answers = [answer for _ in range(3) for answer in await asyncio.gather(*(noop(small) for _ in range(7)))]
    promised = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code != 202]
    assert (len(promised), len(refused)) == (12, 9)
    for answer in refused:
        document = await small.problem(answer, 429, "too-many-jobs")
        assert document["limit"] == 12
        assert int(answer.headers["retry-after"]) >= 1
    upload = await small.http.post("/v1/datasets", files={"file": ("a.csv", b"a\n1\n")})
    await small.problem(upload, 429, "too-many-jobs")
    await end_jobs(small, promised[0])
    assert (await noop(small)).status_code == 202
    await small.problem(await noop(small), 429, "too-many-jobs")


async def test_an_upload_ends_when_its_token_is_revoked_and_leaves_nothing(small: Any) -> None:
    """Nothing more is read of it, and no draft stays."""
    await end_all(small)
    (revoked, mine), (_, theirs) = await new_token(small), await new_token(small)
    async with Upload(small, mine) as upload:
        await small.problem(await until_refused(small, theirs), 429, "too-many-uploads")
        await small.http.delete(f"/v1/tokens/{revoked}")
        assert await upload.status() == 401
    assert not list(small.home.objects.rglob("*.part"))
    again = await small.http.post("/v1/datasets", files={"file": ("a.csv", b"a\n1\n")}, headers=theirs)
    assert again.status_code == 202
