"""The ingestor: takes a table in, infers its types from the whole of it, stores it as Parquet, profiles it; and writes tables out again.

Rows come in a file that was sent, or are fetched from a source that the settings name. What is the same content falls under the same
budget account, whatever it came in: that is decided here, in the transaction that ends the job, before anybody can use the rows.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, MetaData, Table, Text, insert, select

from contracts.commands import RunJob
from contracts.events import DatasetProfiled, DatasetVersionAdded, Origin
from contracts.ids import AccountId, ObjectId
from contracts.jobs import Actor, ExportSpec, Fetch, IngestSpec, Output, TableFormat
from contracts.schema import DatasetSchema, TableSchema
from infra.database.store import Transaction
from infra.objects import ObjectMissing
from infra.settings import Settings
from infra.sources.named import FETCHED, AskedKey, AskedQuery
from infra.work.executor import run_executor
from infra.work.task import Finished, Happened, Task, TaskRefused
from infra.work.worker import Reporter

if TYPE_CHECKING:
    from halftone.tables.limits import Limits
    from halftone.tables.options import ReadOptions

PARQUET = "application/vnd.apache.parquet"
MEDIA_TYPES: dict[TableFormat, str] = {
    TableFormat.PARQUET: PARQUET,
    TableFormat.CSV: "text/csv; charset=utf-8; header=present",
    TableFormat.JSONL: "application/jsonl",
    TableFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
HEAVY = ("halftone.tables.ingest", "halftone.tables.schema", "halftone.tables.profile", "halftone.schemas.draft")
"""What a worker imports before there is a task for it."""
RESULTS = ("fetched", "table", "proposal", "profile", "draft", "sample")


def tables() -> MetaData:
    """The ingestor's own tables: which content falls under which account. Rows are only ever added."""
    metadata = MetaData()
    Table(
        "contents",
        metadata,
        Column("sha256", Text, primary_key=True, comment="of a table's content, or of the bytes of a file, hex"),
        Column("account", Text, nullable=False),
    )
    return metadata


async def run(settings: Settings) -> None:
    """Ingest until stopped."""
    await run_executor(Actor.INGESTOR, settings, "actors.ingestor:work", events=bound, metadata=tables())


def bound(tx: Transaction, command: RunJob, end: Finished) -> tuple[Happened, ...]:
    """What happened when rows came in, with the account that they fall under: that of the first table with their content.

    Failing that, of the first file with these bytes, however it was read then; failing that, the one that the dataset is registered with.
    """
    spec = command.spec
    if not isinstance(spec, IngestSpec) or not end.contents:
        return end.events
    t = tx.tables["contents"]
    rows = tx.connection.execute(select(t).where(t.c.sha256.in_(end.contents)))
    held: dict[str, AccountId] = {row.sha256: row.account for row in rows}
    account = next((held[each] for each in end.contents if each in held), spec.account)
    new = [{"sha256": each, "account": account} for each in end.contents if each not in held]
    if new:
        tx.connection.execute(insert(t), new)
    return tuple(each.having(account=account) if each.type == DatasetVersionAdded.TYPE else each for each in end.events)


def work(task: Task, reporter: Reporter) -> Finished:
    """Store and profile, only profile anew, or write a stored table out. Runs in a worker process.

    Raises TaskRefused, which names the column, the line or the limit; nothing half-stored stays behind.
    """
    from halftone.tables.errors import TableError  # noqa: PLC0415  # the library is a worker's to load

    try:
        match spec := task.command.spec:
            case ExportSpec():
                return _export(task, spec, reporter)
            case IngestSpec():
                return _profile(task, spec, spec.source, reporter, 0.0)[0] if spec.stored else _store(task, spec, reporter)
            case _:
                raise TypeError(f"the ingestor does not run {spec.kind} jobs")
    except TableError as error:
        for role in RESULTS:
            task.objects.delete(task.object_id(role))
        raise TaskRefused(error.code, str(error), **error.fields) from None


def _export(task: Task, spec: ExportSpec, reporter: Reporter) -> Finished:
    """Write a table in another format. One with raw rows needs the keeper's word that the ledger names this."""
    from halftone.tables.export import export  # noqa: PLC0415  # heavy

    if spec.account is not None and task.command.grant is None:
        raise RuntimeError("an export of raw rows without a grant reads nothing")
    exported = task.object_id("export")
    try:
        table, rows = task.objects.path(spec.source.table), task.objects.info(spec.source.table).rows
    except ObjectMissing:
        detail = "The table is not kept any more: there is nothing to export."
        raise TaskRefused("table-gone", detail, dataset=spec.source.dataset, version=spec.source.version) from None
    with task.objects.write(exported, MEDIA_TYPES[spec.format], f".{spec.format}") as draft:
        export(table, draft.path, spec.format.value, progress=_part(reporter, "export", 0.0, 1.0))
        draft.rows = rows
    return Finished(outputs=(Output(role="export", object=exported),))


