"""What a certificate says: an in-toto statement whose subject is a table's content, and whose predicate is the promise."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, ValidationError

from contracts.base import Contract
from contracts.cost import EPSILON_SCALE, RHO_SCALE, BudgetTerms, Cost
from contracts.ids import AccountId, Code, DatasetId, JobId, MessageId, ObjectId
from halftone.certificates.dsse import CertificateError

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:halftone:privacy-certificate:v1"
DIGEST = "halftone.table.v1.sha256"
"""Of the canonical Arrow content: see ``content``."""
FOOTER = b"halftone.certificate"
"""Key of the certificate in a Parquet file's footer."""
NOT_COVERED = (
    "Other tables about the same people: only the same content, uploaded again, falls under the same budget.",
    "What was attested to be public: domains, bounds, formats, and which columns there are.",
    "Raw figures shown to holders of the right to raw data ('observed' in the ledger), once they are told to others.",
    "Releases without noise ('unbounded' in the ledger): with any, nothing bounds what all releases tell together.",
    "When a job ran, and how long it took, beyond what the coarse times of jobs show.",
)


class ClaimedMechanism(Contract):
    """One use of the table."""

    kind: Code
    columns: tuple[str, ...] = Field(description="of the marginal; none: the number of rows")
    cells: int = Field(ge=0, description="numbers that it gave out")
    sensitivity: float = Field(description="L2 distance that one unit can make, at most")
    scale: float = Field(description="parameter of the noise")
    rho: int = Field(ge=0, description="what it cost a unit, in 1e-12, rounded up")


class Charge(Contract):
    """Where the ledger has it."""

    account: AccountId
    job: JobId = Field(description="the job that paid")
    step: Code
    attempt: int = Field(ge=1)
    reservation: int = Field(ge=1, description="the ledger's row that set the cost aside")
    event: MessageId | None = Field(default=None, description="id of the charge's event, a leaf of the audit log")


class Claim(Contract):
    """What is promised of a release, and on what it rests."""

    dataset: DatasetId = Field(description="the release")
    version: int = Field(ge=1)
    made: str = Field(description="when, RFC 3339")
    source: DatasetId = Field(description="the real dataset that it tells of")
    source_version: int = Field(ge=1)
    declared: ObjectId = Field(description="the attested schema: the public domain")
    engine: Code
    terms: BudgetTerms = Field(description="unit, neighbours and composition")
    unit_column: str | None = Field(default=None, description="column that names a row's user, where users are the unit")
    epsilon: float = Field(description="of this release, at delta")
    delta: float = Field(description="of this release; half of it is the conversion's (Canonne, Kamath and Steinke 2020)")
    cost: Cost = Field(description="what was charged: rho in 1e-12, delta in 1e-18")
    mechanisms: tuple[ClaimedMechanism, ...]
    charge: Charge
    observed: int = Field(ge=0, description="entries of raw figures in the ledger when the cost was set aside")
    unbounded: int = Field(ge=0, description="entries of releases without noise by then")
    invariants: tuple[str, ...] = Field(default=(), description="figures of the real table that are told exactly")
    randomness: str = "OpenDP's exact samplers, fed by the operating system's entropy, never seeded"
    post_processing: str = "fit, sampling and formatting read noisy measurements and the attested schema alone"
    not_covered: tuple[str, ...] = NOT_COVERED
    versions: dict[str, str] = Field(description="of the libraries that it was made with")


