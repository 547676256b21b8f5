"""Artifacts: what jobs made, to be downloaded."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated

from litestar import Response, Router, get
from litestar.params import HeaderParameter, PathParameter
from litestar.response import Stream

from api.auth import VERB, require
from api.edge import Edge
from api.policy import Resource, Verb
from api.problems import NotFound
from api.v1.parameters import Asked, TheEdge
from contracts.ids import ObjectId
from contracts.jobs import JobKind
from contracts.problems import ProblemError
from contracts.views import ArtifactView
from infra.objects import CHUNK, ObjectInfo, ObjectMissing

RAW_KINDS = frozenset({JobKind.INGEST, JobKind.EVALUATE})
"""Jobs that write down what they read off real rows."""
_OBJECT = re.compile(r"obj_[0-9a-f]{32}")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class RangeWrong(ProblemError):
    """The range is not within the file."""

    status, code = 416, "range-wrong"


@get(
    "/{artifact:str}",
    operation_id="getArtifact",
    summary="Download an artifact",
    opt={VERB: Verb.ARTIFACT_READ},
    media_type="application/octet-stream",
)
async def download(
    artifact: Annotated[str, PathParameter(description="id of the artifact, from a job's outputs")],
    request: Asked,
    edge: TheEdge,
    asked_range: Annotated[str | None, HeaderParameter(name="Range", max_length=60, description="bytes=first-last: a part of it")] = None,
) -> Stream | Response[bytes]:
    """The file, with its SHA-256 as ETag and Digest. What holds raw rows or figures needs the right to raw data."""
    view, info, path = await _find(artifact, request, edge)
    etag = f'"{info.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(info.sha256)).decode()}:",
        "Content-Disposition": f'attachment; filename="{view.role}-{view.object}{info.extension}"',
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == etag:
        return Response(b"", status_code=304, headers=headers)
    span = _span(asked_range, info.size)
    first, last = span or (0, info.size - 1)
    headers["Content-Length"] = str(last - first + 1)
    if span is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{info.size}"
    return Stream(_chunks(path, first, last), status_code=206 if span else 200, media_type=info.media_type, headers=headers)


async def _find(artifact: str, request: Asked, edge: Edge) -> tuple[ArtifactView, ObjectInfo, Path]:
    """An artifact that the caller may read. Raises NotFound or Forbidden."""
    view = await edge.views.artifact(artifact) if _OBJECT.fullmatch(artifact) else None
    job = await edge.views.job(view.job) if view is not None else None
    if view is None or job is None:
        raise NotFound.of("artifact", artifact)
    if job.kind in RAW_KINDS:
        require(request.user, Verb.RAW_READ, Resource("artifact", view.object))
    try:
        return view, *await asyncio.to_thread(_located, edge, view.object)
    except ObjectMissing:
        raise NotFound(f"The artifact {artifact} is not kept any more.", id=artifact) from None


def _located(edge: Edge, object_id: ObjectId) -> tuple[ObjectInfo, Path]:
    return edge.objects.info(object_id), edge.objects.path(object_id)


def _span(asked: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of the one range that is asked for; None for all of it (RFC 9110: what is not understood is ignored)."""
    match = _RANGE.fullmatch(asked.strip()) if asked else None
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first > last:
        raise RangeWrong(f"The range must be within the file's {size:,} bytes.", size=size)
    return first, last


async def _chunks(path: Path, first: int, last: int) -> AsyncGenerator[bytes, None]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        await asyncio.to_thread(file.seek, first)
        left = last - first + 1
        while left and (chunk := await asyncio.to_thread(file.read, min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
    finally:
        await asyncio.to_thread(file.close)


router = Router("/artifacts", route_handlers=[download], tags=["artifacts"])
