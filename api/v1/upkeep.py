"""Datasets after their registration: named anew, kept for so long, deleted."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, delete, patch
from litestar.params import JSONBody, QueryParameter
from pydantic import Field

from api import deletion, keeping, present, withheld
from api.auth import VERB
from api.bodies import json_body
from api.policy import Verb
from api.v1.bodies import Body, OneLine
from api.v1.parameters import Asked, DatasetPath, TheEdge, context
from contracts.base import Contract
from contracts.ids import DatasetId, JobId
from contracts.views import DatasetState, DatasetView
from infra.database.store import Transaction

MOST_DAYS = 36_500


class DatasetBody(Body):
    """What is to be changed; what is left out stays as it is."""

    name: OneLine = Field(default="", description="what it is called, one line; absent: as before")
    retention_days: int | None = Field(
        default=None, ge=1, le=MOST_DAYS, strict=True, description="days after its registration when it is deleted; null: it is kept"
    )


class Deleted(Contract):
    """What a deletion came to. Budgets, ledgers and the log stay, and so does what was spent."""

    dataset: DatasetId = Field(description="the dataset that was to be deleted")
    datasets: tuple[DatasetId, ...] = Field(description="those that were deleted now: none if it was deleted before")
    cancelled: tuple[JobId, ...] = Field(description="jobs under way whose end was asked for")
    sequence: int | None = Field(default=None, description="of the deletion among all events, for min_seq; null: not known yet")


@patch(
    "/{dataset:str}",
    dto=json_body(DatasetBody),
    return_dto=None,
    operation_id="changeDataset",
    summary="Name a dataset, or say for how long it is kept",
    opt={VERB: Verb.DATASET_CHANGE},
)
async def change(dataset: DatasetPath, data: JSONBody[DatasetBody], request: Asked, edge: TheEdge) -> DatasetView:
    """Change the name, or the days after which the dataset is deleted; both are the edge's own, and no events.

    When the time is over its rows and what was read off them go; synthetic datasets and models that were made from it stay.
    """
    view = await edge.dataset(dataset)
    if view.state is DatasetState.DELETED:
        raise keeping.DatasetGone(dataset=view.id)
    given = data.model_fields_set

    def apply(tx: Transaction) -> None:
        if "name" in given:
            keeping.rename(tx, view.id, data.name)
        if "retention_days" in given:
            keeping.keep_for(tx, view.id, data.retention_days)

    await edge.runtime.store.write(apply)
    changed = await edge.dataset(dataset)
    days = await edge.registry.retention([view.id])
    problem = await present.failed(changed.failure, edge.objects)
    return withheld.dataset(present.dataset(changed, changed.name, problem, days.get(view.id)), request.user)


@delete(
    "/{dataset:str}",
    status_code=200,
    operation_id="deleteDataset",
    summary="Delete a dataset",
    opt={VERB: Verb.DATASET_DELETE},
)
async def remove(
    dataset: DatasetPath,
    request: Asked,
    edge: TheEdge,
    cascade: Annotated[
        bool, QueryParameter(description="also what was made from it, datasets and models; jobs under way are cancelled")
    ] = False,
) -> Deleted:
    """Remove its rows, and what was read off them, for good. 409 while something depends on it, naming that.

    The budget, its ledger and what was spent stay; the same content uploaded again falls under the same budget. Again changes nothing.
    """
    view = await edge.dataset(dataset)
    removal = await deletion.delete(edge, view, context(request, view.project), cascade=cascade)
    return Deleted(dataset=view.id, datasets=removal.datasets, cancelled=removal.cancelled, sequence=removal.sequence)


router = Router("/datasets", route_handlers=[change, remove], tags=["datasets"])
