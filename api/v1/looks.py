"""What helps a person to write a schema down: the draft of one, and a few rows."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from litestar import Response, Router, get, post
from litestar.params import QueryParameter

from api.auth import VERB, require_raw
from api.edge import Edge
from api.policy import Resource, Verb
from api.problems import NotFound
from api.v1 import orders
from api.v1.answers import RowsView
from api.v1.observed import shown
from api.v1.parameters import Asked, DatasetPath, TheEdge
from contracts.events import Origin
from contracts.ids import Code
from contracts.views import DatasetVersionView, DatasetView
from infra.objects import ObjectMissing

JSON = "application/json"
MOST_ROWS = 100
"""Rows that are picked where a table is stored."""


@get(
    "/{dataset:str}/schema:draft",
    media_type=JSON,
    operation_id="getSchemaDraft",
    summary="See a schema drafted from the rows",
    opt={VERB: Verb.RAW_READ},
)
async def draft(dataset: DatasetPath, request: Asked, edge: TheEdge) -> Response[bytes]:
    """A proposal for each column (type, meaning, public domain, personal data), with what each guess was taken from and what to check.

    It was read off the rows: it needs the right to raw data, and the ledger has an entry of it. Corrected, its ``schema`` is attested
    with ``PUT …/schema``.
    """
    return await _drafted(dataset, request, edge)


@post(
    "/{dataset:str}/schema:draft",
    status_code=200,
    media_type=JSON,
    operation_id="draftSchema",
    summary="Have a schema drafted from the rows",
    opt={VERB: Verb.RAW_READ},
)
async def draft_again(dataset: DatasetPath, request: Asked, edge: TheEdge) -> Response[bytes]:
    """The same draft: it is made once, when the rows come in, for they never change."""
    return await _drafted(dataset, request, edge)


async def _drafted(dataset: str, request: Asked, edge: Edge) -> Response[bytes]:
    view = await edge.dataset(dataset)
    if view.origin is not Origin.REAL:
        raise orders.OriginWrong(f"Dataset {view.id} is {view.origin}: it has the schema it was made under.", dataset=view.id)
    return Response(await _read(edge, request, view, orders.latest(view), "draft"), media_type=JSON)


@get("/{dataset:str}/sample", operation_id="getRows", summary="Look at a few rows", opt={VERB: Verb.DATASET_READ})
async def sample(
    dataset: DatasetPath,
    request: Asked,
    edge: TheEdge,
    rows: Annotated[int, QueryParameter(ge=1, le=MOST_ROWS, description="most rows of the answer")] = 20,
) -> RowsView:
    """Rows picked at random when the table was stored, always the same ones.

    Those of a real dataset need the right to raw data, and the ledger has an entry of them.
    """
    view = await edge.dataset(dataset)
    if view.origin is Origin.REAL:
        require_raw(request.user, Verb.RAW_READ, Resource("dataset", view.id))
    version = orders.latest(view)
    held: dict[str, Any] = json.loads(await _read(edge, request, view, version, "sample"))
    return RowsView(dataset=view.id, version=version.version, columns=held["columns"], rows=held["rows"][:rows])


async def _read(edge: Edge, request: Asked, view: DatasetView, version: DatasetVersionView, role: Code) -> bytes:
    """What the job that brought a version wrote down beside its rows; entered in the ledger where the rows are real. Raises NotFound."""
    job = await edge.job(version.job)
    stored = next((output.artifact for output in job.outputs if output.role == role), None)
    try:
        if stored is not None:
            await shown(edge, request, job, role)
            return await asyncio.to_thread(edge.objects.read, stored)
    except ObjectMissing:
        pass
    raise NotFound(f"Version {version.version} of dataset {view.id} has no {role}.", id=view.id)


router = Router("/datasets", route_handlers=[draft, draft_again, sample], tags=["datasets"])
