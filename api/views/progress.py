"""How far jobs are: news that is gone when it is old, and so is kept nowhere but here."""

from __future__ import annotations

from collections import OrderedDict

from contracts.ids import JobId
from contracts.records import Progress

KEPT = 4096
"""Most jobs whose progress is remembered."""


class LatestProgress:
    """The latest progress of each running job. The one heard of longest ago goes first where there are too many."""

    def __init__(self) -> None:
        self._latest: OrderedDict[JobId, Progress] = OrderedDict()

    def get(self, job: JobId) -> Progress | None:
        return self._latest.get(job)

    def put(self, progress: Progress) -> bool:
        """Remember it; false if it is of an attempt that is over."""
        known = self._latest.get(progress.job)
        if known is not None and known.attempt > progress.attempt:
            return False
        self._latest[progress.job] = progress
        self._latest.move_to_end(progress.job)
        if len(self._latest) > KEPT:
            self._latest.popitem(last=False)
        return True

    def drop(self, job: JobId) -> None:
        self._latest.pop(job, None)
