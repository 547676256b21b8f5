"""The log, on the command line: checked offline and online, exported, proved, and explained."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from infra.commands import log_home, output, places
from infra.commands.output import fail
from infra.commands.session import HomeOption, Session, connected

if TYPE_CHECKING:
    from contracts.views import AuditEntryView
    from halftone.merkle import LogError

app = typer.Typer(no_args_is_help=True, help="Check the log: offline, with its files and public key alone.", rich_markup_mode=None)

Since = Annotated[list[Path] | None, typer.Option(help="Checkpoint kept from before, which must hold still; may be repeated.")]
KeyOption = Annotated[Path | None, typer.Option(help="File with the log's public key.", show_default="what the server says it is")]
ROTATED_WITHIN = 10.0
"""Seconds that a running auditor has to go over to a new key."""


@app.command("verify")
@connected
def verify(
    session: Session,
    export: Annotated[Path | None, typer.Option(help="Exported log to check instead of the home's.")] = None,
    online: Annotated[bool, typer.Option("--online", help="Fetch the log from the server, and check it here.")] = False,
    key: Annotated[Path | None, typer.Option(help="Public key of the log; the home's, if not given.")] = None,
    since: Since = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Signed checkpoint instead of the home's newest.")] = None,
    proof: Annotated[Path | None, typer.Option(help="Check one inclusion proof, as the API serves it, instead of the whole log.")] = None,
) -> None:
    """Recompute the log from its entries and compare it with what was signed. Says which entry was changed first, if one was."""
    from halftone.merkle import LogError, canonical, verify_proof

    kept = [_text(path) for path in since or ()]
    try:
        if proof is not None:
            bundle, verifier = _proof(proof), _key(session, key)
            covered = verify_proof(canonical(bundle["entry"]), bundle, verifier, rotations=bundle.get("rotations", ()))
            said = f"proved: entry {bundle['index']} is in the log of {covered.size} entries signed with {verifier}"
            _say(session, said, {"index": bundle["index"], "size": covered.size, "root": covered.root.hex(), "key": verifier})
        elif export is not None or online:
            _verify_export(session, export, key, kept)
        else:
            _verify_home(session, key, kept, checkpoint)
    except LogError as error:
        _fails(session, error)


def _verify_home(session: Session, key: Path | None, since: list[str], checkpoint: Path | None) -> None:
    audit, verifier = log_home.audit_of(session.home), _key(session, key)
    # The checkpoint first: entries that come meanwhile are beyond it, never the other way round.
    note = _text(checkpoint or audit / "checkpoint")
    with log_home.opened(session.home) as log:
        report = log.verify(note, verifier, since)
    signed = report.checkpoint
    said = f"verified: {signed.size} entries, root {signed.root.hex()}, signed with {verifier}"
    _say(session, said, {"size": signed.size, "root": signed.root.hex(), "key": verifier, "uncovered": report.uncovered})
    if report.uncovered:
        output.note(f"{report.uncovered} newer entries are not covered by the checkpoint yet")


def _verify_export(session: Session, export: Path | None, key: Path | None, since: list[str]) -> None:
    from halftone.merkle import verify_export

    with tempfile.TemporaryDirectory() as directory:
        if export is None:
            verifier = _text(key).strip() if key is not None else session.client.audit.key()
            export = session.client.audit.export(Path(directory) / "log.jsonl")
        else:
            verifier = _key(session, key)
        try:
            with export.open("rb") as file:
                head, report = verify_export(file, verifier, since=since)
        except OSError as error:
            fail(f"{export} cannot be read: {error}")
    stretch, signed = head.stretch, report.checkpoint
    told = f"{stretch.end - stretch.start} of {signed.size}" if stretch.end - stretch.start < signed.size else f"{signed.size}"
    said = f"verified: {told} entries, root {signed.root.hex()}, signed with {verifier}"
    bounds = {"start": stretch.start, "end": stretch.end}
    _say(session, said, {"size": signed.size, "root": signed.root.hex(), "key": verifier, **bounds})


def _key(session: Session, key: Path | None) -> str:
    return _text(key or log_home.audit_of(session.home) / "public-key").strip()


def _say(session: Session, line: str, data: dict[str, Any]) -> None:
    if session.json:
        output.print_json({"holds": True, **data})
    else:
        typer.echo(line)


def _fails(session: Session, error: LogError) -> NoReturn:
    from halftone.merkle import TamperedError

    told: dict[str, Any] = {"holds": False, "code": error.code, "detail": str(error)}
    where = ""
    if isinstance(error, TamperedError):
        first, last = error.span.start, error.span.stop - 1
        told |= {"index": first if error.index is None else error.index, "exact": error.index is not None, "span": [first, last]}
        where = f" (first bad entry: {error.index})" if error.index is not None else f" (first bad entry: one of {first} to {last})"
    if session.json:
        output.print_json(told)
    fail(f"the log does not hold: {error}{where}")


@app.command("export")
def export(
    target: Annotated[Path, typer.Argument(help="Directory to write log.jsonl, checkpoint, public-key and verify_log.py into.")],
    home: HomeOption = None,
    tiles: Annotated[bool, typer.Option("--tiles", help="The log as static tiles too (C2SP tlog-tiles).")] = False,
) -> None:
    """Write out what an outsider needs to check the log: one file that proves itself, and the program that checks it."""
    from halftone.merkle import LogError

    audit = log_home.audit_of(home)
    checkpoint, key = _text(audit / "checkpoint"), _text(audit / "public-key").strip()
    try:
        with log_home.opened(home) as log:
            count = log_home.write_out(log, checkpoint, key, target, with_tiles=tiles)
    except LogError as error:
        fail(f"the log does not hold, and is not exported: {error}")
    typer.echo(f"{count} entries in {target}")


@app.command("proof")
@connected
def proof(
    session: Session,
    event: Annotated[str, typer.Argument(help="Id of the event, as 'halftone budget ledger' shows it.", show_default=False)],
    save: Annotated[Path | None, typer.Option("--output", "-o", help="File to write the proof to.", show_default=False)] = None,
    key: KeyOption = None,
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


@app.command("explain")
@connected
def explain(
    session: Session,
    job: Annotated[str, typer.Argument(help="Id of the job.", show_default=False)],
    key: KeyOption = None,
) -> None:
    """Tell one job's story as the log has it, in order: who, what, what it cost, and for each entry a proof that is checked here."""
    verifier = _text(key).strip() if key is not None else session.client.audit.key()
    told = [_told(session, entry, verifier) for entry in session.client.audit.entries(resource=job)]
    if not told:
        fail(f"the log has nothing about {job!r}: 'halftone jobs' shows the jobs there are", output.NOT_FOUND)
    columns = [(name, lambda row, name=name: row[name]) for name in ("index", "time", "what", "detail", "who", "proved")]
    output.table(told, columns, as_json=session.json)


