"""The synthesizer: measures a real table through noise, once per charge, and draws a synthetic one from the measurements."""

from __future__ import annotations

import secrets

from contracts.events import DatasetVersionAdded, Origin
from contracts.ids import ObjectId
from contracts.jobs import Actor, JobSpec, Output, SynthesizeSpec
from contracts.schema import DatasetSchema, TableSchema
from infra.settings import Settings
from infra.work.executor import run_executor
from infra.work.task import Finished, Happened, Task, TaskRefused
from infra.work.worker import Reporter

PARQUET = "application/vnd.apache.parquet"
BINARY = "application/octet-stream"


async def run(settings: Settings) -> None:
    """Synthesize until stopped."""
    await run_executor(Actor.SYNTHESIZER, settings, "actors.synthesizer:work")


def work(task: Task, reporter: Reporter) -> Finished:
    """Measure (unless an earlier attempt has), fit, draw. Runs in a worker process.

    Raises TaskRefused where parameters and declared schema cannot lead to a table. Nothing that is raised depends on the rows.
    """
    spec = _spec(task.command.spec)
    measurements = task.measurements
    if measurements is None:
        measurements = _measure(task, spec, reporter)
        reporter.measured(measurements)
    return _generate(task, spec, measurements, reporter)


def _measure(task: Task, spec: SynthesizeSpec, reporter: Reporter) -> ObjectId:
    """Buy noisy measurements and store them: the only place that opens the real table."""
    # Heavy, and only ever wanted in a worker.
    import pyarrow.parquet as pq  # noqa: PLC0415

    from halftone.synthesis.encoding import open_handle  # noqa: PLC0415
    from halftone.synthesis.engine import engine  # noqa: PLC0415

    grant = task.command.grant
    if grant is None:
        raise RuntimeError("a synthesis without a grant reads nothing")
    reporter.advanced("measure", 0.0)
    schema = _schema(task, spec)
    table = pq.read_table(task.objects.path(spec.source.table), columns=[column.name for column in schema.columns])
    try:
        handle = open_handle(table, schema, grant.cost.rho)
        measured = engine(spec.engine).measure(handle, schema, grant.cost.rho, lambda done, _: reporter.advanced("measure", done / 2))
    except ValueError as error:
        raise TaskRefused(getattr(error, "code", "cannot-synthesize"), str(error)) from error
    return task.objects.put(task.object_id("measurements"), measured.to_bytes(), BINARY, ".measurements")


def _generate(task: Task, spec: SynthesizeSpec, stored: ObjectId, reporter: Reporter) -> Finished:
    """Fit and draw: post-processing, which costs nothing however often it is done."""
    import pyarrow.parquet as pq  # noqa: PLC0415  # heavy

    from halftone.synthesis.engine import Measurements, engine  # noqa: PLC0415  # heavy

    measured = Measurements.from_bytes(task.objects.read(stored))
    model = engine(spec.engine).fit(measured, lambda done, _: reporter.advanced("fit", 0.5 + done / 4))
    saved = task.objects.put(task.object_id("model"), model.save(), BINARY, ".model")
    reporter.advanced("draw", 0.8)
    table = model.sample(spec.rows, seed=secrets.randbits(63) if spec.seed is None else spec.seed)
    reporter.advanced("write", 0.9)
    with task.objects.write(task.object_id("table"), PARQUET, ".parquet") as draft:
        pq.write_table(table, draft.path, compression="zstd")
        draft.rows = table.num_rows
    drawn = task.object_id("table")
    reporter.advanced("write", 1.0)
    added = DatasetVersionAdded(dataset=spec.target, version=1, origin=Origin.SYNTHETIC, table=drawn, job=task.command.job)
    outputs = (Output(role="table", object=drawn), Output(role="model", object=saved), Output(role="measurements", object=stored))
    return Finished(outputs=outputs, events=(Happened.of(added),))


def _schema(task: Task, spec: SynthesizeSpec) -> TableSchema:
    schema = DatasetSchema.model_validate_json(task.objects.read(spec.declared)).tables[0]
    for column in schema.columns:
        if column.attested_by is None:
            raise TaskRefused(
                "schema-not-attested", f"column {column.name!r}: nobody has attested that its domain is public", column=column.name
            )
    return schema


def _spec(spec: JobSpec) -> SynthesizeSpec:
    if not isinstance(spec, SynthesizeSpec):
        raise TypeError(f"the synthesizer does not run {spec.kind} jobs")
    return spec
