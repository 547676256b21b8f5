"""From what a client asks for to what is promised: every check that needs no real data is made here."""

from __future__ import annotations

import asyncio

from api.edge import Edge
from api.engines import require_engine
from api.gateway import Order
from api.problems import Conflict, RequestInvalid
from api.registry import Attestation, DatasetRecord, add_dataset
from api.v1.bodies import EvaluateBody, NoopBody, SynthesizeBody
from contracts.cost import DELTA_SCALE, EPSILON_SCALE
from contracts.envelope import Context
from contracts.events import DatasetRegistered, Origin
from contracts.ids import ObjectId, new_id
from contracts.jobs import EvaluateSpec, NoopSpec, SynthesizeSpec, TableRef
from contracts.problems import ProblemError
from contracts.schema import ColumnType, DatasetSchema
from contracts.views import DatasetState, DatasetVersionView, DatasetView
from halftone.privacy.conversion import job_cost
from infra.objects import Objects


class DatasetIngesting(Conflict):
    """The dataset's rows are not there yet: wait for its job."""

    code = "dataset-ingesting"


class DatasetFailed(Conflict):
    """The dataset has no rows, because the job that was to bring them did not end well."""

    code = "dataset-failed"


class SchemaNotAttested(Conflict):
    """Nobody has attested the dataset's schema."""

    code = "schema-not-attested"


class DomainNotDeclared(ProblemError):
    """A column has no public domain."""

    status, code = 422, "domain-not-declared"


class OriginWrong(ProblemError):
    """The dataset is of another origin than this needs."""

    status, code = 422, "origin-wrong"


class EpsilonTooSmall(ProblemError):
    """Nothing can be measured at this epsilon."""

    status, code = 422, "epsilon-too-small"


def noop() -> Order:
    return Order(new_id("job"), NoopSpec())


async def synthesize(edge: Edge, body: SynthesizeBody, context: Context) -> Order:
    """A synthesis, and the dataset it will make. Raises ProblemError naming what is wrong, and what would be right."""
    require_engine(body.engine)
    _require_measurable(body)
    source = await edge.dataset(body.dataset)
    version = latest(source)
    if source.origin is not Origin.REAL:
        raise OriginWrong(f"Dataset {source.id} is {source.origin}: a synthesis needs a real one.", dataset=source.id)
    attestation = await edge.registry.attestation(source.id, version.version)
    if attestation is None:
        where = f"/v1/datasets/{source.id}/schema"
        detail = f"Nobody has attested the schema of dataset {source.id}: look at GET {where}, correct it, and PUT it there."
        raise SchemaNotAttested(detail, dataset=source.id)
    await _require_domains(edge.objects, attestation)
    job, target = new_id("job"), new_id("ds")
    spec = SynthesizeSpec(
        source=TableRef(dataset=source.id, version=version.version, table=version.table),
        declared=attestation.object,
        engine=body.engine,
        rows=body.rows,
        epsilon=body.epsilon,
        delta=body.delta,
        seed=body.seed,
        target=target,
        account=source.account,
    )
    name = body.name or f"{source.name or source.id}, synthetic"[:256]
    record = DatasetRecord(target, name, Origin.SYNTHETIC, source.account, context.project, context.principal, job)
    registered = DatasetRegistered(dataset=target, origin=Origin.SYNTHETIC, account=source.account, job=job, parents=(source.id,))
    return Order(job, spec, target, (registered,), lambda tx: add_dataset(tx, record))


async def evaluate(edge: Edge, body: EvaluateBody) -> Order:
    """An evaluation. Raises ProblemError naming what is wrong, and what would be right."""
    synthetic = await edge.dataset(body.dataset)
    drawn = latest(synthetic)
    parent = body.real or next(iter(synthetic.parents), None)
    if parent is None:
        raise RequestInvalid(
            f"Dataset {synthetic.id} was not made from another: state 'real', the dataset to compare with.", parameter="real"
        )
    real = await edge.dataset(parent)
    if real.origin is not Origin.REAL:
        raise OriginWrong(f"Dataset {real.id} is {real.origin}: an evaluation compares with a real one.", dataset=real.id, parameter="real")
    held = latest(real)
    attestation = await edge.registry.attestation(real.id, held.version)
    spec = EvaluateSpec(
        real=TableRef(dataset=real.id, version=held.version, table=held.table),
        synthetic=TableRef(dataset=synthetic.id, version=drawn.version, table=drawn.table),
        declared=attestation.object if attestation is not None else None,
        seed=body.seed,
        account=real.account,
    )
    return Order(new_id("job"), spec)


async def order(edge: Edge, body: NoopBody | SynthesizeBody | EvaluateBody, context: Context) -> Order:
    """What a body asks for."""
    match body:
        case NoopBody():
            return noop()
        case SynthesizeBody():
            return await synthesize(edge, body, context)
        case EvaluateBody():
            return await evaluate(edge, body)


def latest(dataset: DatasetView) -> DatasetVersionView:
    """The newest rows. Raises DatasetIngesting or DatasetFailed."""
    if dataset.state is DatasetState.READY:
        return dataset.versions[-1]
    if dataset.state is DatasetState.INGESTING:
        raise DatasetIngesting(f"Dataset {dataset.id} has no rows yet: wait for job {dataset.job}.", dataset=dataset.id, job=dataset.job)
    why = f" ({dataset.failure.code})" if dataset.failure is not None else ""
    detail = f"Dataset {dataset.id} has no rows: its job {dataset.job} ended {dataset.state}{why}. Bring it anew."
    raise DatasetFailed(detail, dataset=dataset.id, job=dataset.job)


def read_schema(objects: Objects, object_id: ObjectId) -> DatasetSchema:
    """A stored schema; blocks. Raises ObjectMissing."""
    return DatasetSchema.model_validate_json(objects.read(object_id), extra="ignore")


async def _require_domains(objects: Objects, attestation: Attestation) -> None:
    """Refuse a schema with a column whose domain an engine would have to look for. Raises DomainNotDeclared."""
    schema = await asyncio.to_thread(read_schema, objects, attestation.object)
    for column in schema.tables[0].columns:
        if column.type is not ColumnType.TEXT and not column.domain_declared:
            declare = "categories" if column.type is ColumnType.CATEGORICAL else "minimum and maximum"
            detail = (
                f"Column {column.name!r} has no public domain: declare its {declare} with PUT /v1/datasets/{attestation.dataset}/schema."
            )
            raise DomainNotDeclared(detail, column=column.name, declare=declare)


def _require_measurable(body: SynthesizeBody) -> None:
    try:
        job_cost(body.epsilon / EPSILON_SCALE, body.delta / DELTA_SCALE)
    except ValueError as error:
        raise EpsilonTooSmall(f"{error}.", parameter="epsilon") from None