def _told(session: Session, found: AuditEntryView, key: str) -> dict[str, Any]:
    """One entry of a story, proved."""
    from infra.commands.story import detail_of

    entry = found.entry
    proof = session.client.audit.prove(found.event)
    session.client.audit.verify(proof, key)
    if proof.index != found.index:
        fail(f"the server tells of entry {found.index}, and proves entry {proof.index}")
    what = str(entry.get("type", "")).removeprefix("halftone.").rpartition(".v")[0]
    story = {"index": found.index, "time": entry.get("time"), "what": what, "detail": detail_of(entry), "who": entry.get("principal")}
    return {**story, "event": found.event, "proved": f"in {proof.size}"}


@app.command("rotate-key")
def rotate_key(home: HomeOption = None) -> None:
    """Have the log go over to a new signing key. Both keys sign that it does, so that whoever has the old one can follow."""
    from infra.home import Home, HomeInUse

    path = places.home_of(home)
    known = Home(path).audit / "public-key"
    if not known.exists():
        fail(f"{known} does not exist: the log has no key yet, its first start makes one")
    key = log_home.ask_for_rotation(path)
    try:
        Home(path).lock()
    except HomeInUse:
        _until_rotated(known, key)
        typer.echo(f"the log is signed with {key} from now on")
    else:
        typer.echo(f"the log will be signed with {key} from its next start on")


def _until_rotated(known: Path, key: str) -> None:
    deadline = time.monotonic() + ROTATED_WITHIN
    while known.read_text().strip() != key:
        if time.monotonic() > deadline:
            fail("the auditor has not gone over to the new key yet; it will, unless the key comes from HALFTONE_SIGNING_KEY")
        time.sleep(0.1)


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
