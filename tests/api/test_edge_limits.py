"""How much may be open at a time, and what ends when a token does."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from typing import Any, Self

import httpx
import pytest

from contracts.events import JobCompleted
from contracts.ids import new_id
from contracts.jobs import Output
from infra.objects import CHUNK

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE = 10.0


async def token(system: Any, **more: Any) -> tuple[str, dict[str, str]]:
    """The id of a new token, and the header with it."""
    issued = (await system.http.post("/v1/tokens", json={"name": "x", "role": "curator", **more})).json()
    return issued["id"], {"Authorization": f"Bearer {issued['token']}"}


async def job(system: Any) -> str:
    return str((await system.noop())["id"])


async def end(system: Any, *jobs: str) -> None:
    """Say that jobs have ended, and wait until the edge knows."""
    for each in jobs:
        sequence = await system.say(JobCompleted(job=each, attempt=1))
        await system.http.get(f"/v1/jobs/{each}?min_seq={sequence}")


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
    followed = await job(small)
    _, header = await token(small)
    async with Upload(small, header) as first:
        refused = await until_refused(small, header)
        await small.problem(refused, 429, "too-many-uploads")
        assert int(refused.headers["retry-after"]) >= 1
        await first.finish()
        assert await first.status() == 202
    async with streams(small, followed, [header, header]):
        refused = await small.http.get(f"/v1/jobs/{followed}/events", headers=(await token(small))[1])
        await small.problem(refused, 429, "too-many-streams")
        waits = asyncio.create_task(small.http.get(f"/v1/jobs/{followed}", headers={**header, "Prefer": "wait=30"}))
        document = await busy(small, header)
        assert document["limit"] == 3
        assert (await small.http.get("/v1/engines")).status_code == 200, "another token has room"
        await end(small, followed)
        assert (await waits).json()["state"] == "completed"
    assert (await small.http.get("/v1/engines", headers=header)).status_code == 200


async def busy(system: Any, headers: dict[str, str]) -> dict[str, Any]:
    """The refusal of a request, once the token's others are all open."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await system.http.get("/v1/engines", headers=headers)).status_code == 200:
            pass
    return await system.problem(answer, 429, "too-many-requests")  # type: ignore[no-any-return]


def streams(system: Any, followed: str, headers: list[dict[str, str]]) -> Any:
    """Streams of a job's events, each open."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[list[AsyncIterator[str]]]:
        async with contextlib.AsyncExitStack() as stack:
            lines = []
            for each in headers:
                response = await stack.enter_async_context(system.http.stream("GET", f"/v1/jobs/{followed}/events", headers=each))
                assert response.status_code == 200
                lines.append(response.aiter_lines())
                assert (await anext(lines[-1])).startswith("id: ")
            yield lines

    return opened()


async def test_a_project_has_so_many_jobs_under_way_and_no_more(small: Any) -> None:
    """Also of those asked for at once; what has ended makes room. An upload is refused before it is taken."""
    listed = (await small.http.get("/v1/jobs")).json()["items"]
    await end(small, *(each["id"] for each in listed if each["state"] == "accepted"))
    answers = await asyncio.gather(*(small.http.post("/v1/jobs", json={"kind": "noop"}) for _ in range(7)))
    promised = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code != 202]
    assert (len(promised), len(refused)) == (4, 3)
    for answer in refused:
        document = await small.problem(answer, 429, "too-many-jobs")
        assert document["limit"] == 4
        assert int(answer.headers["retry-after"]) >= 1
    upload = await small.http.post("/v1/datasets", files={"file": ("a.csv", b"a\n1\n")})
    await small.problem(upload, 429, "too-many-jobs")
    await end(small, promised[0])
    assert (await small.http.post("/v1/jobs", json={"kind": "noop"})).status_code == 202
    await small.problem(await small.http.post("/v1/jobs", json={"kind": "noop"}), 429, "too-many-jobs")


async def test_a_stream_ends_when_its_token_is_revoked(system: Any) -> None:
    """In an orderly way, at once, and not to be taken up again; another token's goes on."""
    followed = await job(system)
    (revoked, mine), (_, theirs) = await token(system), await token(system)
    async with streams(system, followed, [mine, theirs]) as (ours, others):
        assert (await system.http.delete(f"/v1/tokens/{revoked}")).status_code == 204
        async with asyncio.timeout(PATIENCE):
            assert not [line async for line in ours if line.startswith("event: ") and "accepted" not in line]
        await end(system, followed)
        async with asyncio.timeout(PATIENCE):
            assert [line async for line in others if "job.completed" in line]
    again = await system.http.get(f"/v1/jobs/{followed}/events", headers=mine)
    await system.problem(again, 401, "token-revoked")


async def test_a_stream_ends_when_its_token_expires(system: Any) -> None:
    """Nobody has to do anything for it."""
    followed = await job(system)
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1.5)).isoformat()
    _, header = await token(system, expires=soon)
    async with streams(system, followed, [header]) as (lines,), asyncio.timeout(PATIENCE):
        async for _ in lines:
            pass
    await system.problem(await system.http.get("/v1/engines", headers=header), 401, "token-expired")


async def test_a_wait_ends_when_its_token_is_revoked(system: Any) -> None:
    """The answer says why; the job goes on."""
    asked = await job(system)
    revoked, header = await token(system)
    wait = asyncio.create_task(system.http.get(f"/v1/jobs/{asked}", headers={**header, "Prefer": "wait=60"}))
    # The wait is open once its token has one request more than this one.
    await system.http.get("/v1/engines", headers=header)
    await system.http.delete(f"/v1/tokens/{revoked}")
    async with asyncio.timeout(PATIENCE):
        await system.problem(await wait, 401, "token-revoked")
    assert (await system.http.get(f"/v1/jobs/{asked}")).json()["state"] == "accepted"


async def test_an_upload_ends_when_its_token_is_revoked_and_leaves_nothing(small: Any) -> None:
    """Nothing more is read of it, and no draft stays."""
    listed = (await small.http.get("/v1/jobs")).json()["items"]
    await end(small, *(each["id"] for each in listed if each["state"] == "accepted"))
    (revoked, mine), (_, theirs) = await token(small), await token(small)
    async with Upload(small, mine) as upload:
        await small.problem(await until_refused(small, theirs), 429, "too-many-uploads")
        await small.http.delete(f"/v1/tokens/{revoked}")
        assert await upload.status() == 401
    assert not list(small.home.objects.rglob("*.part"))
    again = await small.http.post("/v1/datasets", files={"file": ("a.csv", b"a\n1\n")}, headers=theirs)
    assert again.status_code == 202


async def test_a_download_breaks_off_when_its_token_is_revoked(system: Any) -> None:
    """It ends short of its length, so that nobody takes a part for the whole."""
    made = await job(system)
    stored = system.objects.put(new_id("obj"), b"\0" * (64 * CHUNK), "application/octet-stream", ".bin")
    sequence = await system.say(JobCompleted(job=made, attempt=1, outputs=(Output(role="model", object=stored),)))
    await system.http.get(f"/v1/jobs/{made}?min_seq={sequence}")
    revoked, header = await token(system)
    got: list[int] = []

    async def download() -> None:
        async with system.http.stream("GET", f"/v1/artifacts/{stored}", headers=header) as response:
            assert response.status_code == 200
            async for piece in response.aiter_raw():
                if not got:
                    await system.http.delete(f"/v1/tokens/{revoked}")
                got.append(len(piece))

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(httpx.RemoteProtocolError):
            await download()
    assert 0 < sum(got) < 64 * CHUNK
