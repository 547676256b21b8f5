"""Figures beside their targets, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    what: str
    measured: str
    target: str = ""


def percentiles(seconds: Iterable[float]) -> str:
    """The median and the 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return "/".join(f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3:.1f}" for share in (0.5, 0.99)) + " ms"


def show(title: str, figures: Iterable[Figure]) -> None:
    """Print a table in Markdown."""
    print(f"\n## {title}\n\n| what | measured | target |\n|---|---|---|")
    for figure in figures:
        print(f"| {figure.what} | {figure.measured} | {figure.target} |")
