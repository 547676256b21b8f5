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
from api.reasons import ReasonMissing, keep
from api.registry import set_unit_column
from api.v1 import orders
from api.v1.answers import MeaningView, Preview
from api.v1.bodies import BudgetBody, CostBody, UnitBody
from api.v1.parameters import Asked, DatasetPath, MinSequence, TheEdge, context
from api.v1.tagged import tagged
from api.views.shape import cost_view
from contracts.commands import SetBudget
from contracts.cost import DELTA_SCALE, EPSILON_SCALE, NOTHING, USUAL_TERMS, BudgetTerms, Composition, Cost, Room
from contracts.ids import AccountId
from contracts.problems import ProblemError
from contracts.views import BudgetView, CostView, DatasetState, DatasetView, RoomView
from halftone.privacy.account import least
from halftone.privacy.conversion import budget_limit, job_cost, pure_cost, pure_limit
from halftone.privacy.meaning import SOURCE, meaning

PREVIEW = ":preview"
HINTS = {
    "epsilon": "state a number above 0, such as 1.0",
    "composition": "zcdp or pure",
    "neighbours": "add-remove or replace",
    "unit": '"row", or {"column": …, "contribution": …}',
}


class TermsFixed(ProblemError):
    """What a budget's costs are about cannot be changed once anything is spent: sums of other things would mean nothing."""

    status, code = 409, "budget-terms-fixed"


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

    A limit below what is spent refuses everything from then on; what is spent stays spent. Composition, neighbours and unit can be
    changed only while nothing is spent; ``window_days`` and ``approve_above`` may be null. A change needs a ``reason``. While rows are on
    their way it is not yet known under which account they fall: 409.
    """
    view = await edge.dataset(dataset)
    if view.state is DatasetState.INGESTING:
        orders.latest(view)
    before = await account_of(edge, view)
    command, column = await _command(edge, view, before, data)
    if before.limit is not None and data.reason is None and _differs(before, command):
        raise ReasonMissing('Say why the limit is changed: "reason": "…".', parameter="reason")
    command = command.model_copy(update={"reason": await keep(edge.objects, data.reason)})
    asked = context(request, view.project)
    await edge.gateway.tell((), asked, also=lambda tx: set_unit_column(tx, view.account, column), commands=(command,))

    async def limited() -> BudgetView | None:
        ledger = await edge.views.entries(view.account, before.entry, 100)
        stated = (data.epsilon / EPSILON_SCALE, data.delta / DELTA_SCALE)
        set_now = any((entry.epsilon, entry.delta) == stated for entry in ledger.items if entry.kind == "limited")
        return await edge.views.account(view.account) if set_now else None

    after = await edge.until(limited, CATCH_UP)
    return Response(await _shown(edge, after or before, view), status_code=200 if after is not None else 202)


async def _command(edge: Edge, dataset: DatasetView, before: BudgetView, data: BudgetBody) -> tuple[SetBudget, str | None]:
    """What the keeper is to set, and the column of users. Raises TermsFixed, or what ``orders.unit_column`` raises."""
    terms, given = before.terms or USUAL_TERMS, data.model_fields_set
    if data.composition is Composition.PURE and "delta" in given:
        raise RequestInvalid("A pure budget has an epsilon alone: leave delta out.", parameter="delta")
    chosen: dict[str, object] = {"composition": data.composition or terms.composition, "neighbours": data.neighbours or terms.neighbours}
    chosen |= {"by_user": terms.by_user, "contribution": terms.contribution}
    column = await edge.registry.unit_column(dataset.account)
    if isinstance(data.unit, UnitBody):
        await orders.unit_place(edge, dataset, data.unit.column)
        chosen |= {"by_user": True, "contribution": data.unit.contribution}
        changed, column = data.unit.column != column, data.unit.column
    else:
        changed = False
        if data.unit == "row":
            chosen |= {"by_user": False, "contribution": 1}
            column = None
    wanted = BudgetTerms.model_validate(chosen)
    if (wanted != terms or changed) and (_amount(before.spent) != NOTHING or _amount(before.reserved) != NOTHING):
        raise TermsFixed(
            f"Dataset {dataset.id}'s budget counts {terms.composition}, {terms.neighbours}, by {_unit(terms)}: "
            "something is spent of it, and so that stays.",
            dataset=dataset.id,
        )
    approval = _amount(before.approval) if before.approval is not None else None
    if "approve_above" in given:
        approval = None if data.approve_above is None else _threshold(wanted, data.approve_above, data.delta)
    window = data.window_days if "window_days" in given else before.window_days
    command = SetBudget(
        account=dataset.account, epsilon=data.epsilon, delta=data.delta, terms=wanted, window_days=window, approval=approval
    )
    return command, column


def _unit(terms: BudgetTerms) -> str:
    return f"user, of at most {terms.contribution} rows" if terms.by_user else "row"


def _threshold(terms: BudgetTerms, epsilon: int, delta: int) -> Cost:
    exact = epsilon / EPSILON_SCALE
    return pure_limit(exact) if terms.composition is Composition.PURE else budget_limit(exact, delta / DELTA_SCALE)


def _differs(before: BudgetView, command: SetBudget) -> bool:
    stated = (before.epsilon, before.delta, before.terms, before.window_days)
    approval = None if before.approval is None else _amount(before.approval)
    asked = (command.epsilon / EPSILON_SCALE, command.delta / DELTA_SCALE, command.terms, command.window_days)
    return stated != asked or approval != command.approval


def _amount(view: CostView) -> Cost:
    return Cost(rho=view.rho, delta=view.delta, pure=round(view.pure * EPSILON_SCALE))


async def account_of(edge: Edge, dataset: DatasetView) -> BudgetView:
    """The budget of a dataset's lineage. Raises ViewBehind."""
    account: AccountId = dataset.account
    view = await edge.until(lambda: edge.views.account(account), CATCH_UP)
    if view is None:
        raise ViewBehind
    return view


