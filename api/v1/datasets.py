"""Datasets: uploaded, listed, looked at."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from litestar import Response, Router, get, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, Reference, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from api import present
from api.auth import VERB
from api.edge import Edge, is_dataset
from api.gateway import Order, Promise
from api.policy import Verb
from api.problems import NotFound, RequestInvalid
from api.registry import Attestation, DatasetRecord, add_attestation, add_dataset
from api.uploads import NAME_LENGTH, Upload, receive
from api.v1 import orders
from api.v1.answers import Registered
from api.v1.parameters import Asked, Cursor, DatasetPath, IdempotencyKey, Limit, MinSequence, TheEdge, bad_cursor, context, key_of
from api.v1.schemas import declared_from, store_schema
from contracts.envelope import Context
from contracts.events import DatasetRegistered, Origin, SchemaAttested
from contracts.ids import AccountId, ObjectId, new_id
from contracts.jobs import IngestSpec
from contracts.views import DatasetVersionView, DatasetView, Page
from infra.database.store import Transaction, now_ms


@dataclass
class UploadOperation(Operation):
    """The description of a body that is streamed, and so declared nowhere else."""

    def __post_init__(self) -> None:
        text = Schema(type=OpenAPIType.STRING)
        properties: dict[str, Reference | Schema] = {
            "file": Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, description="CSV (plain or gzip) or Parquet"),
            "name": Schema(type=OpenAPIType.STRING, max_length=NAME_LENGTH, description="what it is called; absent: as the file"),
            "schema": Schema(
                all_of=[text], description="JSON of its schema: columns, types, public domains; attested in the caller's name"
            ),
        }
        form = Schema(type=OpenAPIType.OBJECT, properties=properties, required=["file"])
        self.request_body = RequestBody(content={"multipart/form-data": OpenAPIMediaType(schema=form)}, required=True)


@post(
    "/",
    status_code=202,
    request_max_body_size=None,
    operation_id="createDataset",
    operation_class=UploadOperation,
    summary="Upload a table",
    opt={VERB: Verb.DATASET_CREATE},
)
async def create(request: Asked, edge: TheEdge, idempotency_key: IdempotencyKey = None) -> Response[Registered]:
    """Take a table in: CSV (plain or gzip) or Parquet, in the part ``file`` of a multipart form, beside ``name`` and ``schema``.

    A ``schema`` is attested in the caller's name. Content that was uploaded before falls under the budget that it fell under then.
    """
    edge.gateway.require_bus()
    upload = await receive(request, edge.objects, edge.settings.max_upload_bytes)
    objects = [upload.info.id]
    try:
        promise, ours = await _promise(request, edge, upload, idempotency_key, objects)
    except Exception:
        await asyncio.to_thread(_delete, edge, objects)
        raise
    if not ours:
        await asyncio.to_thread(_delete, edge, objects)
    dataset = promise.dataset or ""
    links = {**present.dataset_links(dataset), "job": f"/v1/jobs/{promise.job}"}
    answer = Registered(dataset=dataset, job=promise.job, sequence=promise.sequence, links=links)
    return Response(answer, status_code=202, headers={"Location": f"/v1/datasets/{dataset}"})


async def _promise(
    request: Asked, edge: Edge, upload: Upload, idempotency_key: str | None, objects: list[ObjectId]
) -> tuple[Promise, bool]:
    """Register what was uploaded; false for a repetition. Objects made on the way are added to the list."""
    name, made = _name(upload), context(request)
    schema = upload.parts.get("schema", b"").strip()
    declared = None
    if schema:
        declared = await asyncio.to_thread(store_schema, edge.objects, declared_from(schema), made.principal)
        objects.append(declared)
    account = await edge.registry.account_of(upload.info.sha256)
    order = _order(upload, name, declared, account, made)
    key = key_of(idempotency_key, "POST /v1/datasets", upload.info.sha256, name, schema)
    promise = await edge.gateway.accept(order, made, key)
    return promise, promise.job == order.job


def _name(upload: Upload) -> str:
    try:
        name = upload.parts.get("name", b"").decode().strip() or upload.filename
    except UnicodeDecodeError:
        raise RequestInvalid("The part 'name' is not UTF-8.", parameter="name") from None
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise RequestInvalid(f"The name must be one line of {NAME_LENGTH} characters at most; it has {len(name)}.", parameter="name")
    return name


def _order(upload: Upload, name: str, declared: ObjectId | None, account: AccountId, made: Context) -> Order:
    job, dataset, source = new_id("job"), new_id("ds"), upload.info.id
    record = DatasetRecord(dataset, name, Origin.REAL, account, made.project, made.principal, job, upload.filename, source)
    registered = DatasetRegistered(dataset=dataset, origin=Origin.REAL, account=account, job=job)
    attestation = None if declared is None else Attestation(dataset, 1, declared, made.principal, now_ms())
    attested = () if declared is None else (SchemaAttested(dataset=dataset, version=1, declared=declared),)

    def also(tx: Transaction) -> None:
        add_dataset(tx, record)
        if attestation is not None:
            add_attestation(tx, attestation)

    spec = IngestSpec(dataset=dataset, version=1, source=source, declared=declared, account=account)
    return Order(job, spec, dataset, (registered, *attested), also)


def _delete(edge: Edge, objects: list[ObjectId]) -> None:
    for object_id in objects:
        edge.objects.delete(object_id)


@get("/", operation_id="listDatasets", summary="List datasets, the newest first", opt={VERB: Verb.DATASET_READ})
async def list_datasets(edge: TheEdge, cursor: Cursor = None, limit: Limit = 50, min_seq: MinSequence = None) -> Page[DatasetView]:
    """Datasets, without the problem documents of failed ones."""
    if cursor is not None and is_dataset(cursor) is None:
        raise bad_cursor(cursor)
    await edge.reached(min_seq)
    page = await edge.views.datasets(after=cursor, limit=limit)
    names = await edge.registry.names(view.id for view in page.items)
    return Page[DatasetView](items=tuple(present.dataset(view, names.get(view.id)) for view in page.items), next=page.next)


@get("/{dataset:str}", operation_id="getDataset", summary="Look at a dataset", opt={VERB: Verb.DATASET_READ})
async def read(dataset: DatasetPath, edge: TheEdge, min_seq: MinSequence = None) -> DatasetView:
    """Where a dataset stands, and its versions."""
    await edge.reached(min_seq)
    view = await edge.dataset(dataset)
    return present.dataset(view, view.name, await present.failed(view.failure, edge.objects))


@get("/{dataset:str}/versions", operation_id="listVersions", summary="List a dataset's versions", opt={VERB: Verb.DATASET_READ})
async def versions(dataset: DatasetPath, edge: TheEdge) -> Page[DatasetVersionView]:
    """Versions, oldest first. Their rows never change."""
    return Page[DatasetVersionView](items=(await edge.dataset(dataset)).versions)


@get(
    "/{dataset:str}/profile",
    media_type="application/json",
    operation_id="getProfile",
    summary="See what a dataset's rows look like",
    opt={VERB: Verb.RAW_READ},
)
async def profile(dataset: DatasetPath, edge: TheEdge) -> Response[bytes]:
    """Counts, ranges and departures from the declared schema: raw, and so for those with the right to raw data."""
    view = await edge.dataset(dataset)
    stored = orders.latest(view).profile
    if stored is None:
        raise NotFound(f"Dataset {view.id} has no profile.", id=view.id)
    return Response(await asyncio.to_thread(edge.objects.read, stored), media_type="application/json")


router = Router("/datasets", route_handlers=[create, list_datasets, read, versions, profile], tags=["datasets"])
