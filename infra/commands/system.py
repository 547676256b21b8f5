"""Running everything, and showing it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.commands import offline, output
from infra.commands.session import HomeOption


def up(
    home: HomeOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; HALFTONE_HOST.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, 0 for a free one; HALFTONE_PORT.", show_default="8787")] = None,
    nats_port: Annotated[
        int | None, typer.Option(help="Port of the broker, 0 for a free one that is kept; HALFTONE_NATS_PORT.", show_default="0")
    ] = None,
    single_process: Annotated[
        bool, typer.Option("--single-process", help="All but the broker and workers in one process: a third of the memory, and one core.")
    ] = False,
) -> None:
    """Run everything: broker, actors and edge, until Ctrl-C."""
    settings = offline.settings_of(home, host=host, port=port, nats_port=nats_port)
    given = {"HOME": settings.home, "HOST": settings.host, "PORT": settings.port, "NATS_PORT": settings.nats_port}
    environment = os.environ | {f"HALFTONE_{name}": str(value) for name, value in given.items()}
    # Replaces this process: what the supervisor forks from must not carry a command line's imports.
    arguments = [sys.executable, "-m", "infra", *(["--single-process"] if single_process else [])]
    os.execve(sys.executable, arguments, environment)  # noqa: S606  # no shell is wanted


def actor(
    name: Annotated[str, typer.Argument(help="ingestor, synthesizer, evaluator, budget_keeper, auditor or edge.", show_default=False)],
    home: HomeOption = None,
    host: Annotated[str | None, typer.Option(help="Address the edge listens on; HALFTONE_HOST.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port the edge listens on, 0 for a free one; HALFTONE_PORT.", show_default="8787")
    ] = None,
) -> None:
    """Run one actor alone, or another edge, until Ctrl-C: beside those of its kind that run already, on the same home and databases."""
    from infra.parts import ENTRIES

    if name not in ENTRIES:
        output.fail(f"there is no actor {name!r}: it is one of {', '.join(ENTRIES)}", output.USAGE)
    settings = offline.settings_of(home, host=host, port=port)
    if not settings.home.is_dir():
        output.fail(f"{settings.home} does not exist: start Halftone there first, or name the home with --home", output.NOT_FOUND)
    given = {"HOME": settings.home, "HOST": settings.host, "PORT": settings.port}
    environment = os.environ | {f"HALFTONE_{key}": str(value) for key, value in given.items()}
    os.execve(sys.executable, [sys.executable, "-m", "infra.parts", name], environment)  # noqa: S606  # no shell is wanted


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
    app.command("actor")(actor)
    app.command("demo")(demo)
