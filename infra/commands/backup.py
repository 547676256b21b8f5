"""Copies of everything, made while Halftone runs, and put back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.commands import offline, output
from infra.commands.session import HomeOption


def backup(
    target: Annotated[Path, typer.Argument(help="Directory to make, or file if the name ends with .tar.", show_default=False)],
    home: HomeOption = None,
) -> None:
    """Copy databases, streams, objects, the log's keys and tokens, while Halftone runs or not. It holds secrets: mode 0600."""
    import asyncio

    from infra.backup.archive import BackupRefused, back_up
    from infra.backup.streams import StreamNotCopied
    from infra.refusal import StartRefused

    settings = offline.settings_of(home)
    try:
        made = asyncio.run(back_up(settings, target.absolute()))
    except (BackupRefused, StreamNotCopied, StartRefused, OSError) as error:
        output.fail(f"no backup was made: {error}")
    typer.echo(f"{target}: {len(made.databases)} databases, {len(made.files)} files, of {made.made_at:%Y-%m-%dT%H:%M:%SZ}")


def restore(
    source: Annotated[Path, typer.Argument(help="What halftone backup made.", show_default=False)],
    home: HomeOption = None,
) -> None:
    """Put a backup into a home that is not there or empty, and where HALFTONE_DATABASE_URL is set into that database."""
    import asyncio

    from infra.backup.archive import BackupRefused, put_back
    from infra.backup.databases import DatabaseNotEmpty
    from infra.backup.streams import StreamNotCopied
    from infra.refusal import StartRefused

    settings = offline.settings_of(home)
    try:
        made = asyncio.run(put_back(settings, source))
    except (BackupRefused, DatabaseNotEmpty, StreamNotCopied, StartRefused, OSError) as error:
        output.fail(f"not restored: {error}")
    typer.echo(f"{settings.home}: as of {made.made_at:%Y-%m-%dT%H:%M:%SZ}; start it with halftone up --home {settings.home}")
    output.note("What was released after that is not in the ledger: see docs/operations.md before real data is used again.")
