"""A query's result, some rows at a time. The database is told that nothing may be written, and for how long it may work."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy.engine import URL, make_url

Row = Sequence[Any]
_DRIVERS = {"postgresql": "infra.sources.postgres", "sqlite": "infra.sources.sqlite"}
"""Loaded by whoever needs one."""


class Result(Protocol):
    """What a query gives."""

    names: tuple[str, ...]

    def fetch(self, count: int) -> Sequence[Row]:
        """The next rows, at most so many; none at the end. Raises QueryFailed, QueryTooSlow or SourceUnreachable."""


class Deadline:
    """When a query must have ended, its rows read."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._at = seconds, time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._at - time.monotonic()


Reading = Callable[[URL, str, Deadline], AbstractContextManager[Result]]


@contextlib.contextmanager
def querying(url: str, query: str, *, seconds: float) -> Iterator[Result]:
    """Run one query, which was seen to read and not to write. Raises what ``infra.sources.errors`` has for queries."""
    database = make_url(url)
    driver = importlib.import_module(_DRIVERS[database.get_backend_name()])
    reading: Reading = driver.reading
    with reading(database, query, Deadline(seconds)) as result:
        yield result
