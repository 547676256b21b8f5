"""The log, on the command line: checked offline, exported, proved."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.commands import output, places
from infra.commands.output import fail
from infra.commands.session import HomeOption, Session, connected

app = typer.Typer(no_args_is_help=True, help="Check the log: offline, with its files and public key alone.", rich_markup_mode=None)


@app.command("verify")
def verify(
    home: HomeOption = None,
    entries: Annotated[Path | None, typer.Option(help="Exported log (JSON lines) to check instead of the home's.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Signed checkpoint; the home's, if not given.")] = None,
    key: Annotated[Path | None, typer.Option(help="Public key of the log; the home's, if not given.")] = None,
    proof: Annotated[Path | None, typer.Option(help="Check one inclusion proof, as the API serves it, instead of the whole log.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON, on a terminal too.")] = False,
) -> None:
    """Recompute the log from its entries and compare it with what was signed. Says which entry was changed, if one was."""
    from halftone.merkle import LogError, canonical, verify_log, verify_proof

    audit = _audit(home)
    verifier = _text(key or audit / "public-key").strip()
    try:
        if proof is not None:
            bundle = _proof(proof)
            covered = verify_proof(canonical(bundle["entry"]), bundle, verifier)
            said = f"proved: entry {bundle['index']} is in the log of {covered.size} entries signed with {verifier}"
            _say(said, {"index": bundle["index"], "size": covered.size, "root": covered.root.hex(), "key": verifier}, as_json=json)
            return
        with _Log(home, entries) as (bodies, leaves):
            report = verify_log(bodies, _text(checkpoint or audit / "checkpoint"), verifier, leaf_hashes=leaves)
    except LogError as error:
        fail(f"the log does not hold: {error}")
    signed = report.checkpoint
    said = f"verified: {signed.size} entries, root {signed.root.hex()}, signed with {verifier}"
    _say(said, {"size": signed.size, "root": signed.root.hex(), "key": verifier, "uncovered": report.uncovered}, as_json=json)
    if report.uncovered:
        output.note(f"{report.uncovered} newer entries are not covered by the checkpoint yet")


def _say(line: str, data: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.print_json(data)
    else:
        typer.echo(line)


@app.command("export")
def export(
    target: Annotated[Path, typer.Argument(help="Directory to write entries.jsonl, checkpoint and public-key into.")],
    home: HomeOption = None,
) -> None:
    """Write out what an outsider needs to check the log."""
    audit = _audit(home)
    target.mkdir(parents=True, exist_ok=True)
    # The checkpoint first: entries that come meanwhile are beyond it, never the other way round.
    for name in ("checkpoint", "public-key"):
        _text(audit / name)
        shutil.copy(audit / name, target / name)
    with _Log(home, None) as (bodies, _), (target / "entries.jsonl").open("wb") as file:
        count = 0
        for body in bodies:
            file.write(body + b"\n")
            count += 1
    typer.echo(f"{count} entries in {target}")


@app.command("proof")
@connected
def proof(
    session: Session,
    event: Annotated[str, typer.Argument(help="Id of the event, as 'halftone budget ledger' shows it.", show_default=False)],
    save: Annotated[Path | None, typer.Option("--output", "-o", help="File to write the proof to.", show_default=False)] = None,
    key: Annotated[Path | None, typer.Option(help="File with the log's public key.", show_default="what the server says it is")] = None,
) -> None:
    """Get the proof that an event is in the log, and check it here."""
    found = session.client.audit.prove(event)
    verified = session.client.audit.verify(found, None if key is None else _text(key).strip())
    if save is not None:
        save.write_text(json.dumps(found.model_dump(mode="json"), indent=1) + "\n")
        output.note(f"proof in {save}")
    if session.json:
        output.print_json(found)
    else:
        typer.echo(f"proved: entry {verified.index} is in the log of {verified.size} entries signed with {verified.key}")


def _audit(home: Path | None) -> Path:
    from infra.home import Home

    return Home(places.home_of(home)).audit


class _Log:
    """The entries of a log in order, with their recorded leaf hashes where the home's database has them."""

    def __init__(self, home: Path | None, entries: Path | None) -> None:
        self._source = entries or (places.home_of(home) / "db" / "auditor.sqlite").absolute()
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
