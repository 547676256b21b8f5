"""The log: read, proved, and checked here, with the log's public key and nothing that the server says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contracts.views import AuditEntryView
from halftone.client.answers import InclusionProof, Verified
from halftone.client.download import saved
from halftone.client.errors import HalftoneError
from halftone.client.faces import Awaiting, Blocking, Items, Part, iteration, operation
from halftone.client.flow import Core, Flow, Tell, ask
from halftone.client.reading import fetch, parsed
from halftone.client.request import get

_PAGE = 1000


class ProofWrong(HalftoneError):
    """The proof does not hold."""


def _key(core: Core) -> Flow[str]:
    return (yield from ask(core, get("/v1/audit/key"))).text().strip()


def _entries(core: Core, start: int, wanted: dict[str, str | None]) -> Flow[None]:
    following: int | None = start
    while following is not None:
        page = (yield from ask(core, get("/v1/audit/entries", start=following, limit=_PAGE, **wanted))).json()
        for entry in page["entries"]:
            yield Tell(parsed(AuditEntryView, entry))
        following = page.get("next")


def check(proof: InclusionProof, key: str) -> Verified:
    """Check a proof with a public key, without any server. Raises ProofWrong."""
    from halftone.merkle import LogError, canonical, verify_proof  # noqa: PLC0415  # cryptography: not for every use

    try:
        covered = verify_proof(canonical(proof.entry), proof.model_dump(mode="json"), key, rotations=proof.rotations)
    except LogError as error:
        raise ProofWrong(str(error), code=error.code) from error
    return Verified(index=proof.index, size=covered.size, root=covered.root.hex(), key=key)


class _Audit(Part):
    """The audit log."""

    @operation
    def checkpoint(self) -> Flow[str]:
        """The latest signed checkpoint (C2SP tlog-checkpoint)."""
        return (yield from ask(self.core, get("/v1/audit/checkpoint"))).text()

    @operation
    def key(self) -> Flow[str]:
        """The log's public key, as the server gives it. Whoever wants to be sure has it from elsewhere."""
        return (yield from _key(self.core))

    @iteration
    def entries(
        self,
        *,
        start: int = 0,
        actor: str | None = None,
        action: str | None = None,
        resource: str | None = None,
        outcome: str | None = None,
        since: str | None = None,
        until: str | None = None,
        text: str | None = None,
    ) -> Items[AuditEntryView]:
        """The log's entries in order, from an index on: those by somebody, of a kind (``job.completed``), about a thing, and so on."""
        wanted = {"actor": actor, "action": action, "resource": resource, "outcome": outcome, "since": since, "until": until, "q": text}
        return Items(_entries(self.core, start, wanted))

    @operation
    def export(self, path: str | Path, *, start: int = 0, end: int | None = None, form: str = "ndjson") -> Flow[Path]:
        """Save the log, or a range of it, with the proof that it is whole: ``halftone audit verify --export`` checks it."""
        return (yield from saved(self.core, get("/v1/audit/export", start=start, end=end, format=form), Path(path)))

    @operation
    def prove(self, event: str) -> Flow[InclusionProof]:
        """The proof that an event is in the log."""
        return (yield from fetch(self.core, InclusionProof, get(f"/v1/audit/proofs/{event}")))

    @operation
    def verify(self, proof: InclusionProof | dict[str, Any], key: str | Path | None = None) -> Flow[Verified]:
        """Check a proof here, with the key given (or the file that holds it); without one, with the server's. Raises ProofWrong."""
        if isinstance(proof, dict):
            proof = parsed(InclusionProof, proof)
        if isinstance(key, Path):
            key = key.read_text().strip()
        return check(proof, key or (yield from _key(self.core)))


class Audit(_Audit, Blocking):
    """The audit log, in a program that blocks."""


class AsyncAudit(_Audit, Awaiting):
    """The audit log, in a program that awaits."""
