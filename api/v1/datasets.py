"""Datasets: uploaded, listed, looked at."""

from __future__ import annotations

import asyncio
from typing import Annotated

from litestar import Response, Router, get, post
from litestar.params import QueryParameter

from api import present, withheld
from api.auth import VERB
from api.edge import Edge, is_dataset
from api.gateway import Order, Promise
from api.holding import HOLDS, Hold
from api.policy import Verb
from api.problems import NotFound, RequestInvalid
from api.reading import OPTIONS, read_options, store_options
from api.sources import fetch
from api.uploads import NAME_LENGTH, Upload, receive
from api.v1 import orders
from api.v1.answers import Registered
from api.v1.forms import UploadOperation
from api.v1.observed import shown
from api.v1.parameters import (
    Asked,
    Cursor,
    DatasetPath,
    IdempotencyKey,
    Limit,
    MinSequence,
    Prefer,
    TheEdge,
    bad_cursor,
    context,
    key_of,
    wait_seconds,
)
from api.v1.schemas import declared_from, store_schema
from api.v1.tagged import tagged
from contracts.ids import ObjectId, new_id
from contracts.jobs import IngestSpec
from contracts.views import DatasetState, DatasetVersionView, DatasetView, Page


@post(
    "/",
    status_code=202,
    request_max_body_size=None,
    operation_id="createDataset",
    operation_class=UploadOperation,
    summary="Upload a table",
    opt={VERB: Verb.DATASET_CREATE, HOLDS: Hold.UPLOAD},
)
async def create(request: Asked, edge: TheEdge, idempotency_key: IdempotencyKey = None) -> Response[Registered]:
    """Take a table in: CSV or JSON lines (also compressed), Parquet or an Excel workbook, in the part ``file`` of a multipart form.

    Beside it, ``name``, ``schema``, and how it is to be read where that is not to be detected: ``format``, ``delimiter``, ``quote``,
    ``encoding``, ``sheet``, ``header``. A ``schema`` is attested in the caller's name. Content that was uploaded before falls under the
    budget that it fell under then.

    Or, as JSON, ``{"source": …, "name": …, "schema": …, "read": {…}}``, where the source is a file that the server may read
    (``{"path": …}``, HALFTONE_READ_PATHS), a query to a database that the settings name (``{"sql": …, "query": …}``), or a file in an
    object store that they name (``{"store": …, "key": …}``); ``GET /v1/sources`` lists both.
    """
    await edge.gateway.require_room(context(request))
    upload = await _taken(request, edge)
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


