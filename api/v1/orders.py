"""From what a client asks for to what is promised: every check that needs no real data is made here."""

from __future__ import annotations

import asyncio
import math
import secrets

from api.auth import require, require_raw
from api.edge import Edge
from api.engines import require_engine
from api.gateway import Order
from api.keeping import DatasetGone
from api.policy import Principal, Resource, Verb
from api.problems import Conflict, Forbidden, NotFound, RequestInvalid
from api.reasons import kept
from api.registry import Attestation, DatasetRecord, add_attestation, add_dataset
from api.v1.bodies import Asking, EvaluateBody, ExportBody, NoopBody, SampleBody, SynthesizeBody
from contracts.cost import DELTA_SCALE, EPSILON_SCALE, LARGEST, USUAL_TERMS, BudgetTerms, Composition
from contracts.envelope import Context
from contracts.events import DatasetRegistered, Origin, SchemaAttested
from contracts.ids import DatasetId, JobId, ObjectId, new_id
from contracts.jobs import EvaluateSpec, ExportSpec, IngestSpec, NoopSpec, SampleSpec, SynthesizeSpec, TableFormat, TableRef
from contracts.problems import ProblemError
from contracts.schema import ColumnType, DatasetSchema
from contracts.views import DatasetState, DatasetVersionView, DatasetView
from halftone.privacy.conversion import job_cost
from infra.database.store import Transaction, now_ms
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


class MechanismNotPure(ProblemError):
    """The budget is one of pure epsilon, and Gaussian noise, which the engine adds, has none."""

    status, code = 422, "mechanism-not-pure"


class UnitNoColumn(ProblemError):
    """The privacy unit is no column of the dataset."""

    status, code = 422, "unit-no-column"


class ReleaseNotAvailable(Forbidden):
    """Raw rows are given out to holders of the right to raw data alone: make a synthetic table, or ask for that right."""

    code = "release-not-available"


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
    terms, unit = await _terms(edge, source)
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
        terms=terms,
        unit_column=unit,
    )
    name = body.name or f"{source.name or source.id}, synthetic"[:256]
    return drawn(Order(job, spec, target), source.id, name, context)


async def _terms(edge: Edge, source: DatasetView) -> tuple[BudgetTerms, int | None]:
    """What the budget's costs are about, and which column names a row's user. Raises MechanismNotPure, or UnitNoColumn."""
    budget = await edge.views.account(source.account)
    terms = (budget.terms if budget is not None else None) or USUAL_TERMS
    if terms.composition is Composition.PURE:
        raise MechanismNotPure(dataset=source.id)
    column = await edge.registry.unit_column(source.account) if terms.by_user else None
    return terms, None if column is None else await unit_place(edge, source, column)


async def unit_place(edge: Edge, dataset: DatasetView, column: str) -> int:
    """The place of the column of users in a dataset's attested schema. Raises SchemaNotAttested or UnitNoColumn."""
    attestation = await edge.registry.attestation(dataset.id, latest(dataset).version)
    if attestation is None:
        raise SchemaNotAttested(
            f"A column can be the privacy unit once somebody has attested the schema of {dataset.id}.", dataset=dataset.id
        )
    schema = await asyncio.to_thread(read_schema, edge.objects, attestation.object)
    names = [each.name for each in schema.tables[0].columns]
    if column not in names:
        there = ", ".join(repr(name) for name in names[:20])
        raise UnitNoColumn(f"{column!r} is no column of dataset {dataset.id}; there are: {there}.", parameter="unit", column=column)
    return names.index(column)


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


async def sample(edge: Edge, body: SampleBody, context: Context) -> Order:
    """Another table from a fitted model. Raises NotFound."""
    model = await edge.views.model(body.model)
    if model is None:
        raise NotFound(f"There is no model {body.model!r}: see GET /v1/models for those there are.", id=body.model, parameter="model")
    require_engine(model.engine)
    job, target = new_id("job"), new_id("ds")
    spec = SampleSpec(
        model=model.id,
        source=model.job,
        declared=model.declared,
        certificate=await _certificate_of(edge, model.job),
        engine=model.engine,
        rows=body.rows,
        # Chosen here, where none was given, so that the job says with which one its rows can be had again.
        seed=secrets.randbelow(LARGEST) if body.seed is None else body.seed,
        target=target,
        account=model.account,
    )
    held = await edge.registry.names([model.dataset])
    name = body.name or f"{held.get(model.dataset, model.dataset)}, sampled"[:256]
    return drawn(Order(job, spec, target), model.dataset, name, context)


def brought(order: Order, name: str, filename: str | None, context: Context) -> Order:
    """The order with the registration of the real dataset whose rows it brings, and of its schema, attested in the caller's name."""
    if not isinstance(spec := order.spec, IngestSpec):
        raise TypeError(f"no rows are brought by {spec.kind} jobs")
    dataset, declared = spec.dataset, spec.declared
    # An upload is removed once its job has ended; where rows were fetched from is kept, so that this can be tried again.
    upload = None if spec.fetch else spec.source
    who = (context.project, context.principal)
    record = DatasetRecord(dataset, name, Origin.REAL, spec.account, *who, order.job, filename, upload)
    registered = DatasetRegistered(dataset=dataset, origin=Origin.REAL, account=spec.account, job=order.job)
    attestation = None if declared is None else Attestation(dataset, 1, declared, context.principal, now_ms())
    attested = () if declared is None else (SchemaAttested(dataset=dataset, version=1, declared=declared),)

    def also(tx: Transaction) -> None:
        add_dataset(tx, record)
        if attestation is not None:
            add_attestation(tx, attestation)

    return Order(order.job, spec, dataset, (registered, *attested), also, order.retry_of)