def _store(task: Task, spec: IngestSpec, reporter: Reporter) -> Finished:
    from halftone.tables.content import content_hash  # noqa: PLC0415  # heavy
    from halftone.tables.ingest import ingest  # noqa: PLC0415
    from halftone.tables.limits import Limits  # noqa: PLC0415
    from halftone.tables.schema import infer  # noqa: PLC0415

    objects, limits = task.objects, Limits(data_bytes=task.limits.max_table_bytes, columns=task.limits.max_columns)
    source, options = _source(task, spec, limits, reporter)
    with objects.write(task.object_id("table"), PARQUET, ".parquet") as draft:
        read = _part(reporter, "read", 0.1, 0.5)
        ingested = ingest(objects.path(source), draft.path, limits=limits, progress=read, options=options)
        draft.rows = ingested.rows
    table = task.object_id("table")
    content = content_hash(objects.path(table), progress=_part(reporter, "recognise", 0.5, 0.6))
    reporter.advanced("infer", 0.6)
    inferred = infer(objects.path(table))
    proposal = objects.put(task.object_id("proposal"), DatasetSchema(tables=(inferred,)).model_dump_json().encode())
    if spec.declared is not None:
        _check(_declared(task, spec.declared), inferred)
    profiled, described = _profile(task, spec, table, reporter, 0.7)
    shown = _show(task, table, described)
    added = DatasetVersionAdded(
        dataset=spec.dataset, version=spec.version, origin=Origin.REAL, table=table, proposal=proposal, job=task.command.job
    )
    outputs = (Output(role="table", object=table), Output(role="proposal", object=proposal), *profiled.outputs, *shown)
    # A query's result has no bytes of its own: what it is written to on its way is as we write it.
    contents = (content,) if spec.fetch is Fetch.SQL else (content, objects.info(source).sha256)
    return Finished(outputs=outputs, events=(Happened.of(added), *profiled.events), contents=contents)


def _source(task: Task, spec: IngestSpec, limits: Limits, reporter: Reporter) -> tuple[ObjectId, ReadOptions]:
    """The file to read, fetched if it was not sent, and how. What was fetched is removed when the job has ended."""
    from halftone.tables.options import FileFormat, ReadOptions  # noqa: PLC0415  # the library is a worker's to load

    if spec.fetch is None:
        return spec.source, _options(task, spec)
    asked = FETCHED[spec.fetch].model_validate_json(task.objects.read(spec.source))
    fetched = task.object_id("fetched")
    reporter.advanced("fetch", 0.0)
    with task.objects.write(fetched, "application/octet-stream", "") as draft:
        _fetch(task, asked, draft.path, limits)
    if isinstance(asked, AskedQuery):
        return fetched, ReadOptions(format=FileFormat.JSONL)
    return fetched, _options(task, spec)


def _fetch(task: Task, asked: AskedQuery | AskedKey, target: Path, limits: Limits) -> None:
    from halftone.tables.spool import spool  # noqa: PLC0415  # the library is a worker's to load
    from infra.sources.sql import querying  # noqa: PLC0415
    from infra.sources.stores import download  # noqa: PLC0415

    sources = task.sources
    if sources is None:
        raise RuntimeError("a job that fetches was not told from where")
    if isinstance(asked, AskedQuery):
        with querying(sources.database(asked.sql), asked.query, seconds=sources.seconds) as result:
            spool(result.names, result.fetch, target, limits)
        return
    with target.open("wb") as out:
        home = task.objects_directory.parent
        download(sources.store(asked.store), asked.key, out, most=task.limits.max_upload_bytes, home=home)


def _options(task: Task, spec: IngestSpec) -> ReadOptions:
    from halftone.tables.options import FileFormat, ReadOptions  # noqa: PLC0415  # the library is a worker's to load

    said = {} if spec.options is None else json.loads(task.objects.read(spec.options))
    return ReadOptions(**{**said, "format": FileFormat(said.get("format", FileFormat.AUTO))})


def _show(task: Task, table: ObjectId, described: dict[str, Any]) -> tuple[Output, Output]:
    """What helps a person to write the schema down: a draft of it, and a few rows. For those with the right to raw data."""
    from halftone.schemas.draft import draft  # noqa: PLC0415  # heavy
    from halftone.tables.picked import pick  # noqa: PLC0415

    path = task.objects.path(table)
    drafted = task.objects.put(task.object_id("draft"), json.dumps(draft(path, profile=described).to_dict()).encode())
    picked = task.objects.put(task.object_id("sample"), pick(path, seed=secrets.randbits(63)))
    return Output(role="draft", object=drafted), Output(role="sample", object=picked)


def _profile(task: Task, spec: IngestSpec, table: ObjectId, reporter: Reporter, begin: float) -> tuple[Finished, dict[str, Any]]:
    """Describe the table, and count what departs from the declared schema: for those with the right to raw data, nowhere else."""
    from halftone.tables.profile import profile  # noqa: PLC0415  # heavy

    declared = None if spec.declared is None else _declared(task, spec.declared)
    described = profile(task.objects.path(table), declared, progress=_part(reporter, "profile", begin, 1.0))
    stored = task.objects.put(task.object_id("profile"), json.dumps(described).encode())
    event = DatasetProfiled(dataset=spec.dataset, version=spec.version, profile=stored, job=task.command.job)
    reporter.advanced("profile", 1.0)
    return Finished(outputs=(Output(role="profile", object=stored),), events=(Happened.of(event),)), described


def _check(declared: TableSchema, inferred: TableSchema) -> None:
    from halftone.tables.declared import check  # noqa: PLC0415  # the library is a worker's to load

    check(declared, inferred)


def _declared(task: Task, declared: ObjectId) -> TableSchema:
    return DatasetSchema.model_validate_json(task.objects.read(declared)).tables[0]


def _part(reporter: Reporter, step: str, begin: float, end: float) -> Callable[[float], None]:
    return lambda done: reporter.advanced(step, begin + done * (end - begin))
