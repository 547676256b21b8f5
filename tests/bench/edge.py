"""The edge under many clients, a large table drawn, and how fast it is downloaded.

python tests/bench/edge.py
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np
import psutil

from figures import Figure, percentiles, show
from infra.objects import Objects
from running import Running, system

COLUMNS, ROWS = 10, 5_000_000
"""Of numbers that do not repeat, so that the file is about as large as the rows."""
FOREVER = 400_000_000
"""Rows that nobody waits for: a job that is under way until it is cancelled."""
CLIENTS, POLL_EVERY, SECONDS = 200, 0.5, 20.0
PIECE = 1 << 20


def process_of(running: Running, name: str) -> psutil.Process:
    """The process that writes a log."""
    log = str(running.home / "logs" / f"{name}.log")
    for process in psutil.Process(running.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(file.path == log for file in process.open_files()) and "infra.work.worker" not in process.cmdline():
                return process
    raise LookupError(name)


class Peak:
    """The most memory (MB) that processes were seen to take, looked at every 50 ms."""

    def __init__(self, running: Running, word: str | None = None, process: psutil.Process | None = None) -> None:
        self._running, self._word, self._process = running, word, process
        self.megabytes = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            for process in await asyncio.to_thread(self._processes):
                with contextlib.suppress(psutil.Error):
                    self.megabytes = max(self.megabytes, process.memory_info().rss / 1e6)
            await asyncio.sleep(0.05)

    def _processes(self) -> list[psutil.Process]:
        if self._process is not None:
            return [self._process]
        found = []
        for process in psutil.Process(self._running.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if self._word in process.cmdline():
                    found.append(process)
        return found


async def model(http: httpx.AsyncClient) -> str:
    """A model of ten columns of numbers."""
    rng = np.random.default_rng(1)
    names = [f"c{n}" for n in range(COLUMNS)]
    lines = [",".join(names), *(",".join(f"{value:.6f}" for value in row) for row in rng.random((2000, COLUMNS)))]
    schema = {"columns": [{"name": name, "type": "number", "minimum": 0, "maximum": 1} for name in names]}
    files = {"file": ("t.csv", "\n".join(lines).encode())}
    registered = (await http.post("/v1/datasets", files=files, data={"schema": json.dumps(schema)})).json()
    await ended(http, registered["job"])
    await http.put(f"/v1/budgets/{registered['dataset']}", json={"epsilon": 3.0})
    asked = {"kind": "synthesize", "dataset": registered["dataset"], "epsilon": 1.0, "engine": "independent", "rows": 10}
    job = await ended(http, (await http.post("/v1/jobs", json=asked)).json()["id"])
    return next(str(output["artifact"]) for output in job["outputs"] if output["role"] == "model")


async def ended(http: httpx.AsyncClient, job: str) -> dict[str, Any]:
    while True:
        seen: dict[str, Any] = (await http.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"})).json()
        if seen["state"] == "completed":
            return seen
        assert seen["state"] in {"accepted", "queued", "running"}, seen


async def sampled(http: httpx.AsyncClient, fitted: str, rows: int) -> str:
    asked = {"kind": "sample", "model": fitted, "rows": rows, "seed": 1}
    return str((await http.post("/v1/jobs", json=asked)).json()["id"])


async def download(url: str, token: str) -> tuple[float, int]:
    """Seconds, and bytes of the body, over a bare socket: what is measured is the server."""
    parts = httpx.URL(url)
    reader, writer = await asyncio.open_connection(parts.host, parts.port, limit=4 * PIECE)
    began = time.perf_counter()
    writer.write(f"GET {parts.raw_path.decode()} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert " 200 " in head, head
    size = left = int(head.split("content-length: ")[1].split("\r\n")[0])
    while left:
        left -= len(await reader.read(min(PIECE, left)))
    writer.close()
    return time.perf_counter() - began, size


async def throughput(urls: list[str], token: str) -> float:
    """MB/s of downloads side by side; the better of two runs."""
    rates = []
    for _ in range(2):
        began = time.perf_counter()
        sizes = [size for _, size in await asyncio.gather(*(download(url, token) for url in urls))]
        rates.append(sum(sizes) / 1e6 / (time.perf_counter() - began))
    return max(rates)


@contextlib.asynccontextmanager
async def plain_server(file: Path) -> AsyncIterator[str]:
    """Python's own HTTP server on the same file."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(file.parent)]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
    assert server.stdout is not None
    port = (await server.stdout.readline()).decode().split(" port ")[1].split()[0]
    yield f"http://127.0.0.1:{port}/{file.name}"
    server.terminate()
    await server.wait()


