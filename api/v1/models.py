"""Models: what was fitted, at a cost, and can be drawn from again at none."""

from __future__ import annotations

import re
from typing import Annotated

from litestar import Router, get
from litestar.params import PathParameter, QueryParameter

from api import present
from api.auth import VERB
from api.edge import Edge, is_dataset
from api.policy import Verb
from api.problems import NotFound
from api.v1.files import kept
from api.v1.parameters import Cursor, Limit, MinSequence, TheEdge, bad_cursor
from contracts.views import ModelView, Page

_OBJECT = re.compile(r"obj_[0-9a-f]{32}")


@get("/", operation_id="listModels", summary="List models, the newest first", opt={VERB: Verb.ARTIFACT_READ})
async def list_models(
    edge: TheEdge,
    dataset: Annotated[str | None, QueryParameter(max_length=80, description="only those fitted to this dataset, or that drew it")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    min_seq: MinSequence = None,
) -> Page[ModelView]:
    """What completed syntheses fitted: each can be drawn from with ``POST /v1/jobs {"kind": "sample", "model": …}``."""
    if cursor is not None and not _OBJECT.fullmatch(cursor):
        raise bad_cursor(cursor)
    if dataset is not None and is_dataset(dataset) is None:
        raise NotFound.of("dataset", dataset)
    await edge.reached(min_seq)
    page = await edge.views.models(dataset=dataset, after=cursor, limit=limit)
    return Page[ModelView](items=tuple([await _shown(edge, view) for view in page.items]), next=page.next)


@get("/{model:str}", operation_id="getModel", summary="Look at a model", opt={VERB: Verb.ARTIFACT_READ})
async def read(
    model: Annotated[str, PathParameter(description="id of the model")], edge: TheEdge, min_seq: MinSequence = None
) -> ModelView:
    """What it was fitted to, by which engine, and what that cost. The model itself is the artifact of the same id."""
    await edge.reached(min_seq)
    view = await edge.views.model(model) if _OBJECT.fullmatch(model) else None
    if view is None:
        raise NotFound.of("model", model)
    return await _shown(edge, view)


async def _shown(edge: Edge, view: ModelView) -> ModelView:
    return present.model(view.model_copy(update={"kept": await kept(edge, view.id)}))


router = Router("/models", route_handlers=[list_models, read], tags=["models"])
