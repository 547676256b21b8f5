"""What is wrong, if something is, and what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from infra.commands import output, places
from infra.commands.session import HomeOption, JsonOption, TokenOption, UrlOption

if TYPE_CHECKING:
    from infra.commands.examination import Finding


def doctor(url: UrlOption = None, token: TokenOption = None, home: HomeOption = None, json: JsonOption = False) -> None:
    """Look at Python, home, broker, edge, token, disk and clock: say what is wrong, and what to do. Ends with 1 if anything is."""
    from infra.commands import examination

    found = [examination.python(sys.version_info), *examination.versions()]
    try:
        told_url, told_token, told_home = places.access_of(url, token, home)
    except ValueError as error:
        found.append(examination.Finding("settings", False, str(error), "correct that file"))
        _end(found, as_json=json)
        return
    directory = _home(told_url, told_home)
    if directory is not None:
        found += examination.home(directory)
    found += examination.edge(told_url, told_token, told_home)
    _end(found, as_json=json)


def _home(url: str | None, home: Path | None) -> Path | None:
    """The home to look at; None for a Halftone that is elsewhere."""
    import os

    if url or (home is None and os.environ.get("HALFTONE_URL")):
        return None
    return places.home_of(home)


def _end(found: list[Finding], *, as_json: bool) -> None:
    columns: list[output.Column] = [
        ("", lambda each: "ok" if each.well else "WRONG"),
        ("what", lambda each: each.what),
        ("found", lambda each: each.found),
        ("do", lambda each: each.todo),
    ]
    things = [each.as_dict() for each in found] if as_json else found
    output.table(things, columns, as_json=as_json)
    wrong = sum(not each.well for each in found)
    if wrong:
        output.note(f"halftone: {wrong} of {len(found)} checks found something wrong")
        raise typer.Exit(output.ERROR)
