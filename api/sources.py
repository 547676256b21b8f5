"""Rows that nobody sends: files that the server reads itself, below directories that a setting opens, and what the settings name."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO

from litestar import Request
from pydantic import Field, TypeAdapter
from sqlalchemy.engine import make_url

from api.auth import require
from api.bodies import parse
from api.policy import Resource, Verb
from api.problems import Forbidden, NotFound, RequestInvalid, TooLarge
from api.reading import OPTIONS
from api.uploads import OTHER_PART_BYTES, FileEmpty, Upload, plain_name, too_large
from api.v1.bodies import Body
from contracts.ids import new_id
from contracts.jobs import Fetch
from contracts.problems import ProblemError
from halftone.tables.errors import TableError
from halftone.tables.statement import check_statement
from infra.objects import CHUNK, Objects
from infra.settings import Settings
from infra.sources.named import AskedKey, AskedQuery


class SourceNotAllowed(Forbidden):
    """The server may not read this: an administrator opens directories with HALFTONE_READ_PATHS."""

    code = "source-not-allowed"


class SourceNotFile(ProblemError):
    """The path names no file: give that of one table."""

    status, code = 422, "source-not-file"


class KeyWrong(ProblemError):
    """The key is none: it names a file below the store's place, such as 2024/people.csv, and does not climb out of there."""

    status, code = 422, "source-key-wrong"


class QueryNotSelect(ProblemError):
    """The query is not one SELECT statement."""

    status, code = 422, "query-not-select"


class Source(Body):
    """Where the rows are: ``path``; ``sql`` and ``query``; or ``store`` and ``key``."""

    path: str | None = Field(
        default=None, min_length=1, max_length=4096, description="a file, absolute, below one of the directories of HALFTONE_READ_PATHS"
    )
    sql: str | None = Field(default=None, max_length=64, description="a database, by the name that HALFTONE_SQL_SOURCES gives it")
    query: str | None = Field(default=None, description="one SELECT statement, which that database runs")
    store: str | None = Field(default=None, max_length=64, description="an object store, by the name that HALFTONE_OBJECT_SOURCES gives it")
    key: str | None = Field(default=None, max_length=1024, description="of a file in that store")

    @property
    def kind(self) -> str:
        """Path, sql or store. Raises RequestInvalid where it is none of them, or several."""
        said = {name for name in type(self).model_fields if getattr(self, name) is not None}
        for kind, parts in KINDS.items():
            if said == parts:
                return kind
        for kind, parts in KINDS.items():
            missing = sorted(parts - said)
            if kind in said and missing and said < parts:
                raise RequestInvalid(f"source.{missing[0]}: is needed beside {kind}.", parameter=f"source.{missing[0]}")
        raise RequestInvalid("source: must have path; or sql and query; or store and key.", parameter="source")


KINDS = {"path": {"path"}, "sql": {"sql", "query"}, "store": {"store", "key"}}
"""What is said of each kind of source."""


class Reading(Body):
    """How the file is to be read, where that is not to be detected."""

    format: str | None = Field(default=None, description="csv, jsonl, parquet or xlsx")
    delimiter: str | None = Field(default=None, description="between the fields of a CSV: one character, or tab")
    quote: str | None = Field(default=None, description="around fields of a CSV: one character; empty: none")
    encoding: str | None = Field(default=None, description="of text, such as utf-8 or cp1252")
    sheet: str | None = Field(default=None, description="of a workbook, by name")
    header: bool | None = Field(default=None, strict=True, description="whether the first row names the columns")


class SourceBody(Body):
    """A dataset whose rows the server fetches."""

    source: Source
    name: str | None = Field(default=None, min_length=1, max_length=256, description="what it is called; absent: as the file")
    declared: dict[str, Any] | None = Field(default=None, alias="schema", description="its schema; attested in the caller's name")
    read: Reading = Field(default=Reading(), description="how it is to be read, where that is not to be detected")


_BODY: TypeAdapter[SourceBody] = TypeAdapter(SourceBody)


async def fetch(request: Request[Any, Any, Any], objects: Objects, settings: Settings) -> Upload:
    """Store what a JSON body names as an object: a file of the server's, as if it had been uploaded; else what a worker is to fetch.

    Raises Forbidden, BodyNotJson, RequestInvalid, SourceNotAllowed, NotFound, SourceNotFile, TooLarge, FileEmpty, SourceUnknown,
    QueryNotSelect or KeyWrong; nothing is left behind then.
    """
    require(request.user, Verb.SOURCE_USE, Resource("source"))
    body: SourceBody = parse(_BODY, await _content(request.stream()), {"source": 'such as {"path": "/data/people.csv"}'})
    parts = _parts(body)
    source = body.source
    match source.kind:
        case "sql":
            return await asyncio.to_thread(_query, source, objects, settings, parts)
        case "store":
            return await asyncio.to_thread(_key, source, objects, settings, parts)
    path = await asyncio.to_thread(_permitted, source.path or "", settings)
    abandoned = threading.Event()
    try:
        return await asyncio.to_thread(_copied, path, objects, settings.max_upload_bytes, parts, abandoned)
    except asyncio.CancelledError:
        abandoned.set()
        raise


