"""Worker processes: each does one task and ends. Some are started ahead, so that a job need not wait for imports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from contracts.problems import ProblemError

log = structlog.get_logger()

LINE_BYTES = 16 << 20
"""Longest report of a worker."""
WATCH_SECONDS = 0.2
"""Between two looks at what a worker uses."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Workers run side by side: threads of one that wait for those of another cost several times what they gain."""


class MemoryExceeded(ProblemError):
    """The job took more memory than a job may: ask for fewer rows, or have the limit raised."""

    status, code = 422, "memory-exceeded"


class TimeExceeded(ProblemError):
    """The job took longer than a job may: ask for less, or have the limit raised."""

    status, code = 422, "time-exceeded"


@dataclass(frozen=True)
class Allowance:
    """What one attempt at a job may use; 0 is without a limit."""

    memory_bytes: int = 0
    seconds: int = 0


class Worker:
    """One process, in a group of its own with whatever it starts."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.exceeded: ProblemError | None = None
        """What it was ended for."""

    @classmethod
    async def start(cls, entry: str) -> Self:
        """Start a process that imports what its task will need, and waits for it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "infra.work.worker",
            entry,
            env=os.environ | ENVIRONMENT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def lines(self) -> asyncio.StreamReader:
        """Its reports, one a line."""
        assert self._process.stdout is not None  # noqa: S101  # asked for where it was made
        return self._process.stdout

    async def tell(self, line: bytes) -> None:
        """Write to it. Raises OSError where it has ended."""
        assert self._process.stdin is not None  # noqa: S101  # asked for where it was made
        self._process.stdin.write(line)
        await self._process.stdin.drain()

    def kill(self) -> None:
        """End it, and everything that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self) -> int:
        """End it, and wait until it is gone; the code it ended with."""
        self.kill()
        return await self._process.wait()

    async def ended(self) -> int:
        """Wait until it is gone by itself; the code it ended with."""
        return await self._process.wait()

    async def watch(self, allowed: Allowance) -> None:
        """End it once it uses more than it may."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + allowed.seconds
        while self.alive and (allowed.seconds or allowed.memory_bytes):
            if allowed.seconds and loop.time() > deadline:
                self.exceeded = TimeExceeded(limit_seconds=allowed.seconds)
            elif allowed.memory_bytes and memory(self._process.pid) > allowed.memory_bytes:
                self.exceeded = MemoryExceeded(limit_bytes=allowed.memory_bytes)
            if self.exceeded is not None:
                self.kill()
                return
            await asyncio.sleep(WATCH_SECONDS)


def memory(process: int) -> int:
    """Bytes that a process and its children hold for themselves (Linux; elsewhere 0): files that they only look into do not count."""
    proc = Path("/proc") / str(process)
    try:
        _, resident, shared = (proc / "statm").read_text().split()[:3]
        children = (proc / "task" / str(process) / "children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(resident) - int(shared)) * PAGE_BYTES + sum(memory(int(child)) for child in children)


class Workers:
    """Workers for one actor's jobs. A worker serves one job: nothing of one job's data is there when the next begins."""

    def __init__(self, entry: str, ahead: int, idle_seconds: float) -> None:
        """``ahead``: how many are kept ready once there was a job; they leave when there was none for so many seconds."""
        self._entry, self._ahead, self._idle_seconds = entry, ahead, idle_seconds
        self._ready: deque[Worker] = deque()
        self._wanted = asyncio.Event()

    async def take(self) -> Worker:
        """A worker, one that is ready if there is any."""
        while self._ready:
            worker = self._ready.popleft()
            if worker.alive:
                return worker
        return await Worker.start(self._entry)

    def expect_more(self) -> None:
        """A job has ended: after one, there is often another."""
        self._wanted.set()

    async def run(self) -> None:
        """Keep workers ready, for ever."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while len(self._ready) < self._ahead:
                    self._ready.append(await Worker.start(self._entry))
                try:
                    async with asyncio.timeout(self._idle_seconds):
                        await self._wanted.wait()
                except TimeoutError:
                    await self._dismiss()
        finally:
            await asyncio.shield(self._dismiss())

    async def _dismiss(self) -> None:
        while self._ready:
            await self._ready.popleft().end()