async def _taken(request: Asked, edge: Edge) -> Upload:
    """The file as an object: from the body, or from where a JSON body says that it is."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        return await fetch(request, edge.objects, edge.settings)
    return await receive(request, edge.objects, edge.settings.max_upload_bytes)


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
    options, said = read_options(_texts(upload)), None
    if options is not None:
        said = await asyncio.to_thread(store_options, edge.objects, options)
        objects.append(said)
    # What is to be fetched has no content yet. Either way the ingestor has the last word, once it has read the rows.
    account = new_id("acc") if upload.fetch else await edge.registry.account_of(upload.info.sha256)
    spec = IngestSpec(
        dataset=new_id("ds"),
        version=1,
        source=upload.info.id,
        fetch=upload.fetch,
        declared=declared,
        options=said,
        account=account,
    )
    order = orders.brought(Order(new_id("job"), spec), name, upload.filename, made)
    key = key_of(idempotency_key, "POST /v1/datasets", upload.info.sha256, name, schema, repr(options))
    promise = await edge.gateway.accept(order, made, key)
    return promise, promise.job == order.job


def _texts(upload: Upload) -> dict[str, str]:
    """The small parts of a form as text."""
    texts = {}
    for part in ("name", *OPTIONS):
        try:
            texts[part] = upload.parts[part].decode()
        except KeyError:
            continue
        except UnicodeDecodeError:
            raise RequestInvalid(f"The part {part!r} is not UTF-8.", parameter=part) from None
    return texts


def _name(upload: Upload) -> str:
    name = _texts(upload).get("name", "").strip() or upload.filename
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise RequestInvalid(f"The name must be one line of {NAME_LENGTH} characters at most; it has {len(name)}.", parameter="name")
    return name


def _delete(edge: Edge, objects: list[ObjectId]) -> None:
    for object_id in objects:
        edge.objects.delete(object_id)


@get("/", operation_id="listDatasets", summary="List datasets, the newest first", opt={VERB: Verb.DATASET_READ})
async def list_datasets(  # noqa: PLR0917  # the framework passes them by name
    request: Asked,
    edge: TheEdge,
    deleted: Annotated[bool, QueryParameter(description="also those that were deleted")] = False,
    cursor: Cursor = None,
    limit: Limit = 50,
    min_seq: MinSequence = None,
) -> Page[DatasetView]:
    """Datasets, without the problem documents of failed ones."""
    if cursor is not None and is_dataset(cursor) is None:
        raise bad_cursor(cursor)
    await edge.reached(min_seq)
    page = await edge.views.datasets(after=cursor, limit=limit, deleted=deleted)
    ids = [view.id for view in page.items]
    names, days = await edge.registry.names(ids), await edge.registry.retention(ids)
    seen = (present.dataset(view, names.get(view.id), days=days.get(view.id)) for view in page.items)
    return Page[DatasetView](items=tuple(withheld.dataset(view, request.user) for view in seen), next=page.next)


@get("/{dataset:str}", operation_id="getDataset", summary="Look at a dataset", opt={VERB: Verb.DATASET_READ})
async def read(
    dataset: DatasetPath, request: Asked, edge: TheEdge, min_seq: MinSequence = None, prefer: Prefer = None
) -> Response[DatasetView]:
    """Where a dataset stands, and its versions. ``min_seq`` waits for an event, ``Prefer: wait=N`` for its rows."""
    await edge.reached(min_seq)
    view = await edge.dataset(dataset)
    seconds = wait_seconds(prefer)
    headers = None if seconds is None else {"Preference-Applied": f"wait={seconds:g}"}
    if seconds is not None and view.state is DatasetState.INGESTING:
        await edge.ended(view.job, seconds)
        view = await edge.dataset(dataset)
    days = (await edge.registry.retention([view.id])).get(view.id)
    seen = present.dataset(view, view.name, await present.failed(view.failure, edge.objects), days)
    return tagged(request, withheld.dataset(seen, request.user), headers)


@get("/{dataset:str}/versions", operation_id="listVersions", summary="List a dataset's versions", opt={VERB: Verb.DATASET_READ})
async def versions(dataset: DatasetPath, request: Asked, edge: TheEdge, min_seq: MinSequence = None) -> Page[DatasetVersionView]:
    """Versions, oldest first. Their rows never change."""
    await edge.reached(min_seq)
    view = await edge.dataset(dataset)
    orders.require_kept(view)
    return Page[DatasetVersionView](items=withheld.versions(view, request.user))


@get(
    "/{dataset:str}/profile",
    media_type="application/json",
    operation_id="getProfile",
    summary="See what a dataset's rows look like",
    opt={VERB: Verb.RAW_READ},
)
async def profile(dataset: DatasetPath, request: Asked, edge: TheEdge, min_seq: MinSequence = None) -> Response[bytes]:
    """Counts, ranges and departures from the declared schema: raw, so for those with the right to raw data, and entered in the ledger."""
    await edge.reached(min_seq)
    view = await edge.dataset(dataset)
    version = orders.latest(view)
    if (stored := version.profile) is None:
        raise NotFound(f"Dataset {view.id} has no profile.", id=view.id)
    await shown(edge, request, await edge.job(version.job), "profile")
    return Response(await asyncio.to_thread(edge.objects.read, stored), media_type="application/json")


router = Router("/datasets", route_handlers=[create, list_datasets, read, versions, profile], tags=["datasets"])