async def crowd(running: Running, http: httpx.AsyncClient, job: str) -> tuple[list[float], int]:
    """Half of the clients follow a job, half poll it, and noop jobs run meanwhile: the polls' seconds, and jobs completed."""
    stop, jobs = 0.0, 0
    polls: list[float] = []

    async def follow(client: httpx.AsyncClient) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS), client.stream("GET", f"/v1/jobs/{job}/events") as stream:
                async for _ in stream.aiter_lines():
                    pass

    async def poll(client: httpx.AsyncClient) -> None:
        while time.monotonic() < stop:
            began = time.perf_counter()
            assert (await client.get(f"/v1/jobs/{job}")).status_code == 200
            polls.append(time.perf_counter() - began)
            await asyncio.sleep(POLL_EVERY)

    async def work() -> None:
        nonlocal jobs
        while time.monotonic() < stop:
            await ended(http, (await http.post("/v1/jobs", json={"kind": "noop"})).json()["id"])
            jobs += 1

    async with contextlib.AsyncExitStack() as stack:
        # Plain HTTP needs no certificates, and loading them two hundred times takes longer than all the rest.
        options = {"base_url": http.base_url, "headers": {"Authorization": f"Bearer {running.token}"}, "timeout": 30, "verify": False}
        clients = [await stack.enter_async_context(httpx.AsyncClient(**options)) for _ in range(CLIENTS)]
        stop = time.monotonic() + SECONDS
        half = CLIENTS // 2
        await asyncio.gather(*map(follow, clients[:half]), *map(poll, clients[half:]), work())
    return polls, jobs


def stored_file(home: Path, artifact: str) -> tuple[Path, float]:
    """Where an artifact is kept, and its megabytes."""
    path = Objects(home / "objects").path(artifact)
    return path, path.stat().st_size / 1e6


async def main() -> list[Figure]:
    async with system() as running:
        base, headers = f"http://{running.host}:{running.port}", {"Authorization": f"Bearer {running.token}"}
        edge = process_of(running, "edge")
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=90) as http:
            fitted = await model(http)
            quiet = edge.memory_info().rss / 1e6
            began = time.perf_counter()
            async with Peak(running, word="infra.work.worker") as worker:
                job = await ended(http, await sampled(http, fitted, ROWS))
            drawing = time.perf_counter() - began
            href = next(output["href"] for output in job["outputs"] if output["role"] == "table")
            stored, megabytes = stored_file(running.home, href.rpartition("/")[2])
            async with Peak(running, process=edge) as serving:
                alone, four = await throughput([base + href], running.token), await throughput([base + href] * 4, running.token)
            async with plain_server(stored) as url:
                plain = await throughput([url], running.token)
            endless = await sampled(http, fitted, FOREVER)
            async with Peak(running, process=edge) as crowded:
                polls, jobs = await crowd(running, http, endless)
            await http.post(f"/v1/jobs/{endless}:cancel")
    drawn = f"{ROWS / drawing:,.0f} rows/s, worker {worker.megabytes:.0f} MB"
    return [
        Figure(f"sample job, {ROWS:,} rows x {COLUMNS} numbers: {megabytes:,.0f} MB", drawn),
        Figure("download, 1 client", f"{alone:,.0f} MB/s"),
        Figure("download, 4 clients", f"{four:,.0f} MB/s; edge at most {serving.megabytes:.0f} MB"),
        Figure("the same file from python -m http.server", f"{plain:,.0f} MB/s, ratio {alone / plain:.2f}"),
        Figure("memory of the edge: before", f"{quiet:.0f} MB"),
        Figure(f"memory of the edge: {CLIENTS} clients, half streams, half polling", f"{crowded.megabytes:.0f} MB"),
        Figure("meanwhile: polls p50/p99; noop jobs", f"{percentiles(polls)} ({len(polls)} polls); {jobs / SECONDS:.0f} jobs/s"),
    ]


if __name__ == "__main__":
    show("The edge", asyncio.run(main()))
