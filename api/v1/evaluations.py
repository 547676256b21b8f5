"""Evaluations: what was measured of a synthetic dataset against a real one. Raw figures."""

from __future__ import annotations

import asyncio
from typing import Annotated

from litestar import Response, Router, get
from litestar.params import PathParameter, QueryParameter

from api.auth import VERB
from api.edge import is_dataset
from api.policy import Verb
from api.problems import Conflict, NotFound
from api.v1.parameters import MinSequence, TheEdge
from contracts.jobs import JobKind
from contracts.views import EvaluationView, Page
from infra.objects import ObjectMissing


class NotEvaluated(Conflict):
    """The evaluation has no report."""

    code = "not-evaluated"


@get("/", operation_id="listEvaluations", summary="List evaluations, the newest first", opt={VERB: Verb.RAW_READ})
async def list_evaluations(
    edge: TheEdge,
    dataset: Annotated[str | None, QueryParameter(max_length=80, description="only those of this dataset, on either side")] = None,
    min_seq: MinSequence = None,
) -> Page[EvaluationView]:
    """Completed evaluations."""
    if dataset is not None and is_dataset(dataset) is None:
        raise NotFound.of("dataset", dataset)
    await edge.reached(min_seq)
    return Page[EvaluationView](items=tuple(await edge.views.evaluations(dataset)))


@get(
    "/{job:str}",
    media_type="application/json",
    operation_id="getEvaluation",
    summary="Read an evaluation's report",
    opt={VERB: Verb.RAW_READ},
)
async def read(
    job: Annotated[str, PathParameter(description="id of the job that measured")], edge: TheEdge, min_seq: MinSequence = None
) -> Response[bytes]:
    """The report as its job wrote it."""
    await edge.reached(min_seq)
    view = await edge.job(job)
    if view.kind is not JobKind.EVALUATE:
        raise NotFound(f"Job {view.id} is no evaluation: it is of kind {view.kind}.", id=view.id)
    report = next((output.artifact for output in view.outputs if output.role == "report"), None)
    if report is None:
        raise NotEvaluated(f"Job {view.id} has no report: it is {view.state}.", id=view.id, state=str(view.state))
    try:
        return Response(await asyncio.to_thread(edge.objects.read, report), media_type="application/json")
    except ObjectMissing:
        raise NotFound(f"The report of job {view.id} is not kept any more.", id=view.id) from None


router = Router("/evaluations", route_handlers=[list_evaluations, read], tags=["evaluations"])
