"""Bringing databases up to date ahead of a start, or seeing whether they are."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from infra.commands import offline, output
from infra.commands.session import HomeOption

if TYPE_CHECKING:
    from infra.settings import Settings


def migrate(
    home: HomeOption = None,
    check: Annotated[bool, typer.Option("--check", help="Only say which are not of this version: ends with 1 if any is.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON, on a terminal too.")] = False,
) -> None:
    """Bring every database up to date. Halftone does so itself when it starts; it must not run meanwhile."""
    from infra.database.versions import HEAD, KINDS
    from infra.refusal import StartRefused

    settings = offline.settings_of(home)
    try:
        with contextlib.nullcontext() if check else offline.held(settings):
            found = [_look(settings, database) if check else _migrate(settings, database) for database in KINDS]
    except StartRefused as refusal:
        output.fail(str(refusal))
    columns: list[output.Column] = [
        ("database", lambda each: each["database"]),
        ("before", lambda each: each["before"] or "none yet"),
        ("now", lambda each: each["now"] or "none yet"),
    ]
    output.table(found, columns, as_json=json)
    behind = [str(each["database"]) for each in found if each["now"] not in {HEAD, None}]
    if behind:
        output.note(f"halftone: {', '.join(behind)} not of revision {HEAD}: run halftone migrate, or start Halftone")
        raise typer.Exit(output.ERROR)


def _look(settings: Settings, database: str) -> dict[str, str | None]:
    """The revision of a database; None where there is none yet. Raises DatabaseTooNew."""
    from infra.database.engine import reading
    from infra.database.versions import revision

    held = None
    if _there(settings, database):
        engine = reading(settings.database_of(database), 1)
        with engine.connect() as connection:
            held = revision(connection, database)
        engine.dispose()
    return {"database": database, "before": held, "now": held}


def _migrate(settings: Settings, database: str) -> dict[str, str | None]:
    """Bring a database up to date. Raises DatabaseTooNew."""
    from infra.database import versions
    from infra.database.engine import begin_writing, writing

    before = _look(settings, database)["before"]
    if before not in {None, versions.HEAD}:
        url = settings.database_of(database)
        engine = writing(url)
        with engine.begin() as connection:
            begin_writing(connection, url)
            versions.migrate(connection, database, before)
        engine.dispose()
    return {"database": database, "before": before, "now": before and versions.HEAD}


def _there(settings: Settings, database: str) -> bool:
    """Whether there may be such a database: to look into a file that is not there would make it."""
    from infra.home import Home

    return bool(settings.database_url) or (Home(settings.home).databases / f"{database}.sqlite").exists()