def _parts(body: SourceBody) -> dict[str, bytes]:
    """What is said beside the source, as a form would have it."""
    said = body.read.model_dump(exclude_none=True)
    parts = {name: (str(value).lower() if name == "header" else value).encode() for name, value in said.items()}
    if body.name is not None:
        parts["name"] = body.name.encode()
    if body.declared is not None:
        parts["schema"] = json.dumps(body.declared).encode()
    return parts


def _query(source: Source, objects: Objects, settings: Settings, parts: dict[str, bytes]) -> Upload:
    """A query that a worker is to run; blocks."""
    asked = AskedQuery(sql=source.sql or "", query=source.query or "")
    if parts.keys() & set(OPTIONS):
        raise RequestInvalid("read: is for files; a query's result has its columns and types already.", parameter="read")
    database = make_url(settings.sources().database(asked.sql))
    try:
        query = check_statement(asked.query, "sqlite" if database.get_backend_name() == "sqlite" else "postgres")
    except TableError as error:
        raise QueryNotSelect(f"{str(error)[:1].upper()}{str(error)[1:]}.", parameter="source.query") from None
    return _asking(objects, AskedQuery(sql=asked.sql, query=query), asked.sql, parts, Fetch.SQL)


def _key(source: Source, objects: Objects, settings: Settings, parts: dict[str, bytes]) -> Upload:
    """A file that a worker is to fetch from a store; blocks."""
    asked = AskedKey(store=source.store or "", key=source.key or "")
    settings.sources().store(asked.store)
    if not asked.key.isprintable() or "\\" in asked.key or not {"", ".", ".."}.isdisjoint(asked.key.split("/")):
        raise KeyWrong(parameter="source.key")
    return _asking(objects, asked, asked.key.rpartition("/")[2], parts, Fetch.STORE)


def _asking(objects: Objects, asked: AskedQuery | AskedKey, name: str, parts: dict[str, bytes], kind: Fetch) -> Upload:
    object_id = objects.put(new_id("obj"), asked.model_dump_json().encode())
    return Upload(objects.info(object_id), plain_name(name), parts, kind)


async def _content(chunks: AsyncGenerator[bytes, None]) -> bytes:
    content = b""
    async with aclosing(chunks) as stream:
        async for chunk in stream:
            content += chunk
            if len(content) > OTHER_PART_BYTES:
                raise TooLarge(f"The body is larger than {OTHER_PART_BYTES:,} bytes.", limit=OTHER_PART_BYTES)
    return content


def _permitted(given: str, settings: Settings) -> Path:
    """The path itself, symbolic links followed. Raises SourceNotAllowed, whether or not there is something outside."""
    if not given.isprintable() or not Path(given).is_absolute():
        raise SourceNotAllowed("The path must be absolute, and below a directory that HALFTONE_READ_PATHS names.", parameter="source.path")
    path = Path(given).resolve()
    if not any(path.is_relative_to(opened) for opened in settings.opened()) or path.is_relative_to(settings.home.resolve()):
        raise SourceNotAllowed(parameter="source.path")
    return path


def _copied(path: Path, objects: Objects, most: int, parts: dict[str, bytes], abandoned: threading.Event) -> Upload:
    name, object_id = plain_name(path.name), new_id("obj")
    with _opened(path, name) as file:
        if not os.fstat(file.fileno()).st_size:
            raise FileEmpty(file=name)
        with objects.write(object_id, "application/octet-stream", "") as draft, draft.path.open("wb") as out:
            _copy(file, out, most, abandoned)
    return Upload(objects.info(object_id), name, parts)


def _opened(path: Path, name: str) -> BinaryIO:
    try:
        # A link put in the place of what was looked at is not followed, and a pipe keeps nobody waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"There is no file {name!r} there.", parameter="source.path") from None
    except OSError:
        raise SourceNotFile(f"{name!r} cannot be opened as a file.", parameter="source.path") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceNotFile(parameter="source.path")
    return os.fdopen(descriptor, "rb")


def _copy(file: BinaryIO, out: BinaryIO, most: int, abandoned: threading.Event) -> None:
    size = 0
    while chunk := file.read(CHUNK):
        size += len(chunk)
        if size > most:
            raise too_large(most)
        if abandoned.is_set():
            raise InterruptedError
        out.write(chunk)
