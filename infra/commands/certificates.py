"""Certificates, on the command line: shown, verified, exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from infra.commands import output, places
from infra.commands.session import Session, connected

if TYPE_CHECKING:
    from halftone.certificates.claim import Claim

app = typer.Typer(no_args_is_help=True, help="What was promised of a release, signed: shown, checked, exported.", rich_markup_mode=None)
CertificateArgument = Annotated[str, typer.Argument(help="Id of the certificate, or of the job that made it.", show_default=False)]


@app.command("show")
@connected
def show(session: Session, certificate: CertificateArgument) -> None:
    """Show what a certificate says, for a person to read."""
    found = session.client.budgets.certificate(_id(session, certificate))
    if session.json:
        output.print_json(found)
    else:
        typer.echo(found.text)


@app.command("verify")
@connected
def verify(
    session: Session,
    file: Annotated[Path, typer.Argument(help="Parquet file that was released.", show_default=False)],
    certificate: Annotated[
        Path | None, typer.Option(help="File with the certificate.", show_default="the one in the Parquet file's footer")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="File with the instance's public key.", show_default="the home's")] = None,
    log_key: Annotated[Path | None, typer.Option(help="File with the log's public key.", show_default="the home's")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Check signature and content alone: ask no Halftone.")] = False,
) -> None:
    """Check a file: the signature of its certificate, its content, its charge in the ledger, and that the log holds that charge."""
    from halftone.certificates.dsse import CertificateError
    from halftone.certificates.files import read_certificate, verify_file

    if not file.exists():
        output.fail(f"{file} does not exist")
    home = places.home_of(None)
    public = _text(key or home / "certificates" / "public-key")
    try:
        envelope = read_certificate(file) if certificate is None else certificate.read_bytes()
        claim = verify_file(file, envelope, public)
    except (CertificateError, OSError) as error:
        output.fail(f"the certificate does not hold: {error}")
    said: dict[str, Any] = {"dataset": claim.dataset, "epsilon": claim.epsilon, "delta": claim.delta, "rho": claim.cost.rho}
    said |= {"signature": True, "content": True}
    if not offline:
        said |= _in_the_log(session, claim, None if log_key is None else _text(log_key))
    if session.json:
        output.print_json(said)
        return
    typer.echo(f"verified: {file} is {claim.dataset}, version {claim.version}, of epsilon {claim.epsilon:g} at delta {claim.delta:g}")
    where = "" if offline else f"; the charge is entry {said['entry']} of the ledger, {said['index']} of the log"
    typer.echo(f"signature and content hold{where}")


def _in_the_log(session: Session, claim: Claim, log_key: str | None) -> dict[str, Any]:
    """That the ledger's entry is what the certificate says, and a leaf of the signed log."""
    event = claim.charge.event
    if event is None:
        _no("it names no charge")
    proof = session.client.audit.prove(event)
    verified = session.client.audit.verify(proof, log_key)
    data = proof.entry["data"]
    wanted = {"account": claim.charge.account, "job": claim.charge.job, "step": claim.charge.step, "attempt": claim.charge.attempt}
    if proof.entry["type"] != "halftone.budget.charged.v1" or any(data[name] != value for name, value in wanted.items()):
        _no(f"event {event} in the log is another one than its charge")
    if data["cost"]["rho"] != claim.cost.rho or data["cost"]["delta"] != claim.cost.delta:
        _no(f"it says that rho {claim.cost.rho} was charged, and the log has {data['cost']['rho']}")
    return {"entry": data["entry"], "index": verified.index, "size": verified.size, "event": event}


def _no(reason: str) -> NoReturn:
    output.fail(f"the certificate does not hold: {reason}")


@app.command("export")
@connected
def export(
    session: Session,
    certificate: CertificateArgument,
    curator: Annotated[str, typer.Option(help="Who answers for the data.")] = "",
    product: Annotated[str, typer.Option(help="What the release is called.")] = "",
    use: Annotated[str, typer.Option(help="What it is meant for.")] = "",
) -> None:
    """Write the fields of a Tier 3 entry of OpenDP's deployments registry, as JSON."""
    found = session.client.budgets.registry_entry(_id(session, certificate), curator=curator, product=product, use=use)
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _id(session: Session, named: str) -> str:
    if not named.startswith("job_"):
        return named
    job = session.client.jobs.get(named).refresh()
    found = next((each.artifact for each in job.outputs if each.role == "certificate"), None)
    if found is None:
        output.fail(f"job {named} made no certificate", output.NOT_FOUND)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        output.fail(f"{path} cannot be read: {error.strerror}; name the key with --key")
