"""The log to take away: exported with its own proof, as static tiles, and with the program that checks it."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Literal

from litestar import Response, Router, get
from litestar.params import PathParameter, QueryParameter
from litestar.response import Stream

import halftone
from api.auth import VERB
from api.edge import Edge
from api.policy import Verb
from api.problems import NotFound, RequestInvalid
from api.v1.answers import StretchProof
from api.v1.audit import LogIncomplete, held_rotations
from api.v1.parameters import TheEdge
from contracts.views import AuditEntryView, CheckpointView
from halftone.merkle import Head, MissingNodeError, ProofError, Stretch, Tile, canonical, entry_bundle, entry_line
from halftone.merkle.export import MOST_NOTES

PROGRAM = "text/x-python"
BATCH = 500
"""Entries that are read together."""
COLUMNS = ("index", "time", "type", "principal", "project", "event", "leaf", "entry")
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
_PROGRAM = Path(halftone.__file__).parent / "verify_log.py"

From = Annotated[int, QueryParameter(ge=0, le=2**62, description="index of the first entry")]
To = Annotated[int | None, QueryParameter(ge=0, le=2**62, description="index after that of the last entry; absent: all that is signed")]


@get("/stretch", operation_id="proveStretch", summary="Prove that a range of the log is whole", opt={VERB: Verb.AUDIT_READ})
async def stretch(edge: TheEdge, start: From = 0, end: To = None) -> StretchProof:
    """What, with the leaf hashes of the entries from start up to end, makes the signed root: none can be missing, added or moved."""
    found, signed = await _stretch(edge, start, end)
    return StretchProof(**found.to_dict(), checkpoint=signed.note, rotations=await held_rotations(edge))


@get(
    "/export",
    media_type="application/x-ndjson",
    operation_id="exportLog",
    summary="Export the log or a range of it",
    opt={VERB: Verb.AUDIT_READ},
)
async def export(
    edge: TheEdge,
    start: From = 0,
    end: To = None,
    form: Annotated[
        Literal["ndjson", "csv"], QueryParameter(name="format", description="JSON lines that prove themselves, or a table")
    ] = "ndjson",
) -> Stream:
    """All entries of a range up to the latest checkpoint.

    As JSON lines the first line is the proof: `verify_log.py` and `halftone audit verify --export` check the file as it is. As CSV the
    proof is `GET /v1/audit/stretch` of the same range.
    """
    found, signed = await _stretch(edge, start, end)
    if form == "csv":
        return _stream(_rows(edge, found), "text/csv; charset=utf-8", f"halftone-log-{found.start}-{found.end}.csv")
    key = await asyncio.to_thread((edge.runtime.home.audit / "public-key").read_text)
    whole = (found.start, found.end) == (0, found.size)
    notes = tuple(await edge.views.checkpoints(found.size, MOST_NOTES)) if whole else ()
    head = Head(found, signed.note, key.strip(), await held_rotations(edge), notes)
    return _stream(_lines(edge, found, head), "application/x-ndjson", f"halftone-log-{found.start}-{found.end}.jsonl")


def _stream(content: AsyncIterator[bytes], media_type: str, name: str) -> Stream:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return Stream(content, media_type=media_type, headers=headers)


async def _stretch(edge: Edge, start: int, end: int | None) -> tuple[Stretch, CheckpointView]:
    """A range of what is signed. Raises NotFound, RequestInvalid or LogIncomplete."""
    signed = await edge.views.checkpoint()
    if signed is None:
        raise NotFound("Nothing is signed yet: the log is empty.")
    try:
        return await edge.views.stretch(start, signed.size if end is None else end, signed.size), signed
    except ProofError as error:
        raise RequestInvalid(f"{error} So many are signed: {signed.size}.", parameter="start" if start > signed.size else "end") from None
    except MissingNodeError:
        raise LogIncomplete from None


async def _entries(edge: Edge, of: Stretch) -> AsyncIterator[AuditEntryView]:
    index = of.start
    while index < of.end:
        batch = await edge.views.audit_entries(index, BATCH, end=of.end)
        if not batch or batch[0].index != index:
            # The view is being rebuilt: what is cut off here does not verify, and that is what the head is for.
            raise LogIncomplete
        for entry in batch:
            yield entry
        index = batch[-1].index + 1


async def _lines(edge: Edge, of: Stretch, head: Head) -> AsyncIterator[bytes]:
    yield head.line()
    async for entry in _entries(edge, of):
        yield entry_line(entry.index, bytes.fromhex(entry.leaf), canonical(entry.entry))


async def _rows(edge: Edge, of: Stretch) -> AsyncIterator[bytes]:
    yield _row(COLUMNS)
    async for each in _entries(edge, of):
        told = tuple(str(each.entry.get(name, "")) for name in ("time", "type", "principal", "project"))
        # Nothing of it begins with a sign that a spreadsheet takes for a formula: ids, codes, times, and an object in braces.
        yield _row((str(each.index), *told, each.event, each.leaf, canonical(each.entry).decode()))


def _row(fields: tuple[str, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(fields)
    return text.getvalue().encode()


@get(
    "/tile/{path:path}",
    media_type="application/octet-stream",
    operation_id="getTile",
    summary="A tile of the log",
    opt={VERB: Verb.AUDIT_READ},
)
async def tile(
    edge: TheEdge, path: Annotated[str, PathParameter(description="level or entries, index, width if partial")]
) -> Response[bytes]:
    """The log as C2SP tlog-tiles has it: `checkpoint` beside `tile/<level>/<index>` and `tile/entries/<index>`."""
    try:
        wanted = Tile.parse(path.lstrip("/"))
    except ProofError as error:
        raise NotFound(str(error)) from None
    signed = await edge.views.checkpoint()
    if signed is None or wanted.end > signed.size:
        raise NotFound(f"There is no tile {wanted.path}: {0 if signed is None else signed.size} entries are signed.")
    try:
        content = await _bundle(edge, wanted) if wanted.level is None else await edge.views.tile(wanted)
    except MissingNodeError:
        raise LogIncomplete from None
    return Response(content, media_type="application/octet-stream", headers=_FOREVER)


async def _bundle(edge: Edge, wanted: Tile) -> bytes:
    found = await edge.views.audit_entries(wanted.start, wanted.width, end=wanted.end)
    if [entry.index for entry in found] != list(range(wanted.start, wanted.end)):
        raise MissingNodeError(0, wanted.start)
    return entry_bundle(canonical(entry.entry) for entry in found)


@get(
    "/verify_log.py", media_type=PROGRAM, operation_id="getVerifier", summary="The program that checks the log", opt={VERB: Verb.AUDIT_READ}
)
async def program() -> Response[bytes]:
    """One file that needs Python and nothing else. Whoever trusts nobody reads it first: it is short."""
    content = await asyncio.to_thread(_PROGRAM.read_bytes)
    headers = {"Content-Disposition": 'attachment; filename="verify_log.py"'}
    return Response(content, media_type=PROGRAM, headers=headers)


router = Router("/audit", route_handlers=[stretch, export, tile, program], tags=["audit"])
