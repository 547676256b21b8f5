"""What a token has open ends when the token does."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import httpx
import pytest

from contracts.events import JobCompleted
from contracts.ids import new_id
from contracts.jobs import Output
from edge_steps import end_jobs, new_job, new_token, streams
from infra.objects import CHUNK

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE = 10.0


async def test_a_stream_ends_when_its_token_is_revoked(system: Any) -> None:
    """In an orderly way, at once, and not to be taken up again; another token's goes on."""
    followed = await new_job(system)
    (revoked, mine), (_, theirs) = await new_token(system), await new_token(system)
    async with streams(system, followed, [mine, theirs]) as (ours, others):
        assert (await system.http.delete(f"/v1/tokens/{revoked}")).status_code == 204
        async with asyncio.timeout(PATIENCE):
            assert not [line async for line in ours if line.startswith("event: ") and "accepted" not in line]
        await end_jobs(system, followed)
        async with asyncio.timeout(PATIENCE):
            assert [line async for line in others if "job.completed" in line]
    again = await system.http.get(f"/v1/jobs/{followed}/events", headers=mine)
    await system.problem(again, 401, "token-revoked")


async def test_a_stream_ends_when_its_token_expires(system: Any) -> None:
    """Nobody has to do anything for it."""
    followed = await new_job(system)
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1.5)).isoformat()
    _, header = await new_token(system, expires=soon)
    async with streams(system, followed, [header]) as (lines,), asyncio.timeout(PATIENCE):
        async for _ in lines:
            pass
    await system.problem(await system.http.get("/v1/engines", headers=header), 401, "token-expired")


async def test_a_wait_ends_when_its_token_is_revoked(system: Any) -> None:
    """The answer says why; the job goes on."""
    asked = await new_job(system)
    revoked, header = await new_token(system)
    wait = asyncio.create_task(system.http.get(f"/v1/jobs/{asked}", headers={**header, "Prefer": "wait=60"}))
    # The wait is open once its token has one request more than this one.
    await system.http.get("/v1/engines", headers=header)
    await system.http.delete(f"/v1/tokens/{revoked}")
    async with asyncio.timeout(PATIENCE):
        await system.problem(await wait, 401, "token-revoked")
    assert (await system.http.get(f"/v1/jobs/{asked}")).json()["state"] == "queued"


async def test_a_download_breaks_off_when_its_token_is_revoked(system: Any) -> None:
    """It ends short of its length, so that nobody takes a part for the whole."""
    made = await new_job(system)
    stored = system.objects.put(new_id("obj"), b"\0" * (64 * CHUNK), "application/octet-stream", ".bin")
    sequence = await system.say(JobCompleted(job=made, attempt=1, outputs=(Output(role="model", object=stored),)))
    await system.http.get(f"/v1/jobs/{made}?min_seq={sequence}")
    revoked, header = await new_token(system)
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
