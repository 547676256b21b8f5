"""Certificates: what was promised of a release, with the ledger's entry and the proof that the log holds it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from litestar import Router, get
from litestar.params import PathParameter, QueryParameter

from api.auth import VERB
from api.edge import Edge
from api.policy import Verb
from api.problems import NotFound
from api.reasons import told
from api.v1.answers import CertificateView
from api.v1.audit import prove_inclusion
from api.v1.parameters import TheEdge
from contracts.ids import ObjectId
from halftone.certificates.claim import Claim, read_statement, registry_entry
from halftone.certificates.claim import told as readable
from halftone.certificates.dsse import CertificateError, verify
from infra.objects import ObjectMissing

ROLE = "certificate"


@get("/{certificate:str}", operation_id="getCertificate", summary="See a certificate", opt={VERB: Verb.ARTIFACT_READ})
async def certificate(
    certificate: Annotated[str, PathParameter(description="id of the certificate, from a job's outputs")], edge: TheEdge
) -> CertificateView:
    """The signed statement, what it says, its charge in the ledger, and the proof that the log holds that charge."""
    envelope, key, claim, digest = await _read(edge, certificate)
    event = claim.charge.event
    entry = None if event is None else await edge.views.entry_of(event)
    shown = None if entry is None else (await told(edge.objects, (entry,)))[0]
    return CertificateView(
        id=certificate,
        envelope=json.loads(envelope),
        public_key=key,
        content=digest,
        claim=claim.model_dump(mode="json"),
        text=readable(claim, digest),
        entry=shown,
        proof=None if event is None or entry is None else await prove_inclusion(edge, event),
        links={
            "self": f"/v1/certificates/{certificate}",
            "job": f"/v1/jobs/{claim.charge.job}",
            "dataset": f"/v1/datasets/{claim.dataset}",
        },
    )


@get(
    "/{certificate:str}/registry",
    operation_id="exportCertificate",
    summary="Export a certificate for a registry of deployments",
    opt={VERB: Verb.ARTIFACT_READ},
)
async def registry(
    certificate: Annotated[str, PathParameter(description="id of the certificate")],
    edge: TheEdge,
    curator: Annotated[str, QueryParameter(max_length=256, description="who answers for the data")] = "",
    product: Annotated[str, QueryParameter(max_length=256, description="what the release is called")] = "",
    use: Annotated[str, QueryParameter(max_length=1024, description="what it is meant for")] = "",
) -> dict[str, Any]:
    """The fields of a Tier 3 entry of OpenDP's deployments registry; docs/certificates.md lists them."""
    *_, claim, _digest = await _read(edge, certificate)
    return registry_entry(claim, curator=curator, product=product or claim.dataset, use=use)


async def _read(edge: Edge, name: ObjectId) -> tuple[bytes, str, Claim, str]:
    view = await edge.views.artifact(name)
    if view is None or view.role != ROLE:
        raise NotFound.of("certificate", name)
    try:
        return await asyncio.to_thread(_opened, edge, name)
    except (ObjectMissing, FileNotFoundError, CertificateError):
        # Removed with its dataset; or of a home whose key was lost.
        raise NotFound.of("certificate", name) from None


def _opened(edge: Edge, name: ObjectId) -> tuple[bytes, str, Claim, str]:
    envelope = edge.objects.read(name)
    key = (edge.runtime.home.certificates / "public-key").read_text().strip()
    return envelope, key, *read_statement(verify(envelope, key))


router = Router("/certificates", route_handlers=[certificate, registry], tags=["certificates"])
