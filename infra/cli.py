"""The command line. Data goes to standard output, everything else to standard error; exit codes: 0 well, 1 error, 2 usage."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from infra.home import Home
from infra.settings import Settings

app = typer.Typer(name="halftone", no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)
audit = typer.Typer(no_args_is_help=True, help="Check the log: offline, with its files and public key alone.")
events = typer.Typer(no_args_is_help=True, help="What happens, as it happens.")
app.add_typer(audit, name="audit")
app.add_typer(events, name="events")

HomeOption = Annotated[Path, typer.Option(envvar="HALFTONE_HOME", help="Directory that holds all state.")]
DEFAULT_HOME = Path(".halftone")


@app.command()
def up(
    home: HomeOption = DEFAULT_HOME,
    host: Annotated[str, typer.Option(envvar="HALFTONE_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="HALFTONE_PORT", help="Port to listen on; 0 picks a free one.")] = 8787,
    nats_port: Annotated[int, typer.Option(envvar="HALFTONE_NATS_PORT", help="Port of the broker; 0 picks one and keeps it.")] = 0,
) -> None:
    """Run everything: broker, actors and edge, until Ctrl-C."""
    settings = Settings.load(home=home, host=host, port=port, nats_port=nats_port)
    given = {"HOME": settings.home, "HOST": settings.host, "PORT": settings.port, "NATS_PORT": settings.nats_port}
    environment = os.environ | {f"HALFTONE_{name}": str(value) for name, value in given.items()}
    # Replaces this process: what the supervisor forks from must not carry a command line's imports.
    os.execve(sys.executable, [sys.executable, "-m", "infra.supervisor"], environment)  # noqa: S606  # no shell is wanted


@app.command()
def demo(
    home: Annotated[Path | None, typer.Option(help="Home to make; must not exist. Without it one is made under ./.halftone-demo")] = None,
) -> None:
    """Show the whole idea on the Adult census table: a private copy, its cost, its quality, a proof. Under a minute."""
    from infra.demo.run import DemoFailed, run  # noqa: PLC0415  # an HTTP client and a progress display, wanted here alone

    try:
        run(home)
    except DemoFailed as error:
        fail(str(error))


@audit.command("verify")
def audit_verify(
    home: HomeOption = DEFAULT_HOME,
    entries: Annotated[Path | None, typer.Option(help="Exported log (JSON lines) to check instead of the home's.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Signed checkpoint; the home's, if not given.")] = None,
    key: Annotated[Path | None, typer.Option(help="Public key of the log; the home's, if not given.")] = None,
    proof: Annotated[Path | None, typer.Option(help="Check one inclusion proof, as the API serves it, instead of the whole log.")] = None,
) -> None:
    """Recompute the log from its entries and compare it with what was signed. Says which entry was changed, if one was."""
    from halftone.merkle import LogError, canonical, verify_log, verify_proof  # noqa: PLC0415  # cryptography: not for every command

    directory = Home(home).audit
    verifier = _text(key or directory / "public-key").strip()
    try:
        if proof is not None:
            bundle = _proof(proof)
            covered = verify_proof(canonical(bundle["entry"]), bundle, verifier)
            typer.echo(f"proved: entry {bundle['index']} is in the log of {covered.size} entries signed with {verifier}")
            return
        with _log(home, entries) as (bodies, leaves):
            report = verify_log(bodies, _text(checkpoint or directory / "checkpoint"), verifier, leaf_hashes=leaves)
    except LogError as error:
        fail(f"the log does not hold: {error}")
    typer.echo(f"verified: {report.checkpoint.size} entries, root {report.checkpoint.root.hex()}, signed with {verifier}")
    if report.uncovered:
        typer.echo(f"{report.uncovered} newer entries are not covered by the checkpoint yet", err=True)


@audit.command("export")
def audit_export(
    target: Annotated[Path, typer.Argument(help="Directory to write entries.jsonl, checkpoint and public-key into.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Write out what an outsider needs to check the log."""
    target.mkdir(parents=True, exist_ok=True)
    directory = Home(home).audit
    # The checkpoint first: entries that come meanwhile are beyond it, never the other way round.
    for name in ("checkpoint", "public-key"):
        _text(directory / name)
        shutil.copy(directory / name, target / name)
    with _log(home, None) as (bodies, _), (target / "entries.jsonl").open("wb") as file:
        count = 0
        for body in bodies:
            file.write(body + b"\n")
            count += 1
    typer.echo(f"{count} entries in {target}")


@events.command("tail")
def events_tail(
    home: HomeOption = DEFAULT_HOME,
    subject: Annotated[str, typer.Option(help="NATS subject of the events wanted; * and > are wildcards.")] = "halftone.evt.>",
) -> None:
    """Print events as JSON lines, from now on, until Ctrl-C."""
    try:
        asyncio.run(_tail(home, subject))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except FileNotFoundError:
        fail(f"no system ever ran on {home}: start it with halftone up --home {home}")


async def _tail(home: Path, subject: str) -> None:
    from infra.bus.connection import connect  # noqa: PLC0415  # the bus: not for every command
    from infra.home import BusAccess  # noqa: PLC0415

    client = await connect(BusAccess.load(Home(home)).url("subscriber"), "subscriber")
    subscription = await client.subscribe(subject)
    async for message in subscription.messages:
        typer.echo(message.data.decode())


class _log:  # noqa: N801  # reads as a function in a with statement
    """The entries of a log in order, with their recorded leaf hashes where the home's database has them."""

    def __init__(self, home: Path, entries: Path | None) -> None:
        self._source = entries or Home(home).databases / "auditor.sqlite"
        self._exported = entries is not None

    def __enter__(self) -> tuple[Iterator[bytes], Iterator[bytes] | None]:
        if not self._source.exists():
            fail(f"{self._source} does not exist: name the log with --home or --entries")
        if self._exported:
            self._file = self._source.open("rb")
            return (line.removesuffix(b"\n") for line in self._file), None
        self._database = sqlite3.connect(f"{self._source.as_uri()}?mode=ro", uri=True)
        bodies = self._database.execute("SELECT entry FROM entries ORDER BY idx")
        leaves = self._database.execute("SELECT leaf FROM entries ORDER BY idx")
        return (row[0] for row in bodies), (row[0] for row in leaves)

    def __exit__(self, *_: object) -> None:
        (self._file if self._exported else self._database).close()


def _proof(path: Path) -> dict[str, Any]:
    try:
        bundle = json.loads(_text(path))
    except ValueError as error:
        fail(f"{path} is not JSON: {error}")
    if not isinstance(bundle, dict) or "entry" not in bundle:
        fail(f"{path} is not a proof as GET /v1/audit/proofs serves it: it has no entry")
    return bundle


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        fail(f"{path} does not exist")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read: {error}")


def fail(reason: str) -> NoReturn:
    """Say what is wrong and end with code 1."""
    typer.echo(f"halftone: {reason}", err=True)
    raise typer.Exit(1)


def main() -> None:
    """Entry point of the ``halftone`` command."""
    app()


if __name__ == "__main__":
    main()
