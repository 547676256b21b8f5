"""Latency and throughput of noop jobs, start-up and idle cost: everything on, fsync always.

python tests/bench/jobs.py
"""

from __future__ import annotations

import asyncio
import time

import psutil

from figures import Figure, percentiles, show
from running import Http, Running, system

NOOP = {"kind": "noop"}
WARM_UP, SINGLE, PER_CLIENT = 50, 500, 60
IDLE_SECONDS = 10.0


async def one_job(http: Http) -> tuple[float, float]:
    """Seconds until a job is accepted, and until it is seen completed."""
    began = time.perf_counter()
    status, job = await http.call("POST", "/v1/jobs", NOOP)
    accepted = time.perf_counter() - began
    assert status == 202, job
    status, seen = await http.call("GET", f"/v1/jobs/{job['id']}", Prefer="wait=10")
    assert seen["state"] == "completed", seen
    return accepted, time.perf_counter() - began


async def closed_loop(running: Running, clients: int, jobs: int) -> tuple[float, list[tuple[float, float]]]:
    """Jobs per second with so many clients, each waiting for its job before it asks for the next; and every job's times."""

    async def client() -> list[tuple[float, float]]:
        http = await Http(running).open()
        times = [await one_job(http) for _ in range(jobs)]
        await http.close()
        return times

    began = time.perf_counter()
    times = [t for part in await asyncio.gather(*(client() for _ in range(clients))) for t in part]
    return len(times) / (time.perf_counter() - began), times


async def flood(running: Running, clients: int, jobs: int) -> tuple[float, float]:
    """Jobs accepted per second when nobody waits for them, and seconds until the last was done."""
    last = []

    async def client() -> None:
        http = await Http(running).open()
        for _ in range(jobs):
            status, job = await http.call("POST", "/v1/jobs", NOOP)
            assert status == 202, job
        last.append(job["id"])
        await http.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    accepted = clients * jobs / (time.perf_counter() - began)
    http = await Http(running).open()
    for job in last:
        while (await http.call("GET", f"/v1/jobs/{job}", Prefer="wait=60"))[1]["state"] != "completed":
            pass
    await http.close()
    return accepted, time.perf_counter() - began


def idle(running: Running) -> tuple[float, float]:
    """Highest processor share (percent of one core) and memory (MB, unshared) of any process while nothing happens."""
    processes = psutil.Process(running.pid).children(recursive=True)
    before = {p.pid: sum(p.cpu_times()[:2]) for p in processes}
    time.sleep(IDLE_SECONDS)
    share = {p.pid: (sum(p.cpu_times()[:2]) - before[p.pid]) / IDLE_SECONDS * 100 for p in processes}
    memory = {p.pid: p.memory_info().rss / 1e6 for p in processes}
    for p in processes:
        print(f"  {p.name():<14} {' '.join(p.cmdline()[-1:])[-40:]:<42} {share[p.pid]:5.1f} %  {memory[p.pid]:6.0f} MB")
    return max(share.values()), max(memory.values())


async def main() -> list[Figure]:
    async with system() as running:
        share, memory = await asyncio.to_thread(idle, running)
        http = await Http(running).open()
        for _ in range(WARM_UP):
            await one_job(http)
        times = [await one_job(http) for _ in range(SINGLE)]
        await http.close()
        rates = {clients: await closed_loop(running, clients, PER_CLIENT) for clients in (8, 32)}
        accepted, drained = await flood(running, 32, 60)
    figures = [
        Figure("ready after `halftone up`", f"{running.ready_seconds:.1f} s", "3 s"),
        Figure("idle: processor, memory of the largest process", f"{share:.1f} %, {memory:.0f} MB", "< 2 %, < 150 MB"),
        Figure("noop, 1 client: accepted p50/p99", percentiles(t[0] for t in times), "3/10 ms"),
        Figure("noop, 1 client: visible p50/p99", percentiles(t[1] for t in times), "8/25 ms"),
    ]
    for clients, (rate, many) in rates.items():
        measured = f"{rate:.0f} jobs/s, visible {percentiles(t[1] for t in many)}"
        figures.append(Figure(f"noop, {clients} clients, closed loop", measured, "400 jobs/s" if clients == 32 else ""))
    done = f"{accepted:.0f} jobs/s; 1,920 done after {drained:.1f} s"
    figures.append(Figure("noop, 32 clients, accepted only", done, "700 jobs/s"))
    return figures


if __name__ == "__main__":
    show("Jobs", asyncio.run(main()))
