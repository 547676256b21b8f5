"""Files fetched in parts that survive a broken connection, and checked against the hash that the server states (RFC 9530)."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from halftone.client.errors import AnswerWrong, TableNotUsable
from halftone.client.flow import Core, Flow, Lost, Outage, Read, Sleep, opened
from halftone.client.request import Answer, Request

Format = Literal["parquet", "csv", "jsonl", "xlsx"]
_FORMATS: dict[str, Format] = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".xlsx": "xlsx"}
_WAIT = "wait=30"
_SLOWEST = 90.0
"""Seconds that a file which has to be written first may keep silent."""


def format_of(path: Path) -> Format:
    """The format that a file name asks for. Raises TableNotUsable."""
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise TableNotUsable(f"A table is not saved as {path.suffix or path.name!r}: name the file {', '.join(_FORMATS)}.")
    return found


def table_request(dataset: str, version: int, form: Format) -> Request:
    """The rows of a version as a file."""
    path = f"/v1/datasets/{dataset}/versions/{version}/table"
    return Request("GET", path, {"format": form}, {"Prefer": _WAIT}, seconds=_SLOWEST)


def download(core: Core, request: Request, write: Callable[[bytes], object]) -> Flow[None]:
    """Fetch a file and hand it on in pieces. Raises AnswerWrong where it is not the one that was stored, or changes on the way."""
    answer = yield from _begun(core, request)
    tag, digest, got = answer.headers.get("etag"), hashlib.sha256(), 0
    outage = Outage(core)
    while True:
        try:
            piece: bytes = yield Read()
        except Lost as error:
            yield from outage.lost(error)
            answer = yield from _resumed(core, request, tag, got)
            continue
        outage.over()
        if not piece:
            break
        digest.update(piece)
        got += len(piece)
        write(piece)
    stated = answer.headers.get("repr-digest", "")
    found = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    if stated.startswith("sha-256=:") and stated != found:
        raise AnswerWrong("The file was damaged on its way: its hash is not the one that was stated. Fetch it again.")


def _begun(core: Core, request: Request) -> Flow[Answer]:
    """Open the file, once it is written."""
    while True:
        answer = yield from opened(core, request)
        if answer.status != 202:
            return answer
        yield Sleep(answer.retry_after or 1.0)


def _resumed(core: Core, request: Request, tag: str | None, got: int) -> Flow[Answer]:
    """Go on where the connection broke."""
    if tag is None:
        raise AnswerWrong("The connection broke in the middle of a file that cannot be taken up again: fetch it anew.")
    headers = {**request.headers, "Range": f"bytes={got}-", "If-Range": tag}
    answer = yield from opened(core, Request(request.method, request.path, request.query, headers, seconds=request.seconds))
    if got and (answer.status != 206 or answer.headers.get("etag") != tag):
        raise AnswerWrong("The connection broke, and the file is another one now: fetch it anew.")
    return answer


def fetched(core: Core, request: Request) -> Flow[bytes]:
    """A file in memory."""
    content = bytearray()
    yield from download(core, request, content.extend)
    return bytes(content)


def saved(core: Core, request: Request, path: Path) -> Flow[Path]:
    """A file on disk: whole, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            yield from download(core, request, file.write)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
