"""What a handler works with: the gateway for what is to happen, the views for what has happened, and the wait between the two."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from api.figures import Figures
from api.gateway import Gateway
from api.holding import waiting
from api.problems import NotFound, Unavailable
from api.registry import Registry
from api.views.projector import Projector
from api.views.queries import Views
from contracts import subjects
from contracts.ids import DEFAULT_PROJECT, DatasetId, JobId
from contracts.views import DatasetView, JobView
from infra.objects import Objects
from infra.runtime import Runtime
from infra.settings import Settings

T = TypeVar("T")

CATCH_UP = 2.0
"""Seconds that a request waits for a view to show what this edge has promised."""
LONGEST_WAIT = 60.0
"""Seconds that a client may have a request wait for a job's end."""
_ID = re.compile(r"[a-z]{2,3}_[0-9a-f]{32}")


class ViewBehind(Unavailable):
    """It was accepted, and the view does not show it yet: try again."""

    code = "view-behind"


@dataclass(frozen=True)
class Edge:
    """The parts of a running edge. One object, made by the composition, given to every handler."""

    runtime: Runtime
    gateway: Gateway
    registry: Registry
    views: Views
    projector: Projector
    figures: Figures

    @property
    def settings(self) -> Settings:
        return self.runtime.settings

    @property
    def objects(self) -> Objects:
        return self.runtime.objects

    async def until(self, look: Callable[[], Awaitable[T | None]], seconds: float) -> T | None:
        """Look again whenever the view of events has moved on, until there is something to see."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            # Read before looking: what is folded in between is not missed.
            position = self.projector.position(subjects.EVENTS)
            found = await look()
            if found is not None:
                return found
            left = deadline - loop.time()
            if left <= 0 or not await self.projector.reached(subjects.EVENTS, position + 1, left):
                return None

    def require_project(self, project: str) -> None:
        """Refuse what is asked of a project that there is not. Raises NotFound."""
        if project != DEFAULT_PROJECT:
            name = project[:80]
            raise NotFound(f"There is no project {name!r}: leave it out, or name {DEFAULT_PROJECT!r}.", id=name, parameter="project")

    async def reached(self, sequence: int | None, seconds: float = CATCH_UP) -> None:
        """Wait, for a while, until the views hold an event that a client has seen."""
        if sequence is not None:
            await self.projector.reached(subjects.EVENTS, sequence, seconds)

    async def job(self, job: str) -> JobView:
        """One job, also one that was accepted a moment ago. Raises NotFound, or ViewBehind."""
        _require_id("job", "job", job)
        view = await self.views.job(job)
        if view is not None:
            return view
        await self._require_accepted(job)
        return _seen(await self.until(lambda: self.views.job(job), CATCH_UP))

    async def ended(self, job: str, seconds: float) -> JobView | None:
        """One job once it has ended, or None after so many seconds. Raises NotFound, or TokenRevoked where the wait's token was."""
        _require_id("job", "job", job)
        # Listening comes first: an end that is folded while the view is read is told, not missed.
        async with self.projector.ends(job) as ends:
            view = await self.views.job(job)
            if view is None:
                await self._require_accepted(job)
            try:
                with waiting():
                    async with asyncio.timeout(seconds):
                        while view is None or not view.state.terminal:
                            await ends.get()
                            view = await self.views.job(job)
            except TimeoutError:
                return None
            return view

    async def _require_accepted(self, job: JobId) -> None:
        if not await self.gateway.has_accepted(job):
            raise NotFound.of("job", job)

    async def dataset(self, dataset: str) -> DatasetView:
        """One dataset with its name, also one that was registered a moment ago. Raises NotFound, or ViewBehind."""
        _require_id("ds", "dataset", dataset)
        record = await self.registry.dataset(dataset)
        view = await self.views.dataset(dataset)
        if view is None:
            if record is None:
                raise NotFound.of("dataset", dataset)
            view = _seen(await self.until(lambda: self.views.dataset(dataset), CATCH_UP))
        return view.model_copy(update={"name": record.name}) if record is not None else view


def _seen(view: T | None) -> T:
    if view is None:
        raise ViewBehind
    return view


def _require_id(prefix: str, what: str, name: str) -> None:
    if not _ID.fullmatch(name) or not name.startswith(prefix + "_"):
        raise NotFound.of(what, name)


def is_job(name: str) -> JobId | None:
    """The name, if it is that of a job."""
    return name if _ID.fullmatch(name) and name.startswith("job_") else None


def is_dataset(name: str) -> DatasetId | None:
    """The name, if it is that of a dataset."""
    return name if _ID.fullmatch(name) and name.startswith("ds_") else None