async def _shown(edge: Edge, view: BudgetView, dataset: DatasetView) -> BudgetView:
    if view.terms is not None and view.terms.by_user:
        view = view.model_copy(update={"unit_column": await edge.registry.unit_column(view.account)})
    return present.budget(view, dataset.id)


@get("/{dataset:str}", operation_id="getBudget", summary="See a budget", opt={VERB: Verb.BUDGET_READ})
async def read(dataset: DatasetPath, request: Asked, edge: TheEdge, min_seq: MinSequence = None) -> Response[BudgetView]:
    """Limit, spent, reserved and left, in the ledger's integers and as the epsilons that they mean; terms, and a forecast."""
    await edge.reached(min_seq)
    view = await edge.dataset(dataset)
    return tagged(request, await _shown(edge, await account_of(edge, view), view))


@post(
    "/{target:str}",
    dto=json_body(CostBody, HINTS),
    return_dto=None,
    status_code=200,
    operation_id="previewBudget",
    summary="See what a job would cost: POST /v1/budgets/{dataset}:preview",
    opt={VERB: Verb.BUDGET_READ},
)
async def preview(
    target: Annotated[str, PathParameter(description="id of the dataset, and ':preview'")],
    data: JSONBody[CostBody],
    request: Asked,
    edge: TheEdge,
    min_seq: MinSequence = None,
) -> Preview:
    """What a job of this epsilon and delta would cost, how many such jobs fit, and what it means for a person. Nothing is reserved.

    On a pure budget it is a job of that pure epsilon: Gaussian noise, which every engine here adds, is refused there.
    """
    if not target.endswith(PREVIEW):
        raise NotFound(f"A budget takes '{PREVIEW}' and nothing else: POST /v1/budgets/{{dataset}}{PREVIEW}.")
    await edge.reached(min_seq)
    dataset = await edge.dataset(target.removesuffix(PREVIEW))
    budget = await account_of(edge, dataset)
    pure = budget.terms is not None and budget.terms.composition is Composition.PURE
    cost = _cost(data, pure=pure)
    rooms = [Room(scope="dataset", left=_amount(budget.left))]
    rooms += await edge.views.quota_rooms(dataset.account, (request.user.id, dataset.project))
    left = least(room.left for room in rooms)
    part, share = (left.pure, cost.pure) if pure else (left.rho, cost.rho)
    return Preview(
        cost=cost_view(cost, data.delta),
        left=cost_view(left, data.delta),
        left_after=cost_view(cost.left(left), data.delta),
        # A zCDP job's mechanisms use rho alone, and so rho alone says how many fit.
        admits=part // share,
        limits=tuple(RoomView(scope=room.scope, left=cost_view(room.left, data.delta)) for room in rooms),
        waits=budget.approval is not None and cost.rho > budget.approval.rho,
        meaning=_meaning(cost),
        meaning_after=_meaning(_amount(budget.spent) + _amount(budget.reserved) + cost),
    )


def _cost(data: CostBody, *, pure: bool) -> Cost:
    try:
        exact = data.epsilon / EPSILON_SCALE
        return pure_cost(exact) if pure else job_cost(exact, data.delta / DELTA_SCALE)
    except ValueError as error:
        raise RequestInvalid(f"{error}.", parameter="epsilon") from None


def _meaning(cost: Cost) -> MeaningView:
    found = meaning(cost)
    return MeaningView(advantage=found.advantage, true_positives=found.true_positives, source=SOURCE)


router = Router("/budgets", route_handlers=[set_budget, read, preview], tags=["budgets"])