async def _certificate_of(edge: Edge, job: JobId) -> ObjectId | None:
    made = await edge.job(job)
    return next((output.artifact for output in made.outputs if output.role == "certificate"), None)


def drawn(order: Order, parent: DatasetId, name: str, context: Context) -> Order:
    """The order with the registration of the synthetic dataset that it makes of a parent."""
    if not isinstance(spec := order.spec, SynthesizeSpec | SampleSpec):
        raise TypeError(f"no dataset is drawn by {spec.kind} jobs")
    record = DatasetRecord(spec.target, name, Origin.SYNTHETIC, spec.account, context.project, context.principal, order.job)
    registered = DatasetRegistered(dataset=spec.target, origin=Origin.SYNTHETIC, account=spec.account, job=order.job, parents=(parent,))
    return Order(order.job, spec, spec.target, (registered,), lambda tx: add_dataset(tx, record), order.retry_of)


async def export(edge: Edge, body: ExportBody, principal: Principal) -> Order:
    """A file of a table. Raises ProblemError naming what is wrong, and what would be right."""
    dataset = await edge.dataset(body.dataset)
    held = version_of(dataset, body.version)
    require_release(principal, dataset)
    if body.reason is None or dataset.origin is not Origin.REAL:
        return exported(dataset, held, body.format)
    require(principal, Verb.BUDGET_RELEASE, Resource("budget", dataset.id))
    return exported(dataset, held, body.format, await kept(edge.objects, body.reason))


def exported(dataset: DatasetView, version: DatasetVersionView, form: TableFormat, reason: ObjectId | None = None) -> Order:
    """Raw rows are entered in the ledger, as observed or, where there is a reason to give them to others, as bounded by nothing."""
    source = TableRef(dataset=dataset.id, version=version.version, table=version.table)
    account = dataset.account if dataset.origin is Origin.REAL else None
    return Order(new_id("job"), ExportSpec(source=source, format=form, account=account, reason=reason))


def require_release(principal: Principal, dataset: DatasetView) -> None:
    """Refuse to give out raw rows to whoever has no right to them. Raises ReleaseNotAvailable."""
    if dataset.origin is not Origin.REAL:
        return
    try:
        require_raw(principal, Verb.RAW_READ, Resource("dataset", dataset.id))
    except Forbidden:
        raise ReleaseNotAvailable(dataset=dataset.id, right=str(Verb.RAW_READ)) from None


async def order(edge: Edge, body: Asking, context: Context, principal: Principal) -> Order:
    """What a body asks for. Raises ProblemError."""
    edge.require_project(context.project)
    match body:
        case NoopBody():
            return noop()
        case SynthesizeBody():
            return await synthesize(edge, body, context)
        case EvaluateBody():
            return await evaluate(edge, body)
        case SampleBody():
            return await sample(edge, body, context)
        case ExportBody():
            return await export(edge, body, principal)


def version_of(dataset: DatasetView, number: int | None) -> DatasetVersionView:
    """A version's rows; without a number the newest. Raises NotFound, DatasetIngesting or DatasetFailed."""
    newest = latest(dataset)
    if number is None:
        return newest
    for version in dataset.versions:
        if version.version == number:
            return version
    there = ", ".join(str(version.version) for version in dataset.versions)
    raise NotFound(f"Dataset {dataset.id} has no version {number}; there are: {there}.", id=dataset.id, version=number)


def require_kept(dataset: DatasetView) -> None:
    """Refuse what asks for rows, or what was read off them, after these were deleted. Raises DatasetGone."""
    if dataset.state is DatasetState.DELETED:
        raise DatasetGone(f"Dataset {dataset.id} was deleted on {dataset.deleted}: its rows are removed for good.", dataset=dataset.id)


def latest(dataset: DatasetView) -> DatasetVersionView:
    """The newest rows. Raises DatasetGone, DatasetIngesting or DatasetFailed."""
    require_kept(dataset)
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


_FRESH = frozenset({ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.CATEGORICAL, ColumnType.TEXT})
_MISSING = {
    ColumnType.CATEGORICAL: "categories",
    ColumnType.TEXT: "categories (as a categorical column), its class of personal data (pii), or that it may be missing (nullable)",
}


async def _require_domains(objects: Objects, attestation: Attestation) -> None:
    """Refuse a schema with a column whose domain an engine would have to look for. Raises DomainNotDeclared."""
    schema = await asyncio.to_thread(read_schema, objects, attestation.object)
    table = schema.tables[0]
    for column in table.columns:
        # A class of personal data, or being the one key, has values made fresh: no domain is wanted.
        if isinstance(column.minimum, float) and isinstance(column.maximum, int | float) and math.isinf(column.maximum - column.minimum):
            raise DomainNotDeclared(f"Column {column.name!r}: its bounds are too far apart to count between.", column=column.name)
        fresh = column.type in _FRESH and (column.pii is not None or table.primary_key == (column.name,))
        if fresh or column.domain_declared or (column.type is ColumnType.TEXT and column.nullable):
            continue
        declare = _MISSING.get(column.type, "minimum and maximum")
        detail = f"Column {column.name!r} has no public domain: declare its {declare} with PUT /v1/datasets/{attestation.dataset}/schema."
        raise DomainNotDeclared(detail, column=column.name, declare=declare)


def _require_measurable(body: SynthesizeBody) -> None:
    try:
        job_cost(body.epsilon / EPSILON_SCALE, body.delta / DELTA_SCALE)
    except ValueError as error:
        raise EpsilonTooSmall(f"{error}.", parameter="epsilon") from None
