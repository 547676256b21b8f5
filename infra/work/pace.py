"""When a job may be done, by how fast it went: an estimate that moves with it."""

from __future__ import annotations

LATELY = 0.3
"""Weight of the last stretch in the pace."""
LEAST_STRETCH = 0.005
"""Part of a job below which a stretch says nothing of the pace."""


class Pace:
    """The pace of one attempt, in parts of the job per second."""

    def __init__(self, began: float) -> None:
        """``began``: on the clock that all times are given on, in seconds."""
        self._at, self._done = began, 0.0
        self._rate: float | None = None

    def left(self, fraction: float, now: float) -> float | None:
        """Whole seconds until it may be done; None while nothing can be said."""
        stretch, seconds = fraction - self._done, now - self._at
        if stretch >= LEAST_STRETCH and seconds > 0:
            rate = stretch / seconds
            self._rate = rate if self._rate is None else (1 - LATELY) * self._rate + LATELY * rate
            self._at, self._done = now, fraction
        if self._rate is None:
            return None
        return float(round(max(0.0, (1 - fraction) / self._rate - (now - self._at))))
