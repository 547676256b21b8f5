"""How many jobs of a project are under way, and may be."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from api.problems import TooMany
from api.views.projector import Projector
from api.views.queries import Views
from contracts import subjects
from contracts.ids import JobId, ProjectId

CATCH_UP = 2.0
"""Seconds that a count waits for the view to show what was promised."""


class TooManyJobs(TooMany):
    """As many of the project's jobs are under way as may be: wait for some to end, or cancel some."""

    code = "too-many-jobs"
    retry_after = 5


@dataclass
class _Project:
    counted: int | None = None
    """Under way when the view was last asked; None before that."""
    since: dict[JobId, int | None] = field(default_factory=dict)
    """Promised since, with the sequence of the acceptance where it is known."""
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def taken(self) -> int:
        return (self.counted or 0) + len(self.since)


class UnderWay:
    """Counts without asking: what the view said once, and every promise since, are never too few.

    It is asked again when that is too many.
    """

    def __init__(self, views: Views, projector: Projector, most: int) -> None:
        self._views, self._projector, self._most = views, projector, most
        self._projects: defaultdict[ProjectId, _Project] = defaultdict(_Project)

    async def require_room(self, project: ProjectId) -> None:
        """Refuse what would be one job too many. Raises TooManyJobs."""
        here = self._projects[project]
        if here.counted is None or here.taken >= self._most:
            async with here.counting:
                await self._count(project, here)
        if here.taken >= self._most:
            raise TooManyJobs(
                f"{here.taken} jobs of project {project} are under way, as many as may be: wait for some to end, or cancel some.",
                limit=self._most,
                project=project,
            )

    async def take(self, project: ProjectId, job: JobId) -> None:
        """Count a job that is about to be promised. Raises TooManyJobs."""
        await self.require_room(project)
        self._projects[project].since[job] = None

    def promised(self, project: ProjectId, job: JobId, sequence: int | None) -> None:
        """Note where a job's acceptance stands, once it does."""
        if job in (since := self._projects[project].since):
            since[job] = sequence

    def give_back(self, project: ProjectId, job: JobId) -> None:
        """Count a job no more that was not promised after all."""
        self._projects[project].since.pop(job, None)

    async def _count(self, project: ProjectId, here: _Project) -> None:
        since = dict(here.since)
        known = [sequence for sequence in since.values() if sequence is not None]
        if known:
            await self._projector.reached(subjects.EVENTS, max(known), CATCH_UP)
        position = self._projector.position(subjects.EVENTS)
        seen = [job for job, sequence in since.items() if await self._shows(job, sequence, position)]
        # Asked after these were seen: each is in the answer, or has ended. Others may be in it too, for promises are made meanwhile.
        shown = await self._views.under_way(project)
        here.counted = len(shown)
        for job in (*seen, *shown):
            here.since.pop(job, None)

    async def _shows(self, job: JobId, sequence: int | None, position: int) -> bool:
        return await self._views.job(job) is not None if sequence is None else sequence <= position
