"""Budgets: set, looked at, previewed. An account is asked for by any dataset of its lineage."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, get, post, put
from litestar.params import JSONBody, PathParameter

from api import present
from api.auth import VERB
from api.bodies import json_body
from api.edge import CATCH_UP, Edge, ViewBehind
from api.policy import Verb
from api.problems import NotFound, RequestInvalid
from api.v1 import orders
from api.v1.answers import Preview
from api.v1.bodies import BudgetBody
from api.v1.parameters import Asked, Cursor, DatasetPath, Limit, MinSequence, TheEdge, bad_cursor, context
from api.v1.tagged import tagged
from api.views.shape import cost_view
from contracts.commands import SetBudget
from contracts.cost import DELTA_SCALE, EPSILON_SCALE, Cost
from contracts.ids import AccountId
from contracts.views import BudgetView, DatasetState, DatasetView, LedgerEntryView, Page
from halftone.privacy.conversion import job_cost

PREVIEW = ":preview"
HINTS = {"epsilon": "state a number above 0, such as 1.0"}


@put(
    "/{dataset:str}",
    dto=json_body(BudgetBody, HINTS),
    return_dto=None,
    operation_id="setBudget",
    summary="Set a budget",
    opt={VERB: Verb.BUDGET_SET},
)
async def set_budget(dataset: DatasetPath, data: JSONBody[BudgetBody], request: Asked, edge: TheEdge) -> Response[BudgetView]:
    """Give the dataset's lineage its limit, or another one. 202 instead of 200: the keeper will, but has not yet.

    A limit below what is spent refuses everything from then on; what is spent stays spent. While rows are on their way it is not yet known
    under which account they fall: 409.
    """
    view = await edge.dataset(dataset)
    if view.state is DatasetState.INGESTING:
        orders.latest(view)
    before = await _account(edge, view)
    command = SetBudget(account=view.account, epsilon=data.epsilon, delta=data.delta)
    await edge.gateway.send(command, context(request, view.project))

    async def limited() -> BudgetView | None:
        ledger = await edge.views.entries(view.account, before.entry, 100)
        stated = (data.epsilon / EPSILON_SCALE, data.delta / DELTA_SCALE)
        set_now = any((entry.epsilon, entry.delta) == stated for entry in ledger.items if entry.kind == "limited")
        return await edge.views.account(view.account) if set_now else None

    after = await edge.until(limited, CATCH_UP)
    return Response(present.budget(after or before, view.id), status_code=200 if after is not None else 202)


async def _account(edge: Edge, dataset: DatasetView) -> BudgetView:
    account: AccountId = dataset.account
    view = await edge.until(lambda: edge.views.account(account), CATCH_UP)
    if view is None:
        raise ViewBehind
    return view


@get("/{dataset:str}", operation_id="getBudget", summary="See a budget", opt={VERB: Verb.BUDGET_READ})
async def read(dataset: DatasetPath, request: Asked, edge: TheEdge, min_seq: MinSequence = None) -> Response[BudgetView]:
    """Limit, spent, reserved and left, in the ledger's integers and as the epsilons that they mean."""
    await edge.reached(min_seq)
    view = await edge.dataset(dataset)
    return tagged(request, present.budget(await _account(edge, view), view.id))


@get("/{dataset:str}/entries", operation_id="listEntries", summary="Read a ledger, oldest first", opt={VERB: Verb.BUDGET_READ})
async def entries(
    dataset: DatasetPath, edge: TheEdge, cursor: Cursor = None, limit: Limit = 100, min_seq: MinSequence = None
) -> Page[LedgerEntryView]:
    """The account's rows, each with what it came to; each is an event, and so a leaf of the audit log."""
    if cursor is not None and not (cursor.isdecimal() and cursor.isascii() and len(cursor) < 19):
        raise bad_cursor(cursor)
    await edge.reached(min_seq)
    view = await edge.dataset(dataset)
    return await edge.views.entries(view.account, int(cursor or 0), limit)


@post(
    "/{target:str}",
    dto=json_body(BudgetBody, HINTS),
    return_dto=None,
    status_code=200,
    operation_id="previewBudget",
    summary="See what a job would cost: POST /v1/budgets/{dataset}:preview",
    opt={VERB: Verb.BUDGET_READ},
)
async def preview(
    target: Annotated[str, PathParameter(description="id of the dataset, and ':preview'")],
    data: JSONBody[BudgetBody],
    edge: TheEdge,
    min_seq: MinSequence = None,
) -> Preview:
    """What a job of this epsilon and delta would cost, and how many such jobs fit. Nothing is reserved."""
    if not target.endswith(PREVIEW):
        raise NotFound(f"A budget takes '{PREVIEW}' and nothing else: POST /v1/budgets/{{dataset}}{PREVIEW}.")
    await edge.reached(min_seq)
    dataset = await edge.dataset(target.removesuffix(PREVIEW))
    budget = await _account(edge, dataset)
    try:
        cost = job_cost(data.epsilon / EPSILON_SCALE, data.delta / DELTA_SCALE)
    except ValueError as error:
        raise RequestInvalid(f"{error}.", parameter="epsilon") from None
    left = Cost(rho=budget.left.rho, delta=budget.left.delta)
    fits = cost.within(left)
    # A job's mechanisms are zCDP: they use rho alone, and so rho alone says how many fit.
    return Preview(
        cost=cost_view(cost, data.delta),
        left=cost_view(left, data.delta),
        left_after=cost_view(cost.left(left), data.delta),
        admits=left.rho // cost.rho if fits else 0,
    )


router = Router("/budgets", route_handlers=[set_budget, read, entries, preview], tags=["budgets"])
