"""Events, as they happen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.commands import output, places
from infra.commands.session import HomeOption

app = typer.Typer(no_args_is_help=True, help="What happens, as it happens.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """What happens, as it happens."""


@app.command("tail")
def tail(
    home: HomeOption = None,
    subject: Annotated[str, typer.Option(help="NATS subject of the events wanted; * and > are wildcards.")] = "halftone.evt.>",
) -> None:
    """Print events as JSON lines, from now on, until Ctrl-C."""
    import asyncio

    directory = places.home_of(home)
    try:
        asyncio.run(_tail(directory, subject))
    except KeyboardInterrupt:
        raise typer.Exit(output.INTERRUPTED) from None
    except FileNotFoundError:
        output.fail(f"no system ever ran on {directory}: start it with 'halftone up --home {directory}'")
    except OSError as error:
        output.fail(f"the broker of {directory} cannot be reached ({error}): start it with 'halftone up --home {directory}'")


async def _tail(home: Path, subject: str) -> None:
    import socket

    from infra.bus.connection import connect
    from infra.home import BusAccess, Home

    access = BusAccess.load(Home(home))
    # The client would wait for ever for a broker that is not there; a person wants to be told.
    socket.create_connection((access.host, access.port), timeout=2).close()
    client = await connect(access.url("subscriber"), "subscriber")
    subscription = await client.subscribe(subject)
    async for message in subscription.messages:
        typer.echo(message.data.decode())
