"""The audit log: its entries, its signed checkpoint, and proofs that whoever holds the public key can check."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import re
from typing import Annotated

from litestar import Router, get
from litestar.params import PathParameter, QueryParameter

from api.auth import VERB
from api.edge import Edge
from api.policy import Verb
from api.problems import NotFound, RequestInvalid, Unavailable
from api.v1.answers import AuditPage, ConsistencyProof, InclusionProof, KeyRotations
from api.v1.parameters import TheEdge
from api.views.log import AuditFilter, AuditOutcome
from contracts import subjects
from contracts.views import AuditEntryView, CheckpointView
from halftone.merkle import MissingNodeError, ProofError

SIGNED_WITHIN = 3.0
"""Seconds that a proof waits for a checkpoint over its entry."""
_EVENT = re.compile(r"[0-9a-f-]{36}")
MOST_ENTRIES = 1000
TEXT = "text/plain"


class NotSigned(Unavailable):
    """The event is not under a signed checkpoint yet: try again."""

    code = "not-signed"


class LogIncomplete(Unavailable):
    """The log has not come in whole: try again."""

    code = "log-incomplete"


@get("/checkpoint", media_type=TEXT, operation_id="getCheckpoint", summary="The latest checkpoint", opt={VERB: Verb.AUDIT_READ})
async def checkpoint(edge: TheEdge) -> str:
    """The log's size and root as a signed note (C2SP tlog-checkpoint)."""
    latest = await edge.views.checkpoint()
    if latest is None:
        raise NotFound("Nothing is signed yet: the log is empty.")
    return latest.note


@get("/key", media_type=TEXT, operation_id="getAuditKey", summary="The log's public key", opt={VERB: Verb.AUDIT_READ})
async def key(edge: TheEdge) -> str:
    """The key that checks checkpoints, as name+id+key (C2SP signed-note). Whoever wants to be sure gets it on another way too."""
    path = edge.runtime.home.audit / "public-key"
    try:
        return await asyncio.to_thread(path.read_text)
    except FileNotFoundError:
        raise NotFound("The log has no key yet: its auditor never ran.") from None


@get("/rotations", operation_id="getKeyRotations", summary="How the log's key changed", opt={VERB: Verb.AUDIT_READ})
async def rotations(edge: TheEdge) -> KeyRotations:
    """The notes by which the log went over from one key to the next, each signed by both: whoever kept an old key follows them."""
    return KeyRotations(rotations=await held_rotations(edge))


async def held_rotations(edge: Edge) -> tuple[str, ...]:
    """The notes, oldest first."""
    try:
        return tuple(json.loads(await asyncio.to_thread((edge.runtime.home.audit / "rotations.json").read_text)))
    except FileNotFoundError:
        return ()


Moment = Annotated[str | None, QueryParameter(max_length=40, description="RFC 3339, such as 2026-03-01T09:30:00Z")]


@get("/entries", operation_id="listAuditEntries", summary="Read and search the log", opt={VERB: Verb.AUDIT_READ})
async def entries(  # noqa: PLR0917  # parameters come by name
    edge: TheEdge,
    start: Annotated[int, QueryParameter(ge=0, le=2**62, description="index of the first entry: 0, or next of the page before")] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_ENTRIES, description="most entries of the answer")] = 100,
    actor: Annotated[str | None, QueryParameter(max_length=80, description="id of who did it")] = None,
    action: Annotated[str | None, QueryParameter(max_length=80, description="what was done: job, job.completed, or a whole type")] = None,
    resource: Annotated[str | None, QueryParameter(max_length=80, description="id of what it was done to")] = None,
    outcome: Annotated[AuditOutcome | None, QueryParameter(description="how it came out")] = None,
    since: Moment = None,
    until: Moment = None,
    q: Annotated[str | None, QueryParameter(min_length=2, max_length=200, description="text of the entry, or of a dataset's name")] = None,
) -> AuditPage:
    """Entries in the log's order, each with its leaf hash; those alone that are as asked for. The last page has no next."""
    named = tuple(await edge.registry.called(q)) if q else ()
    wanted = AuditFilter(actor, action, resource, _moment("since", since), _moment("until", until), outcome, q, named)
    found = await edge.views.audit_entries(start, limit + 1, wanted)
    page = found[:limit]
    following = page[-1].index + 1 if len(found) > limit else None
    return AuditPage(start=start, entries=tuple(entry.model_dump() for entry in page), next=following)


