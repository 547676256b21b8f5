"""Requests without a known principal: counted per source and minute, so that whoever guesses tokens is seen and fills nothing."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog

log = structlog.get_logger()

MINUTE = 60.0
MOST_SOURCES = 1000
"""Sources that are counted one by one within a minute."""
OTHERS = "others"


class Denied:
    """Counts what was denied for want of a valid token; once a minute each source that was is a line of the log."""

    def __init__(self) -> None:
        self._sources: Counter[str] = Counter()
        self.total = 0
        """Since the process started."""

    def note(self, source: str) -> None:
        """Count one request."""
        known = source in self._sources or len(self._sources) < MOST_SOURCES
        self._sources[source if known else OTHERS] += 1
        self.total += 1

    def tell(self) -> None:
        """Write down what was counted since this was last done."""
        counted, self._sources = self._sources, Counter()
        for source, count in counted.items():
            log.warning("requests.denied", source=source, count=count)

    async def run(self) -> None:
        """Tell once a minute, and when it ends."""
        try:
            while True:
                await asyncio.sleep(MINUTE)
                self.tell()
        finally:
            self.tell()
