"""Files sent: whole, in part, or not again (RFC 9110, sections 13 and 14), each with its hash (RFC 9530)."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Annotated, Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter
from litestar.response import Stream
from litestar.types import Method

from api.edge import Edge
from api.problems import NotFound, answer
from api.v1.parameters import Asked
from contracts.ids import ObjectId
from contracts.problems import ProblemError
from infra.objects import CHUNK, ObjectInfo, ObjectMissing

Range = Annotated[
    str | None,
    HeaderParameter(name="Range", max_length=200, description="bytes=first-last: a part of it, on condition of an If-Range"),
]
File = Response[bytes] | Stream
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE | re.ASCII)
HEAD = "HEAD"
_TAG = re.compile(r'(?:W/)?("[^"]*")')


def named(what: str) -> Callable[[HTTPRouteHandler, Method, list[Any]], str]:
    """Names of the two operations of a route that can be asked with GET, or with HEAD for what would come."""
    return lambda _handler, method, _path: f"{method.lower()}{what}"


class RangeWrong(ProblemError):
    """The range is not within the file."""

    status, code = 416, "range-wrong"


async def located(edge: Edge, object_id: ObjectId) -> tuple[ObjectInfo, Path]:
    """What is known of an object, and where it is. Raises NotFound for one that is not kept any more."""

    def look() -> tuple[ObjectInfo, Path]:
        return edge.objects.info(object_id), edge.objects.path(object_id)

    try:
        return await asyncio.to_thread(look)
    except ObjectMissing:
        raise NotFound(f"The artifact {object_id} is not kept any more.", id=object_id) from None


async def kept(edge: Edge, object_id: ObjectId | None) -> bool:
    """Whether an object is still there."""
    if object_id is None:
        return False
    try:
        await asyncio.to_thread(edge.objects.path, object_id)
    except ObjectMissing:
        return False
    return True


async def send(edge: Edge, request: Asked, object_id: ObjectId, name: str, asked: str | None) -> File:
    """An object as a download, called by a name that gets the object's own extension; of a HEAD, what would come with it.

    200, 206 for the range that is asked for, 304 for a client that has it, 416 for a range outside of it. Several ranges at once, or
    what is no range of bytes, get the whole file. Raises NotFound.
    """
    info, path = await located(edge, object_id)
    etag = f'"{info.sha256}"'
    headers = {
        # As it is stored: the framework would put a charset of its own behind it.
        "Content-Type": info.media_type,
        "ETag": etag,
        "Accept-Ranges": "bytes",
        # The rights to it are asked for each time, also where the client has a copy.
        "Cache-Control": "private, no-cache",
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(info.sha256)).decode()}:",
        "Content-Disposition": f'attachment; filename="{name}{info.extension}"',
        "X-Content-Type-Options": "nosniff",
    }
    if holds(request.headers.get("if-none-match"), etag):
        return Response(b"", status_code=304, headers=headers)
    # A range is for GET, and for a client whose part is of the same bytes: a weak tag, or a date, does not say so.
    if request.method == HEAD or request.headers.get("if-range", etag) != etag:
        asked = None
    try:
        span = _span(asked, info.size)
    except RangeWrong as error:
        return answer(error.document(), {"Content-Range": f"bytes */{info.size}", "ETag": etag, "Accept-Ranges": "bytes"})
    first, last = span or (0, info.size - 1)
    headers["Content-Length"] = str(last - first + 1)
    if span is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{info.size}"
    if request.method == HEAD:
        return Stream(_nothing(), status_code=200, headers=headers)
    return Stream(_chunks(path, first, last), status_code=206 if span else 200, headers=headers)


def holds(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match names this tag, weakly compared."""
    return header is not None and (header.strip() == "*" or etag in _TAG.findall(header))


def _span(asked: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of the one range that is asked for; None for all of it: what is not understood is ignored. Raises RangeWrong."""
    match = _RANGE.fullmatch(asked.strip()) if asked else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    elif match[2] and int(match[2]) < int(match[1]):
        return None
    else:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    if first > last:
        raise RangeWrong(f"The range must be within the file's {size:,} bytes.", size=size)
    return first, last


async def _nothing() -> AsyncGenerator[bytes, None]:
    """What follows the headers of a HEAD."""
    return
    yield b""


async def _chunks(path: Path, first: int, last: int) -> AsyncGenerator[bytes, None]:
    # Opened and closed at once, not in a thread: a download that is broken off meanwhile would leave the file open.
    with path.open("rb") as file:
        file.seek(first)
        left = last - first + 1
        while left and (chunk := await asyncio.to_thread(file.read, min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
