"""Certificates of what the synthesizer gives out: made where the rows are, signed with the instance's key."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.cost import DELTA_SCALE, EPSILON_SCALE
from contracts.events import MechanismRuns, MechanismsRun
from contracts.jobs import Grant, SampleSpec, SynthesizeSpec
from halftone.certificates.claim import Charge, Claim, ClaimedMechanism, read_statement
from halftone.certificates.dsse import CertificateError, dump_public_key, verify
from halftone.merkle import dump_key, generate_key, load_key
from halftone.privacy.composition import Terms
from infra.work.task import Task

if TYPE_CHECKING:
    from halftone.privacy.measure import Mechanism

KEY, PUBLIC_KEY = "key", "public-key"


def make_key(directory: Path) -> None:
    """Make the key that certificates are signed with, unless there is one. Two processes that try agree on one."""
    if not (directory / KEY).exists():
        draft = directory / f"{KEY}.{os.getpid()}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123  # the mode must hold from the start
            file.write(dump_key(generate_key()) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, directory / KEY)
        except FileExistsError:
            pass  # the other one's holds
        finally:
            draft.unlink()
    (directory / PUBLIC_KEY).write_text(dump_public_key(signing_key(directory).public_key()) + "\n")


def signing_key(directory: Path) -> Ed25519PrivateKey:
    """The key that certificates are signed with."""
    return load_key((directory / KEY).read_text())


def claim_of(task: Task, spec: SynthesizeSpec, grant: Grant, mechanisms: tuple[Mechanism, ...], unit_column: str | None) -> Claim:
    """What is promised of a synthesis."""
    from halftone.certificates.files import versions  # noqa: PLC0415  # heavy

    return Claim(
        dataset=spec.target,
        version=1,
        made=_now(),
        source=spec.source.dataset,
        source_version=spec.source.version,
        declared=spec.declared,
        engine=spec.engine,
        terms=spec.terms,
        unit_column=unit_column,
        epsilon=spec.epsilon / EPSILON_SCALE,
        delta=spec.delta / DELTA_SCALE,
        cost=grant.cost,
        mechanisms=tuple(claimed(each, terms_of(spec)) for each in mechanisms),
        charge=Charge(
            account=grant.account,
            job=task.command.job,
            step=grant.step,
            attempt=grant.attempt,
            reservation=grant.entry,
            event=grant.charge,
        ),
        observed=grant.observed,
        unbounded=grant.unbounded,
        versions=versions(),
    )


def claim_again(task: Task, spec: SampleSpec) -> Claim | None:
    """What is promised of another table from a model: what was of the first; None where that had no certificate that holds."""
    if spec.certificate is None:
        return None
    public = dump_public_key(signing_key(task.certificates).public_key())
    try:
        first, _ = read_statement(verify(task.objects.read(spec.certificate), public))
    except CertificateError:
        return None
    return first.model_copy(update={"dataset": spec.target, "version": 1, "made": _now()})


def mechanisms_run(spec: SynthesizeSpec, grant: Grant, job: str, mechanisms: tuple[Mechanism, ...]) -> MechanismsRun:
    """What a charge has bought, for the ledger: mechanisms that are alike together, without the names of columns."""
    alike: Counter[tuple[str, float, float, int]] = Counter()
    cells: Counter[tuple[str, float, float, int]] = Counter()
    for each in (claimed(mechanism, terms_of(spec)) for mechanism in mechanisms):
        same = (each.kind, each.sensitivity, each.scale, each.rho)
        alike[same] += 1
        cells[same] += each.cells
    runs = tuple(
        MechanismRuns(kind=key[0], count=count, cells=cells[key], sensitivity=key[1], scale=key[2], rho=key[3])
        for key, count in alike.items()
    )
    return MechanismsRun(job=job, step=grant.step, attempt=grant.attempt, account=grant.account, mechanisms=runs)


def terms_of(spec: SynthesizeSpec) -> Terms:
    """What a unit's costs are, where a row's are known."""
    return Terms(spec.terms.contribution if spec.terms.by_user else 1, spec.terms.neighbours)


def claimed(mechanism: Mechanism, terms: Terms) -> ClaimedMechanism:
    """A mechanism as it is to a unit, where it was measured as it is to a row."""
    return ClaimedMechanism(
        kind=mechanism.kind,
        columns=mechanism.columns,
        cells=mechanism.cells,
        sensitivity=mechanism.sensitivity * terms.reach,
        scale=mechanism.scale,
        rho=mechanism.rho * terms.rho_factor,
    )


def _now() -> str:
    """Coarse: what is seen of a private job depends on parameters and schema alone."""
    return dt.datetime.now(dt.UTC).replace(second=0, microsecond=0).isoformat().replace("+00:00", "Z")
