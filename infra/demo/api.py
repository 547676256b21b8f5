"""What the demonstration needs of the public HTTP API, as any client would call it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx

ENDS = {"completed", "failed", "cancelled", "refused"}


class DemoFailed(RuntimeError):
    """Something that should work did not."""


class Api:
    """The API of one system, with the administrator's token."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        return _answer(await self._http.get(path, params=query))

    async def put(self, path: str, body: Any) -> Any:
        return _answer(await self._http.put(path, json=body))

    async def post(self, path: str, body: Any) -> Any:
        return _answer(await self._http.post(path, json=body))

    async def upload(self, file: Path, name: str) -> Any:
        with file.open("rb") as content:
            form = {"file": (file.name, content, "application/gzip")}
            return _answer(await self._http.post("/v1/datasets", files=form, data={"name": name}))

    async def download(self, path: str, target: Path) -> None:
        async with self._http.stream("GET", path) as answer:
            answer.raise_for_status()
            with target.open("wb") as file:
                async for chunk in answer.aiter_bytes():
                    file.write(chunk)

    async def job(self, job: str, progress: Callable[[float, str], None]) -> Any:
        """Follow a job's events to its end; answers with the job."""
        async for event, data in self._events(f"/v1/jobs/{job}/events"):
            if event == "progress":
                progress(data["fraction"], data["step"])
            elif event.split(".")[2] in ENDS:
                progress(1.0, event.split(".")[2])
        return await self.get(f"/v1/jobs/{job}")

    async def _events(self, path: str) -> AsyncIterator[tuple[str, Any]]:
        """Server-sent events: their name and data."""
        async with self._http.stream("GET", path, timeout=None) as answer:
            event = ""
            async for line in answer.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    event = value
                elif field == "data":
                    yield event, json.loads(value)


def _answer(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise DemoFailed(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:1000]}")
    return answer.json()
