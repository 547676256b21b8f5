"""Waiting for the views: for a position, and for news of one job."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from contracts.ids import JobId
from contracts.records import Progress
from contracts.views import ProgressView


class Watermark:
    """A position that rises, and those who wait for it."""

    def __init__(self) -> None:
        self.position = 0
        self._waiting: set[tuple[int, asyncio.Future[None]]] = set()

    def advance(self, position: int) -> None:
        """Say how far it is. It may fall back too, where everything begins again; who waits waits on."""
        self.position = position
        for wanted, future in self._waiting:
            if wanted <= position and not future.done():
                future.set_result(None)

    async def reached(self, position: int, timeout: float) -> bool:  # noqa: ASYNC109  # giving up is an answer here, no error
        """Wait for a position, for so many seconds at most; whether it was reached."""
        if self.position >= position:
            return True
        waiting = (position, asyncio.get_running_loop().create_future())
        self._waiting.add(waiting)
        try:
            done, _ = await asyncio.wait([waiting[1]], timeout=timeout)
        finally:
            self._waiting.discard(waiting)
        return bool(done)


class Changes:
    """News of one job, for one listener. However slow that is, it costs one flag and one progress."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._events = False
        self._progress: ProgressView | None = None

    async def get(self) -> ProgressView | None:
        """Wait for news. None says that there are new events to be read, and comes first; otherwise it is the latest progress."""
        await self._wake.wait()
        progress, self._progress = (None, self._progress) if self._events else (self._progress, None)
        self._events = False
        if self._progress is None:
            self._wake.clear()
        return progress

    def tell_events(self) -> None:
        self._events = True
        self._wake.set()

    def tell_progress(self, progress: ProgressView) -> None:
        self._progress = progress
        self._wake.set()


class Listeners:
    """Who listens to which job."""

    def __init__(self) -> None:
        self._listeners: defaultdict[JobId, set[Changes]] = defaultdict(set)

    @asynccontextmanager
    async def changes(self, job: JobId) -> AsyncIterator[Changes]:
        """Listen to a job. What was folded before is not told again: listen first, then read, and nothing is missed."""
        changes = Changes()
        self._listeners[job].add(changes)
        try:
            yield changes
        finally:
            self._listeners[job].discard(changes)
            if not self._listeners[job]:
                del self._listeners[job]

    def tell_events(self, jobs: Iterable[JobId]) -> None:
        for job in self._listeners.keys() & set(jobs):
            for listener in self._listeners[job]:
                listener.tell_events()

    def tell_progress(self, progress: Progress) -> None:
        if progress.job in self._listeners:
            view = ProgressView(attempt=progress.attempt, step=progress.step, fraction=progress.fraction, left=progress.left)
            for listener in self._listeners[progress.job]:
                listener.tell_progress(view)
