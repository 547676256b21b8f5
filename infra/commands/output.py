"""What commands write: data to standard output (a table on a terminal, tab-separated elsewhere, or JSON), the rest to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

ERROR, USAGE, REFUSED, NOT_FOUND, INTERRUPTED = 1, 2, 3, 4, 130
"""Exit codes beside 0."""
Column = tuple[str, Callable[[Any], Any]]
"""A heading, and what stands under it for a thing."""


def fail(reason: str, code: int = ERROR) -> NoReturn:
    """Say what is wrong, and end."""
    note(f"halftone: {reason}")
    raise typer.Exit(code)


def note(line: str) -> None:
    """Say something that is not data."""
    typer.echo(line, err=True)


def on_terminal() -> bool:
    return sys.stdout.isatty()


def print_json(data: Any) -> None:
    """Write JSON: models as the API gave them."""
    typer.echo(json.dumps(_plain(data), indent=2 if on_terminal() else None, ensure_ascii=False))


def table(things: Iterable[Any], columns: Sequence[Column], *, as_json: bool, empty: str = "") -> None:
    """Write one line per thing: with headings on a terminal, without them elsewhere."""
    found = list(things)
    if as_json:
        print_json(found)
        return
    cells = [[_cell(of(thing)) for _, of in columns] for thing in found]
    if not on_terminal():
        for row in cells:
            typer.echo("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    if not cells:
        note(empty)
        return
    from rich.table import Table

    shown = Table(*(heading for heading, _ in columns), box=None, header_style="bold", pad_edge=False)
    for row in cells:
        shown.add_row(*row)
    console().print(shown)


def details(thing: Any, fields: Sequence[Column], *, as_json: bool) -> None:
    """Write one thing: a field a line."""
    if as_json:
        print_json(thing)
        return
    said = [(heading, _cell(of(thing))) for heading, of in fields]
    width = max(len(heading) for heading, _ in said) if on_terminal() else 0
    for heading, cell in said:
        if cell or not on_terminal():
            typer.echo(f"{heading:{width}}  {cell}" if on_terminal() else f"{heading}\t{cell}")


def console(*, stderr: bool = False) -> Console:
    """A console that never cuts an id in two."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _plain(data: Any) -> Any:
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data]
    if isinstance(data, dict):
        return {name: _plain(value) for name, value in data.items()}
    return data.model_dump(mode="json") if hasattr(data, "model_dump") else data
