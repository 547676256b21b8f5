"""Tokens, on the command line."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from infra.commands import output
from infra.commands.session import Session, connected

app = typer.Typer(no_args_is_help=True, help="Who else may come in, and as what: for administrators.", rich_markup_mode=None)
_COLUMNS: list[output.Column] = [
    ("token", lambda view: view.id),
    ("name", lambda view: view.name),
    ("role", lambda view: view.role),
    ("holder", lambda view: view.holder),
    ("created", lambda view: view.created),
    ("expires", lambda view: view.expires),
    ("revoked", lambda view: view.revoked),
]


@app.command("issue")
@connected
def issue(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is called: whose it is, or what it is for.", show_default=False)],
    role: Annotated[str, typer.Option(help="administrator, curator or reader.")] = "reader",
    days: Annotated[float | None, typer.Option(min=0, help="Days after which it opens nothing.", show_default="until revoked")] = None,
) -> None:
    """Give out a token. Writes the token, this once: only its hash is kept."""
    expires = None if days is None else dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    issued = session.client.tokens.issue(name, role, expires=expires)
    if session.json:
        output.print_json(issued)
        return
    output.note(f"{issued.id}, {issued.role}, for {issued.name}; 'halftone tokens revoke {issued.id}' takes it back")
    typer.echo(issued.token)


@app.command("list")
@connected
def list_tokens(session: Session) -> None:
    """Show tokens that were given out, the newest first; not the tokens themselves."""
    output.table(session.client.tokens.list(), _COLUMNS, as_json=session.json, empty="no tokens but the administrator's own")


@app.command("revoke")
@connected
def revoke(session: Session, id: Annotated[str, typer.Argument(help="Id of the token, as 'tokens list' shows it.")]) -> None:  # noqa: A002  # the argument's name
    """Have a token open nothing any more, and end what it has open. Doing it again changes nothing."""
    session.client.tokens.revoke(id)
