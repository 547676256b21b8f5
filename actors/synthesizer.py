"""The synthesizer: measures a real table through noise, once per charge, and draws synthetic ones from what it fitted to that."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from actors.certifying import claim_again, claim_of, make_key, mechanisms_run, signing_key, terms_of
from contracts.events import DatasetVersionAdded, Origin
from contracts.ids import ObjectId
from contracts.jobs import Actor, Output, SampleSpec, SynthesizeSpec
from contracts.schema import DatasetSchema, TableSchema
from infra.home import Home
from infra.objects import ObjectMissing
from infra.settings import Settings
from infra.work.executor import run_executor
from infra.work.task import Finished, Happened, Task, TaskRefused
from infra.work.worker import Reporter

if TYPE_CHECKING:
    import pyarrow as pa

    from halftone.certificates.claim import Claim
    from halftone.synthesis.engine import Engine, Model

PARQUET = "application/vnd.apache.parquet"
BINARY = "application/octet-stream"
CERTIFICATE = "application/vnd.dsse.envelope.v1+json"
HEAVY = ("pyarrow.parquet", "halftone.synthesis.encoding", "halftone.synthesis.marginal", "halftone.tables.picked")
"""What a worker imports before there is a task for it."""


async def run(settings: Settings) -> None:
    """Synthesize until stopped."""
    make_key(Home(settings.home).prepare().certificates)
    await run_executor(Actor.SYNTHESIZER, settings, "actors.synthesizer:work")


def work(task: Task, reporter: Reporter) -> Finished:
    """Measure (unless an earlier attempt has), fit, draw; or draw from what was fitted before. Runs in a worker process.

    Raises TaskRefused where parameters and declared schema cannot lead to a table. Nothing that is raised depends on the rows.
    """
    match spec := task.command.spec:
        case SynthesizeSpec():
            return _synthesize(task, spec, reporter)
        case SampleSpec():
            return _sample(task, spec, reporter)
        case _:
            raise TypeError(f"the synthesizer does not run {spec.kind} jobs")


def _synthesize(task: Task, spec: SynthesizeSpec, reporter: Reporter) -> Finished:
    measurements = task.measurements
    if measurements is None:
        measurements = _measure(task, spec, reporter)
        reporter.measured(measurements)
    return _generate(task, spec, measurements, reporter)


def _sample(task: Task, spec: SampleSpec, reporter: Reporter) -> Finished:
    """Draw from a stored model: it holds noisy measurements and public schema alone, so this costs nothing."""
    from halftone.synthesis.engine import engine  # noqa: PLC0415  # heavy

    reporter.advanced("load", 0.0)
    try:
        saved = task.objects.read(spec.model)
    except ObjectMissing:
        raise TaskRefused("model-gone", "The model is not kept any more: synthesize anew to have another.", model=spec.model) from None
    model = engine(spec.engine).load(saved)
    outputs, happened = _draw(task, model, spec.seed, claim_again(task, spec), reporter)
    return Finished(outputs=outputs, events=(happened,))


def _measure(task: Task, spec: SynthesizeSpec, reporter: Reporter) -> ObjectId:
    """Buy noisy measurements and store them: the only place that opens the real table."""
    # Heavy, and only ever wanted in a worker.
    import pyarrow.parquet as pq  # noqa: PLC0415

    from halftone.privacy.contribution import bounded  # noqa: PLC0415
    from halftone.synthesis.encoding import open_handle  # noqa: PLC0415
    from halftone.synthesis.engine import engine  # noqa: PLC0415

    grant = task.command.grant
    if grant is None:
        raise RuntimeError("a synthesis without a grant reads nothing")
    reporter.advanced("measure", 0.0)
    # What a unit may cost is shared among its rows: noise is made for that.
    schema, chosen, rho = _schema(task, spec), engine(spec.engine), terms_of(spec).to_row(grant.cost).rho
    _require_measurable(chosen, schema, rho)
    reporter.opening()
    table = pq.read_table(task.objects.path(spec.source.table), columns=[column.name for column in schema.columns])
    if spec.unit_column is not None:
        table = bounded(table, schema.columns[spec.unit_column].name, spec.terms.contribution)
    measured = chosen.measure(open_handle(table, schema, rho), schema, rho, lambda done, _: reporter.advanced("measure", done / 2))
    return task.objects.put(task.object_id("measurements"), measured.to_bytes(), BINARY, ".measurements")


def _require_measurable(chosen: Engine, schema: TableSchema, rho: int) -> None:
    """Refuse, while nothing is read yet and so nothing charged, what schema and parameters forbid."""
    from halftone.synthesis.encoding import DomainNotDeclared  # noqa: PLC0415  # heavy

    try:
        least = chosen.least(schema)
    except DomainNotDeclared as error:
        raise TaskRefused(error.code, str(error), column=error.column, declare=error.declare) from error
    if rho < least:
        detail = f"epsilon buys a rho of {rho}e-12; engine {chosen.name!r} needs {least}e-12 for these columns: ask for a larger epsilon"
        raise TaskRefused("epsilon-too-small", detail, parameter="epsilon")


def _generate(task: Task, spec: SynthesizeSpec, stored: ObjectId, reporter: Reporter) -> Finished:
    """Fit and draw: post-processing, which costs nothing however often it is done."""
    from halftone.synthesis.engine import Measurements, engine  # noqa: PLC0415  # heavy

    measured = Measurements.from_bytes(task.objects.read(stored))
    model = engine(spec.engine).fit(measured, lambda done, _: reporter.advanced("fit", 0.5 + done / 4))
    saved = task.objects.put(task.object_id("model"), model.save(), BINARY, ".model")
    seed = secrets.randbits(63) if spec.seed is None else spec.seed
    grant = task.command.grant
    if grant is None:
        raise RuntimeError("a synthesis without a grant makes nothing")
    unit = None if spec.unit_column is None else measured.schema.columns[spec.unit_column].name
    claim = claim_of(task, spec, grant, measured.mechanisms, unit)
    outputs, happened = _draw(task, model, seed, claim, reporter)
    bought = Happened.of(mechanisms_run(spec, grant, task.command.job, measured.mechanisms))
    fitted = (Output(role="model", object=saved), Output(role="measurements", object=stored))
    return Finished(outputs=(*outputs, *fitted), events=(bought, happened))


def _draw(task: Task, model: Model, seed: int, claim: Claim | None, reporter: Reporter) -> tuple[tuple[Output, ...], Happened]:
    """Draw a table and store it with its certificate, as the one version of a dataset; and a few of its rows to look at."""
    from halftone.certificates.files import certify, footer  # noqa: PLC0415  # heavy
    from halftone.tables.picked import pick  # noqa: PLC0415  # heavy

    spec = task.command.spec
    if not isinstance(spec, SynthesizeSpec | SampleSpec):
        raise TypeError(f"nothing is drawn by {spec.kind} jobs")
    reporter.advanced("draw", 0.8)
    drawn, certificates = task.object_id("table"), []

    def certified(content: str) -> dict[bytes, bytes]:
        if claim is None:
            return {}
        signed = certify(content, claim, signing_key(task.certificates))
        kept = task.objects.put(task.object_id("certificate"), signed.model_dump_json().encode(), CERTIFICATE)
        certificates.append(Output(role="certificate", object=kept))
        return footer(signed)

    with task.objects.write(drawn, PARQUET, ".parquet") as draft:
        draft.rows = _written(draft.path, model.chunks(spec.rows, seed=seed), spec.rows, certified, reporter)
    picked = task.objects.put(task.object_id("sample"), pick(task.objects.path(drawn), seed=seed))
    reporter.advanced("write", 1.0)
    added = DatasetVersionAdded(dataset=spec.target, version=1, origin=Origin.SYNTHETIC, table=drawn, job=task.command.job)
    return (Output(role="table", object=drawn), Output(role="sample", object=picked), *certificates), Happened.of(added)


def _written(
    path: Path, chunks: Iterator[pa.Table], rows: int | None, certified: Callable[[str], dict[bytes, bytes]], reporter: Reporter
) -> int:
    """Write tables to one Parquet file as they are drawn, and into its footer what their content's hash is certified with.

    Returns the number of rows.
    """
    from halftone.certificates.content import Content  # noqa: PLC0415
    from halftone.tables.writing import writing  # noqa: PLC0415  # heavy

    first, count = next(chunks), 0
    content = Content(first.schema)
    with writing(path, first.schema) as writer:
        for chunk in itertools.chain((first,), chunks):
            content.add(chunk)
            for batch in chunk.to_batches():
                writer.write(batch)
            count += chunk.num_rows
            # Without a stated number nobody knows how many there will be: about as many as there are real ones, and these were few.
            reporter.advanced("write", 0.8 + 0.2 * (count / rows if rows else 1.0))
        writer.note(certified(content.hexdigest()))
    return count


def _schema(task: Task, spec: SynthesizeSpec) -> TableSchema:
    schema = DatasetSchema.model_validate_json(task.objects.read(spec.declared)).tables[0]
    for column in schema.columns:
        if column.attested_by is None:
            raise TaskRefused(
                "schema-not-attested", f"column {column.name!r}: nobody has attested that its domain is public", column=column.name
            )
    return schema
