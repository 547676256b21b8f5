"""Charges that wait for a second person: listed, approved, declined. Whoever asked for one does not decide it."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, get, post
from litestar.params import JSONBody, PathParameter

from api import present
from api.auth import VERB
from api.bodies import json_body
from api.edge import CATCH_UP
from api.policy import Verb
from api.problems import Forbidden, NotFound
from api.reasons import kept
from api.v1.bodies import ReasonBody
from api.v1.parameters import Asked, TheEdge, context
from contracts.commands import DecideBudget
from contracts.views import ApprovalView, JobView, Page

APPROVE, DECLINE = ":approve", ":decline"


class ApprovalOwn(Forbidden):
    """A second person decides: somebody else than who asked for the job."""

    code = "approval-own"


@get("/", operation_id="listApprovals", summary="List charges that wait for a second person", opt={VERB: Verb.BUDGET_READ})
async def approvals(edge: TheEdge) -> Page[ApprovalView]:
    """The oldest first."""
    return Page[ApprovalView](items=tuple(await edge.views.approvals()))


@post(
    "/{target:str}",
    dto=json_body(ReasonBody),
    return_dto=None,
    status_code=200,
    operation_id="decide",
    summary="Approve or decline: POST /v1/approvals/{job}:approve, or :decline",
    opt={VERB: Verb.BUDGET_APPROVE},
)
async def decide(
    target: Annotated[str, PathParameter(description="id of the job, and ':approve' or ':decline'")],
    data: JSONBody[ReasonBody],
    request: Asked,
    edge: TheEdge,
) -> Response[JobView]:
    """Let a charge that waits pass, or not; the reason is kept. 202 instead of 200: the keeper will, but has not yet."""
    job, colon, verb = target.partition(":")
    if colon + verb not in {APPROVE, DECLINE}:
        raise NotFound(f"An approval takes '{APPROVE}' or '{DECLINE}': POST /v1/approvals/{{job}}{APPROVE}.")
    waiting = next(iter(await edge.views.approvals(job)), None)
    if waiting is None:
        raise NotFound(f"No charge of a job {job[:80]!r} waits: see GET /v1/approvals for those that do.", id=job[:80])
    if waiting.principal == request.user.id:
        raise ApprovalOwn(f"You asked for job {job}: somebody else who holds {Verb.BUDGET_APPROVE!s} decides.", job=job)
    reason = await kept(edge.objects, data.reason)
    command = DecideBudget(account=waiting.account, job=job, approve=colon + verb == APPROVE, reason=reason)
    await edge.gateway.send(command, context(request, waiting.project))

    async def decided() -> JobView | None:
        return None if await edge.views.approvals(job) else await edge.job(job)

    view = await edge.until(decided, CATCH_UP)
    return Response(present.job(view or await edge.job(job)), status_code=202 if view is None else 200)


router = Router("/approvals", route_handlers=[approvals, decide], tags=["budgets"])
