"""The parts of the system by name, and how one runs: in a process of its own that was started alone, or in one that all share."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
import uvloop

from contracts.jobs import Actor
from infra import logs
from infra.hosting import HOST, Host
from infra.refusal import StartRefused
from infra.settings import Settings

log = structlog.get_logger()

ENTRIES = {**{str(actor): f"actors.{actor}:run" for actor in Actor}, "edge": "api.server:run_edge"}
"""Every part and the coroutine it runs, found by name: nothing else of the project knows them all."""
READY_SECONDS = 30.0
GRACE_SECONDS = 10.0
SLOWEST_RESTART = 30.0


class StartFailed(RuntimeError):
    """A part did not become ready."""


def entry(name: str) -> Callable[[Settings], Coroutine[Any, Any, None]]:
    """What a part runs."""
    module, _, function = ENTRIES[name].partition(":")
    found: Callable[[Settings], Coroutine[Any, Any, None]] = getattr(importlib.import_module(module), function)
    return found


def pause_after(failures: int) -> float:
    """Seconds before the next attempt, after so many that failed."""
    return min(SLOWEST_RESTART, 0.25 * float(2 ** min(failures, 10)))


class _Within(Host):
    """A process that is shared: what ends it is not for a part to hear."""

    def __init__(self) -> None:
        self.serves = asyncio.Event()
        self.stop: Callable[[], None] | None = None

    def ready(self, where: str = "") -> None:  # noqa: ARG002  # the home tells that
        self.serves.set()

    def on_stop(self, stop: Callable[[], None]) -> None:
        self.stop = stop


class Part:
    """One actor or the edge as a task, started again with growing pauses when it ends by itself."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self._settings = name, settings
        self._host = _Within()
        self._task: asyncio.Task[None] | None = None
        self.stopping = False

    async def start(self) -> None:
        """Start, and wait until it serves. Raises StartFailed."""
        self._host = _Within()
        HOST.set(self._host)
        # The task takes the host along: a context is copied when a task is made.
        self._task = asyncio.create_task(entry(self.name)(self._settings), name=self.name)
        serves = asyncio.create_task(self._host.serves.wait())
        await asyncio.wait({serves, self._task}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        serves.cancel()
        if self._host.serves.is_set():
            return
        if not self._task.done():
            raise StartFailed(f"{self.name} is not ready after {READY_SECONDS:g} s")
        error = self._task.exception()
        raise StartFailed(f"{self.name}: {error or 'ended while starting'}") from error

    def keep_port(self, port: int) -> None:
        """Have the edge listen, when it is started again, where its clients know it."""
        self._settings = self._settings.model_copy(update={"port": port})

    async def watch(self) -> None:
        """Start it again whenever it ends."""
        failures = 0
        while not self.stopping:
            began = time.monotonic()
            assert self._task is not None  # noqa: S101  # watched only once started
            await asyncio.wait({self._task})
            if self.stopping:
                return
            failures = failures + 1 if time.monotonic() - began < SLOWEST_RESTART else 1
            log.error("part.ended", part=self.name, error=repr(self._task.exception()), failures=failures)
            await asyncio.sleep(pause_after(failures))
            with contextlib.suppress(StartFailed, OSError):
                await self.start()

    async def stop(self) -> None:
        """Ask it to finish; end it when it does not."""
        self.stopping = True
        if self._task is None or self._task.done():
            return
        if self._host.stop is not None:
            self._host.stop()
        await asyncio.wait({self._task}, timeout=GRACE_SECONDS)
        if not self._task.done():
            log.warning("part.cancelled", part=self.name)
            self._task.cancel()
            await asyncio.wait({self._task})


class _Alone(Host):
    """A process that somebody started by hand, or a supervisor that is none of ours."""

    def __init__(self, name: str) -> None:
        self._name = name

    def ready(self, where: str = "") -> None:
        sys.stdout.write(f"{self._name} is ready{where and ' at '}{where}\n")
        sys.stdout.flush()


def main() -> int:
    """Run one part alone, with settings from the environment, until SIGINT or SIGTERM; the exit code says how it ended."""
    name = sys.argv[1]
    settings = Settings.load()
    logs.configure(settings.log_level)
    HOST.set(_Alone(name))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(entry(name)(settings))
        except StartRefused as refusal:
            sys.stderr.write(f"halftone: {name}: {refusal}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
