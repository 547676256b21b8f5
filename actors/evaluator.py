"""The evaluator: measures a synthetic table against a real one. Its figures are raw, and for curators alone."""

from __future__ import annotations

import json

from contracts.jobs import Actor, EvaluateSpec, JobSpec, Output
from contracts.schema import DatasetSchema, TableSchema
from infra.settings import Settings
from infra.work.executor import run_executor
from infra.work.task import Finished, Task, TaskRefused
from infra.work.worker import Reporter

HEAVY = ("pyarrow.parquet", "halftone.evaluation.report")
"""What a worker imports before there is a task for it."""


async def run(settings: Settings) -> None:
    """Evaluate until stopped."""
    await run_executor(Actor.EVALUATOR, settings, "actors.evaluator:work")


def work(task: Task, reporter: Reporter) -> Finished:
    """Compare the tables and store the report. Runs in a worker process.

    Raises TaskRefused, naming the column.
    """
    # Heavy, and only ever wanted in a worker.
    import pyarrow.parquet as pq  # noqa: PLC0415

    from halftone.evaluation.errors import EvaluationError  # noqa: PLC0415
    from halftone.evaluation.report import evaluate  # noqa: PLC0415

    spec = _spec(task.command.spec)
    reporter.advanced("read", 0.0)
    real, synthetic = (pq.read_table(task.objects.path(ref.table)) for ref in (spec.real, spec.synthetic))
    try:
        report = evaluate(real, synthetic, _declared(task, spec), seed=spec.seed, progress=lambda done: reporter.advanced("measure", done))
    except EvaluationError as error:
        raise TaskRefused(error.code, str(error), **error.fields) from error
    stored = task.objects.put(task.object_id("report"), json.dumps(report).encode())
    reporter.advanced("measure", 1.0)
    return Finished(outputs=(Output(role="report", object=stored),))


def _declared(task: Task, spec: EvaluateSpec) -> TableSchema | None:
    if spec.declared is None:
        return None
    return DatasetSchema.model_validate_json(task.objects.read(spec.declared)).tables[0]


def _spec(spec: JobSpec) -> EvaluateSpec:
    if not isinstance(spec, EvaluateSpec):
        raise TypeError(f"the evaluator does not run {spec.kind} jobs")
    return spec
