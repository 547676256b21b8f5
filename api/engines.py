"""Which engines are installed: their names alone. Loading one is a worker's business."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from contracts.problems import ProblemError

GROUP = "halftone.engines"


class EngineUnknown(ProblemError):
    """There is no such engine."""

    status, code = 422, "engine-unknown"


@cache
def engine_names() -> tuple[str, ...]:
    """Names, sorted. What is installed while this process runs is seen after a restart."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def require_engine(name: str) -> None:
    """Refuse a name that is no engine's. Raises EngineUnknown, which lists those that are."""
    if name not in engine_names():
        known = ", ".join(engine_names())
        raise EngineUnknown(f"There is no engine {name[:64]!r}; there are: {known}.", parameter="engine", engines=list(engine_names()))
