"""Throughput kept under repeated kills: jobs offered at a steady rate, while one process after the other is killed.

Run with ``python tests/bench/kills.py``. The rate is well below what the system can do, as it is wherever somebody waits for answers: what
counts is what was lost to the kills and not made up for. Clients ask again under their Idempotency-Key, as those of Halftone do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import time

import psutil

from figures import Figure, show
from running import Http, Running, system

VICTIMS = ("synthesizer", "nats-server", "budget_keeper", "edge", "auditor")
LATE = 60.0
"""Seconds after which a job counts as lost."""
_keys = itertools.count()


def process(running: Running, name: str) -> psutil.Process | None:
    """A process of the system: by its program, or by the log that it writes."""
    log = str(running.home / "logs" / f"{name}.log")
    for found in psutil.Process(running.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if found.name() == name or any(file.path == log for file in found.open_files()):
                return found
    return None


async def job(running: Running, began: float, done: list[float]) -> None:
    """Ask until a job is promised, wait until it is completed, and note when that was."""
    key, name = f"kills-{next(_keys)}", ""
    while time.perf_counter() - began < LATE:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            http = await Http(running).open()
            try:
                if not name:
                    status, seen = await http.call("POST", "/v1/jobs", {"kind": "noop"}, **{"Idempotency-Key": key})
                    name = seen["id"] if status == 202 else ""
                if name:
                    status, seen = await http.call("GET", f"/v1/jobs/{name}", Prefer="wait=10")
                    if status == 200 and seen["state"] == "completed":
                        done.append(time.perf_counter())
                        return
            finally:
                await http.close()
        await asyncio.sleep(0.1)


async def offered(running: Running, rate: float, seconds: float) -> tuple[int, int, list[float]]:
    """Jobs offered, jobs completed within the time, and how long each took."""
    begin = time.perf_counter()
    done: list[float] = []
    took: list[float] = []

    async def one() -> None:
        asked, mine = time.perf_counter(), list[float]()
        await job(running, asked, mine)
        done.extend(mine)
        took.extend(at - asked for at in mine)

    count = int(rate * seconds)
    async with asyncio.TaskGroup() as group:
        for n in range(count):
            await asyncio.sleep(max(0.0, begin + n / rate - time.perf_counter()))
            group.create_task(one())
    return count, sum(at <= begin + seconds for at in done), took


async def kill_in_turn(running: Running, every: float, killed: list[str]) -> None:
    """Kill, for ever, one process after the other."""
    for name in itertools.cycle(VICTIMS):
        await asyncio.sleep(every)
        victim = await asyncio.to_thread(process, running, name)
        if victim is not None:
            victim.kill()
            killed.append(name)


async def main(rate: float, seconds: float, every: float) -> list[Figure]:
    killed: list[str] = []
    async with system() as running:
        await offered(running, rate, 5)
        count, calm, calm_took = await offered(running, rate, seconds)
        killer = asyncio.create_task(kill_in_turn(running, every, killed))
        _, kept, took = await offered(running, rate, seconds)
        killer.cancel()
    lost = count - len(took)
    what = f"{len(killed)} kills in {seconds:.0f} s ({', '.join(VICTIMS)} in turn)"
    return [
        Figure(f"{rate:.0f} jobs/s offered, nothing killed", f"{calm / seconds:.1f} jobs/s, median {statistics.median(calm_took):.2f} s"),
        Figure(what, f"{kept / seconds:.1f} jobs/s, median {statistics.median(took):.2f} s, longest {max(took):.1f} s"),
        Figure("throughput kept", f"{kept / calm:.1%}", "95 %"),
        Figure("jobs lost", str(lost), "0"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=30.0, help="jobs per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each of the two runs")
    parser.add_argument("--every", type=float, default=6.0, help="seconds between two kills")
    given = parser.parse_args()
    show("Kills", asyncio.run(main(given.rate, given.seconds, given.every)))
