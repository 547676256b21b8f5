"""How far a job is, on standard error: a bar on a terminal, a line per step elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from infra.commands.output import console, note

Progress = Callable[[float, str], None]


@contextmanager
def shown() -> Iterator[Progress]:
    """Give what is to be told of progress."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(40), TextColumn("{task.percentage:3.0f} %"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("accepted", total=1.0)
        yield lambda fraction, step: bar.update(task, completed=fraction, description=step)


def _lines() -> Progress:
    last = ""

    def told(fraction: float, step: str) -> None:
        nonlocal last
        if step != last:
            last = step
            note(f"{fraction:4.0%} {step}")

    return told
