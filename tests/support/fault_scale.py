"""How much of each fault is tried, and what is noted of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import pytest

FULL = os.environ.get("HALFTONE_FAULTS") == "full"
SEED = int(os.environ.get("HALFTONE_FAULTS_SEED", "20261122"))

Note = Callable[[str, object], None]
"""Notes a figure for the table: ``runs``, or ``recovery`` in seconds."""


def scale(full: int, sample: int) -> int:
    """A number for ``./just faults``, and a smaller one for the ordinary suite."""
    return full if FULL else sample


def some(values: Iterable[str], *sample: str) -> list[object]:
    """Parameters of a test: all of them for ``./just faults``, those of the sample for the ordinary suite as well."""
    return [value if value in sample else pytest.param(value, marks=pytest.mark.long) for value in values]
