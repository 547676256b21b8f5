"""Dead letters, on the command line."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from infra.commands import output
from infra.commands.session import Session, connected

app = typer.Typer(no_args_is_help=True, help="Messages that were given up, and what becomes of them.", rich_markup_mode=None)
LetterArgument = Annotated[str, typer.Argument(help="Id of the dead letter.", show_default=False)]
_COLUMNS: list[output.Column] = [
    ("letter", lambda view: view.id),
    ("reason", lambda view: view.reason),
    ("attempts", lambda view: view.attempts),
    ("source", lambda view: view.source),
    ("job", lambda view: view.job),
    ("settled", lambda view: view.settled),
    ("time", lambda view: view.time),
]
_DETAILS: list[output.Column] = [
    *_COLUMNS,
    ("subject", lambda view: view.subject),
    ("type", lambda view: view.type),
    ("replayed as", lambda view: view.replayed_as),
    ("message", lambda view: json.dumps(view.message) if view.message else view.body),
]


@app.command("list")
@connected
def list_letters(
    session: Session,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were replayed or discarded.")] = False,
) -> None:
    """List messages that were given up, the newest first: those about which nobody has decided."""
    found = session.client.dead_letters.list(settled=None if everything else False)
    output.table(found, _COLUMNS, as_json=session.json, empty="no dead letters")


@app.command("show")
@connected
def show(session: Session, letter: LetterArgument) -> None:
    """Show why a message was given up, and the message."""
    output.details(session.client.dead_letters.get(letter), _DETAILS, as_json=session.json)


@app.command("replay")
@connected
def replay(session: Session, letter: LetterArgument) -> None:
    """Have the letter's job done anew. Writes the new job's id."""
    job = session.client.dead_letters.replay(letter)
    if session.json:
        output.print_json({"id": job.id})
    else:
        typer.echo(job.id)


@app.command("discard")
@connected
def discard(session: Session, letter: LetterArgument) -> None:
    """Say that nothing is to be done about a letter. It stays listed under --all."""
    output.details(session.client.dead_letters.discard(letter), _COLUMNS, as_json=session.json)
