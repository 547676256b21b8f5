"""A dataset's schema: proposed by what was read off the data, public once a person attests it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from litestar import Response, Router, get, put
from litestar.params import JSONBody
from pydantic import BeforeValidator, TypeAdapter

from api.auth import VERB, require_raw
from api.bodies import json_body, parse
from api.edge import Edge
from api.gateway import Order
from api.policy import Resource, Verb
from api.present import moment
from api.problems import NotFound, RequestInvalid
from api.registry import Attestation, add_attestation
from api.v1 import orders
from api.v1.answers import SchemaView
from api.v1.observed import shown
from api.v1.parameters import Asked, DatasetPath, MinSequence, TheEdge, context
from api.v1.tagged import tagged
from contracts.events import Origin, SchemaAttested
from contracts.ids import ObjectId, PrincipalId, new_id
from contracts.jobs import IngestSpec, SampleSpec, SynthesizeSpec
from contracts.problems import ProblemError
from contracts.schema import DatasetSchema, TableSchema
from contracts.views import DatasetView
from halftone.tables.declared import check
from halftone.tables.errors import TableError
from infra.database.store import now_ms
from infra.objects import Objects

_AROUND = frozenset(SchemaView.model_fields) - frozenset(DatasetSchema.model_fields)


class SchemaRefused(ProblemError):
    """The declared schema does not describe the table."""

    status, code = 422, "schema-refused"

    def __init__(self, error: TableError) -> None:
        super().__init__(str(error), **error.fields)
        self.code = error.code  # type: ignore[misc]  # the library's own code says more than one for the whole class


def _as_dataset(value: Any) -> Any:
    """One table alone will do, and so will what GET gave, changed."""
    if not isinstance(value, dict):
        return value
    if "tables" not in value:
        return {"tables": [value]}
    return {name: part for name, part in value.items() if name not in _AROUND}


Declared = Annotated[DatasetSchema, BeforeValidator(_as_dataset)]
_DECLARED: TypeAdapter[DatasetSchema] = TypeAdapter(Declared)


def declared_from(content: bytes) -> DatasetSchema:
    """A schema as a client wrote it. Raises BodyNotJson or RequestInvalid."""
    schema: DatasetSchema = parse(_DECLARED, content, {})
    return schema


def store_schema(objects: Objects, schema: DatasetSchema, principal: PrincipalId) -> ObjectId:
    """Store a schema as attested by a principal; blocks. Raises RequestInvalid for more than one table."""
    if len(schema.tables) != 1:
        raise RequestInvalid(f"The schema has {len(schema.tables)} tables: a dataset holds one.", parameter="tables")
    signed = schema.model_copy(update={"tables": tuple(_signed(table, principal) for table in schema.tables)})
    return objects.put(new_id("obj"), signed.model_dump_json(exclude_none=True).encode())


def _signed(table: TableSchema, principal: PrincipalId) -> TableSchema:
    return table.model_copy(update={"columns": tuple(c.model_copy(update={"attested_by": principal}) for c in table.columns)})


@get("/{dataset:str}/schema", operation_id="getSchema", summary="See a dataset's schema", opt={VERB: Verb.DATASET_READ})
async def read(dataset: DatasetPath, request: Asked, edge: TheEdge, min_seq: MinSequence = None) -> Response[SchemaView]:
    """The attested schema; or the proposed one, for those with the right to raw data: the ledger has an entry of it."""
    await edge.reached(min_seq)
    return tagged(request, await _seen(edge, await edge.dataset(dataset), request))


async def _seen(edge: Edge, view: DatasetView, request: Asked) -> SchemaView:
    """The schema that the caller may see. Raises DatasetGone, Forbidden, NotFound, or what keeps a dataset from having one."""
    orders.require_kept(view)
    if view.origin is Origin.SYNTHETIC:
        return await _inherited(edge, view)
    version = view.versions[-1].version if view.versions else 1
    attestation = await edge.registry.attestation(view.id, version)
    if attestation is not None:
        return _shown(attestation, await asyncio.to_thread(orders.read_schema, edge.objects, attestation.object))
    require_raw(request.user, Verb.RAW_READ, Resource("dataset", view.id))
    held = orders.latest(view)
    if (proposal := held.proposal) is None:
        raise NotFound(f"Dataset {view.id} has no schema: nobody attested one, and none was inferred.", id=view.id)
    await shown(edge, request, await edge.job(held.job), "proposal")
    schema = await asyncio.to_thread(orders.read_schema, edge.objects, proposal)
    return SchemaView(dataset=view.id, version=version, status="proposed", tables=schema.tables, foreign_keys=schema.foreign_keys)


async def _inherited(edge: Edge, view: DatasetView) -> SchemaView:
    """A synthetic table has the schema under which it was made."""
    job = await edge.job(view.job)
    if not isinstance(job.spec, SynthesizeSpec | SampleSpec):
        raise NotFound(f"Dataset {view.id} has no schema.", id=view.id)
    schema = await asyncio.to_thread(orders.read_schema, edge.objects, job.spec.declared)
    by = schema.tables[0].columns[0].attested_by
    return SchemaView(dataset=view.id, version=1, status="attested", attested_by=by, tables=schema.tables, foreign_keys=schema.foreign_keys)


def _shown(attestation: Attestation, schema: DatasetSchema, job: str | None = None) -> SchemaView:
    return SchemaView(
        dataset=attestation.dataset,
        version=attestation.version,
        status="attested",
        attested_by=attestation.attested_by,
        attested=moment(attestation.attested_at),
        tables=schema.tables,
        foreign_keys=schema.foreign_keys,
        job=job,
    )


@put(
    "/{dataset:str}/schema",
    dto=json_body(Declared),
    return_dto=None,
    operation_id="attestSchema",
    summary="Attest a dataset's schema",
    opt={VERB: Verb.SCHEMA_ATTEST},
)
async def attest(dataset: DatasetPath, data: JSONBody[DatasetSchema], request: Asked, edge: TheEdge) -> SchemaView:
    """Say that this schema, its categories and bounds, is public knowledge: it is entered in the name of whose token this is.

    A job then profiles the rows against it; synthesis may use it at once.
    """
    view = await edge.dataset(dataset)
    if view.origin is not Origin.REAL:
        raise orders.OriginWrong(f"Dataset {view.id} is {view.origin}: it has the schema it was made under.", dataset=view.id)
    version = orders.latest(view)
    made = context(request, view.project)
    if version.proposal is not None:
        await asyncio.to_thread(_require_fit, edge.objects, data, version.proposal)
    declared = await asyncio.to_thread(store_schema, edge.objects, data, made.principal)
    attestation = Attestation(view.id, version.version, declared, made.principal, now_ms())
    spec = IngestSpec(dataset=view.id, version=version.version, source=version.table, stored=True, declared=declared, account=view.account)
    attested = SchemaAttested(dataset=view.id, version=version.version, declared=declared)
    order = Order(new_id("job"), spec, view.id, (attested,), lambda tx: add_attestation(tx, attestation))
    promise = await edge.gateway.accept(order, made)
    return _shown(attestation, await asyncio.to_thread(orders.read_schema, edge.objects, declared), promise.job)


def _require_fit(objects: Objects, declared: DatasetSchema, proposal: ObjectId) -> None:
    try:
        check(declared.tables[0], orders.read_schema(objects, proposal).tables[0])
    except TableError as error:
        raise SchemaRefused(error) from None


router = Router("/datasets", route_handlers=[read, attest], tags=["datasets"])