def _moment(name: str, given: str | None) -> str | None:
    """A moment as entries tell it. Raises RequestInvalid."""
    if given is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(given)
        if moment.tzinfo is None:
            raise ValueError(given)  # noqa: TRY301  # the same answer
        return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        raise RequestInvalid(f"{given[:40]!r} is no moment: write it like 2026-03-01T09:30:00Z.", parameter=name) from None


@get("/proofs/{event:str}", operation_id="proveInclusion", summary="Prove that an event is in the log", opt={VERB: Verb.AUDIT_READ})
async def prove(event: Annotated[str, PathParameter(description="id of the event")], edge: TheEdge) -> InclusionProof:
    """The entry, the hashes from its leaf to the root, and the checkpoint. Waits up to 3 s for a checkpoint that covers it."""
    proof = await prove_inclusion(edge, event) if _EVENT.fullmatch(event) else None
    if proof is None:
        if await edge.views.audit_entry(event) is None:
            raise NotFound(f"There is no event {event[:80]!r} in the log; one that happened just now may enter it shortly.", id=event[:80])
        raise NotSigned
    return proof


async def prove_inclusion(edge: Edge, event: str) -> InclusionProof | None:
    """The proof that an event is in the log, or None while no checkpoint covers it. Raises LogIncomplete."""
    proof = await _until_signed(edge, event)
    if proof is None:
        return None
    entry, hashes, signed = proof
    return InclusionProof(
        event=entry.event,
        entry=entry.entry,
        index=entry.index,
        size=signed.size,
        leaf_hash=_base64(bytes.fromhex(entry.leaf)),
        hashes=tuple(map(_base64, hashes)),
        checkpoint=signed.note,
        rotations=await held_rotations(edge),
    )


async def _until_signed(edge: Edge, event: str) -> tuple[AuditEntryView, list[bytes], CheckpointView] | None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SIGNED_WITHIN
    known = edge.projector.last(subjects.EVENTS)
    while True:
        position = edge.projector.position(subjects.AUDIT)
        try:
            proof = await edge.views.inclusion(event)
        except MissingNodeError:
            raise LogIncomplete from None
        left = deadline - loop.time()
        if proof is not None or left <= 0 or await _cannot_come(edge, event, known):
            return proof
        if not await edge.projector.reached(subjects.AUDIT, position + 1, left):
            return None


async def _cannot_come(edge: Edge, event: str, known: int) -> bool:
    """Whether there is nothing to wait for: the log has as many leaves as there were events at first, and this is none of them."""
    # The size comes first: a leaf that comes in between is then found.
    return await edge.views.audit_size() >= known and await edge.views.audit_entry(event) is None


@get("/consistency", operation_id="proveConsistency", summary="Prove that the log only grew", opt={VERB: Verb.AUDIT_READ})
async def consistency(
    edge: TheEdge,
    old: Annotated[int, QueryParameter(ge=0, le=2**62, description="size of the smaller log")],
    new: Annotated[int | None, QueryParameter(ge=0, le=2**62, description="size of the larger log; absent: the latest signed")] = None,
) -> ConsistencyProof:
    """That the first ``old`` entries are the same in both (RFC 9162)."""
    if new is None:
        latest = await edge.views.checkpoint()
        new = latest.size if latest is not None else 0
    try:
        hashes = await edge.views.consistency(old, new)
    except ProofError as error:
        raise RequestInvalid(str(error), parameter="old") from None
    except MissingNodeError:
        raise LogIncomplete from None
    return ConsistencyProof(old=old, new=new, hashes=tuple(map(_base64, hashes)))


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


router = Router("/audit", route_handlers=[checkpoint, key, rotations, entries, prove, consistency], tags=["audit"])
