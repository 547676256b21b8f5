"""Tokens, jobs and streams of an edge under test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from contracts.events import JobCompleted


async def new_token(system: Any, **more: Any) -> tuple[str, dict[str, str]]:
    """The id of a new token, and the header with it."""
    issued = (await system.http.post("/v1/tokens", json={"name": "x", "role": "curator", **more})).json()
    return issued["id"], {"Authorization": f"Bearer {issued['token']}"}


async def new_job(system: Any) -> str:
    return str((await system.noop())["id"])


async def end_jobs(system: Any, *jobs: str) -> None:
    """Say that jobs have ended, and wait until the edge knows."""
    for each in jobs:
        sequence = await system.say(JobCompleted(job=each, attempt=1))
        await system.http.get(f"/v1/jobs/{each}?min_seq={sequence}")


@contextlib.asynccontextmanager
async def streams(system: Any, followed: str, headers: list[dict[str, str]]) -> AsyncIterator[list[AsyncIterator[str]]]:
    """The lines of streams of a job's events, each open."""
    async with contextlib.AsyncExitStack() as stack:
        lines = []
        for each in headers:
            response = await stack.enter_async_context(system.http.stream("GET", f"/v1/jobs/{followed}/events", headers=each))
            assert response.status_code == 200
            lines.append(response.aiter_lines())
            assert (await anext(lines[-1])).startswith("id: ")
        yield lines
