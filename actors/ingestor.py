"""The ingestor: takes an uploaded file in, infers its types from the whole of it, stores it as Parquet, and profiles it."""

from __future__ import annotations

import json
from collections.abc import Callable

from contracts.events import DatasetProfiled, DatasetVersionAdded, Origin
from contracts.ids import ObjectId
from contracts.jobs import Actor, IngestSpec, JobSpec, Output
from contracts.schema import DatasetSchema, TableSchema
from infra.settings import Settings
from infra.work.executor import run_executor
from infra.work.task import Finished, Happened, Task, TaskRefused
from infra.work.worker import Reporter

PARQUET = "application/vnd.apache.parquet"


async def run(settings: Settings) -> None:
    """Ingest until stopped."""
    await run_executor(Actor.INGESTOR, settings, "actors.ingestor:work")


def work(task: Task, reporter: Reporter) -> Finished:
    """Store and profile, or only profile anew. Runs in a worker process.

    Raises TaskRefused, which names the column, the line or the limit; nothing half-stored stays behind.
    """
    from halftone.tables.errors import TableError  # noqa: PLC0415  # the library is a worker's to load

    spec = _spec(task.command.spec)
    try:
        return _profile(task, spec, spec.source, reporter, 0.0) if spec.stored else _store(task, spec, reporter)
    except TableError as error:
        for role in ("table", "proposal", "profile"):
            task.objects.delete(task.object_id(role))
        raise TaskRefused(error.code, str(error), **error.fields) from None


def _store(task: Task, spec: IngestSpec, reporter: Reporter) -> Finished:
    from halftone.tables.ingest import ingest  # noqa: PLC0415  # heavy
    from halftone.tables.limits import Limits  # noqa: PLC0415
    from halftone.tables.schema import infer  # noqa: PLC0415

    objects, limits = task.objects, Limits(data_bytes=task.limits.max_table_bytes, columns=task.limits.max_columns)
    with objects.write(task.object_id("table"), PARQUET, ".parquet") as draft:
        ingested = ingest(objects.path(spec.source), draft.path, limits=limits, progress=_part(reporter, "read", 0.0, 0.6))
        draft.rows = ingested.rows
    table = task.object_id("table")
    reporter.advanced("infer", 0.6)
    inferred = infer(objects.path(table))
    proposal = objects.put(task.object_id("proposal"), DatasetSchema(tables=(inferred,)).model_dump_json().encode())
    if spec.declared is not None:
        _check(_declared(task, spec.declared), inferred)
    profiled = _profile(task, spec, table, reporter, 0.7)
    added = DatasetVersionAdded(
        dataset=spec.dataset, version=spec.version, origin=Origin.REAL, table=table, proposal=proposal, job=task.command.job
    )
    outputs = (Output(role="table", object=table), Output(role="proposal", object=proposal), *profiled.outputs)
    return Finished(outputs=outputs, events=(Happened.of(added), *profiled.events))


def _profile(task: Task, spec: IngestSpec, table: ObjectId, reporter: Reporter, begin: float) -> Finished:
    """Describe the table, and count what departs from the declared schema: for those with the right to raw data, nowhere else."""
    from halftone.tables.profile import profile  # noqa: PLC0415  # heavy

    declared = None if spec.declared is None else _declared(task, spec.declared)
    described = profile(task.objects.path(table), declared, progress=_part(reporter, "profile", begin, 1.0))
    stored = task.objects.put(task.object_id("profile"), json.dumps(described).encode())
    event = DatasetProfiled(dataset=spec.dataset, version=spec.version, profile=stored, job=task.command.job)
    reporter.advanced("profile", 1.0)
    return Finished(outputs=(Output(role="profile", object=stored),), events=(Happened.of(event),))


def _check(declared: TableSchema, inferred: TableSchema) -> None:
    from halftone.tables.declared import check  # noqa: PLC0415  # the library is a worker's to load

    check(declared, inferred)


def _declared(task: Task, declared: ObjectId) -> TableSchema:
    return DatasetSchema.model_validate_json(task.objects.read(declared)).tables[0]


def _part(reporter: Reporter, step: str, begin: float, end: float) -> Callable[[float], None]:
    return lambda done: reporter.advanced(step, begin + done * (end - begin))


def _spec(spec: JobSpec) -> IngestSpec:
    if not isinstance(spec, IngestSpec):
        raise TypeError(f"the ingestor does not run {spec.kind} jobs")
    return spec