def statement(claim: Claim, digest: str) -> bytes:
    """The statement to be signed, of a content's hash in hex."""
    subject = {"name": f"{claim.dataset}/v{claim.version}", "digest": {DIGEST: digest}}
    document = {
        "_type": STATEMENT,
        "subject": [subject],
        "predicateType": PREDICATE,
        "predicate": claim.model_dump(mode="json"),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_statement(payload: bytes) -> tuple[Claim, str]:
    """The claim and the content's hash. Raises CertificateError where the payload is no statement of ours."""
    try:
        document = json.loads(payload)
        kinds = (document["_type"], document["predicateType"])
        (subject,) = document["subject"]
        claim, digest = Claim.read(document["predicate"]), str(subject["digest"][DIGEST])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise CertificateError("The statement lacks what a certificate says.") from error
    if kinds != (STATEMENT, PREDICATE):
        raise CertificateError(f"It is a statement of another kind: {str(kinds[1])[:80]!r}.")
    return claim, digest


def told(claim: Claim, digest: str) -> str:
    """A certificate for a person to read."""
    terms, spent = claim.terms, claim.cost
    unit = "row" if not terms.by_user else f"user (column {claim.unit_column!r}, at most {terms.contribution} rows)"
    lines = [
        f"Certificate of {claim.dataset}, version {claim.version}, made {claim.made} by engine {claim.engine}",
        f"  tells of          {claim.source}, version {claim.source_version}",
        f"  promise           epsilon {claim.epsilon:g} at delta {claim.delta:g} (rho {spent.rho / RHO_SCALE:.12f})"
        + (f", pure epsilon {spent.pure / EPSILON_SCALE:g}" if spent.pure else ""),
        f"  privacy unit      one {unit}; neighbours by {terms.neighbours}; composition {terms.composition}",
        f"  mechanisms        {len(claim.mechanisms)}: " + ", ".join(sorted({each.kind for each in claim.mechanisms})),
        f"  charge            {claim.charge.event or '-'} of {claim.charge.account}",
        f"  paid by           job {claim.charge.job}, attempt {claim.charge.attempt}",
        f"  content           {digest}",
        f"  randomness        {claim.randomness}",
        f"  told exactly      {', '.join(claim.invariants) or 'nothing of the real table'}",
        f"  in the ledger     {claim.observed} entries of raw figures, {claim.unbounded} releases without noise",
    ]
    if claim.unbounded:
        lines.append("  NO BOUND ON THE TOTAL: real data were released without noise before")
    lines += ["  not covered", *(f"    - {line}" for line in claim.not_covered)]
    return "\n".join(lines)


def registry_entry(claim: Claim, *, curator: str, product: str, use: str) -> dict[str, Any]:
    """The fields of a Tier 3 entry of OpenDP's deployments registry; docs/certificates.md lists them."""
    terms = claim.terms
    return {
        "tier": 3,
        "data_curator": curator,
        "data_product": product,
        "intended_use": use,
        "publication_date": claim.made[:10],
        "dp_flavor": "zero-concentrated DP" if terms.composition == "zcdp" else "pure DP",
        "privacy_unit": {
            "unit": "user" if terms.by_user else "row",
            "column": claim.unit_column,
            "contribution_bound_rows": terms.contribution,
        },
        "neighboring_relation": terms.neighbours,
        "privacy_loss": {
            "rho": claim.cost.rho / RHO_SCALE,
            "epsilon": claim.epsilon,
            "delta": claim.delta,
            "conversion": "Canonne, Kamath and Steinke 2020, corollary 13",
        },
        "model": "central",
        "data_domain": f"declared and attested: {claim.declared}",
        "unprotected_quantities": list(claim.invariants),
        "mechanisms": [each.model_dump(mode="json") for each in claim.mechanisms],
        "accountant": {
            "composition": "sum of rho; filter of Whitehouse et al. 2023",
            "software": f"halftone {claim.versions.get('halftone-data')}",
        },
        "post_processing": claim.post_processing,
        "preprocessing_and_tuning": "none on real data"
        if not claim.observed
        else f"{claim.observed} raw figures were shown: see the ledger",
        "randomness": claim.randomness,
        "libraries": claim.versions,
        "releases_without_noise": claim.unbounded,
        "not_covered": list(claim.not_covered),
        "ledger": claim.charge.model_dump(mode="json"),
    }
