"""Running everything, and showing it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.commands import output, places
from infra.commands.session import HomeOption


def up(
    home: HomeOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; HALFTONE_HOST.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, 0 for a free one; HALFTONE_PORT.", show_default="8787")] = None,
    nats_port: Annotated[
        int | None, typer.Option(help="Port of the broker, 0 for a free one that is kept; HALFTONE_NATS_PORT.", show_default="0")
    ] = None,
) -> None:
    """Run everything: broker, actors and edge, until Ctrl-C."""
    from pydantic import ValidationError

    from infra.settings import Settings

    try:
        settings = Settings.load(home=places.home_of(home), host=host, port=port, nats_port=nats_port)
    except ValidationError as error:
        first = error.errors()[0]
        output.fail(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}; see docs/settings.md", output.USAGE)
    given = {"HOME": settings.home, "HOST": settings.host, "PORT": settings.port, "NATS_PORT": settings.nats_port}
    environment = os.environ | {f"HALFTONE_{name}": str(value) for name, value in given.items()}
    # Replaces this process: what the supervisor forks from must not carry a command line's imports.
    os.execve(sys.executable, [sys.executable, "-m", "infra"], environment)  # noqa: S606  # no shell is wanted


def demo(
    home: Annotated[Path | None, typer.Option(help="Home to make; must not exist. Without it one is made under ./.halftone-demo")] = None,
) -> None:
    """Show the whole idea on the Adult census table: a private copy, its cost, its quality, a proof. Under a minute."""
    from infra.demo.run import DemoFailed, run

    try:
        run(home)
    except DemoFailed as error:
        output.fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(output.INTERRUPTED) from None


def add_to(app: typer.Typer) -> None:
    """Put the commands where they belong."""
    app.command("up")(up)
    app.command("demo")(demo)
