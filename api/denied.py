"""Refused requests that are counted, per source and minute, so that whoever guesses tokens is seen and fills nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()

MINUTE = 60.0
MOST_SOURCES = 1000
"""Sources that are counted one by one within a minute."""
OTHERS = "others"


class Denied:
    """Counts what was denied for want of a valid token; once a minute each source is a line of ``edge.log``, and one audit entry."""

    def __init__(self) -> None:
        self._sources: Counter[str] = Counter()
        self.record: Callable[[str, int], Awaitable[None]] | None = None
        """Enters a source, and how often it was denied, into the audit log."""
        self.total = 0
        """Since the process started."""

    def note(self, source: str) -> None:
        """Count one request."""
        known = source in self._sources or len(self._sources) < MOST_SOURCES
        self._sources[source if known else OTHERS] += 1
        self.total += 1

    def tell(self) -> dict[str, int]:
        """Write down what was counted since this was last done."""
        counted, self._sources = self._sources, Counter()
        for source, count in counted.items():
            log.warning("requests.denied", source=source, count=count)
        return dict(counted)

    async def enter(self) -> None:
        """Write it down, here and in the audit log."""
        for source, count in self.tell().items():
            if self.record is not None:
                await self.record(source, count)

    async def run(self) -> None:
        """Tell once a minute, and when it ends."""
        try:
            while True:
                await asyncio.sleep(MINUTE)
                await self.enter()
        finally:
            self.tell()
