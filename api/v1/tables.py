"""Tables given out: as they are stored, or in the format that is asked for, which a worker writes once and is kept."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, route
from litestar.params import PathParameter, QueryParameter

from api import present
from api.auth import VERB
from api.edge import Edge
from api.gateway import Key, Promise
from api.policy import Verb
from api.problems import NotFound, answer
from api.v1 import orders
from api.v1.files import HEAD, File, Range, kept, named, send
from api.v1.jobs import accepted
from api.v1.parameters import Asked, DatasetPath, Prefer, TheEdge, context, wait_seconds
from contracts.events import Origin
from contracts.ids import ObjectId
from contracts.jobs import JobState, TableFormat, TableRef
from contracts.problems import Problem
from contracts.views import DatasetVersionView, DatasetView, JobView

RETRY_AFTER = "1"
"""Seconds after which it is worth asking again for a file that is being written."""
_KEY = "\n"
"""Begins keys of the edge's own, which no header can hold: a client's Idempotency-Key is never taken for one."""


@route(
    "/{dataset:str}/versions/{version:int}/table",
    http_method=["GET", "HEAD"],
    operation_id=named("Table"),
    summary="Download a version's rows",
    opt={VERB: Verb.ARTIFACT_READ},
    media_type="application/octet-stream",
)
async def table(  # noqa: PLR0917  # the framework passes them by name
    dataset: DatasetPath,
    version: Annotated[int, PathParameter(ge=1, le=1_000_000_000, description="its version")],
    request: Asked,
    edge: TheEdge,
    form: Annotated[TableFormat, QueryParameter(name="format", description="what the file is to be")] = TableFormat.PARQUET,
    asked_range: Range = None,
    prefer: Prefer = None,
) -> File:
    """The rows as a file. Where it has to be written first: 202 with the job that does it, then ask again; or ``Prefer: wait=N``.

    HEAD has nothing written: 404 until somebody has. Rows of a real dataset need the right to raw data, and are entered in the ledger as
    observed, once for each who asks and format.
    """
    view = await edge.dataset(dataset)
    held = orders.version_of(view, version)
    return await given(edge, request, view, held, form, asked_range=asked_range, prefer=prefer)


async def given(
    edge: Edge,
    request: Asked,
    dataset: DatasetView,
    version: DatasetVersionView,
    form: TableFormat,
    *,
    asked_range: str | None,
    prefer: str | None,
) -> File:
    """A table in a format: the file, the promise of it, or why there is none. Raises ReleaseNotAvailable."""
    orders.require_release(request.user, dataset)
    name = f"{dataset.id}-v{version.version}"
    if form is TableFormat.PARQUET and dataset.origin is not Origin.REAL:
        return await send(edge, request, version.table, name, asked_range)
    job = await _written(edge, request, dataset, version, form)
    if isinstance(job, Promise):
        seconds = wait_seconds(prefer)
        view = None if seconds is None else await edge.ended(job.job, seconds)
        if view is None:
            headers = {"Location": f"/v1/jobs/{job.job}", "Retry-After": RETRY_AFTER}
            body = accepted(job).model_dump_json().encode()
            return Response(body, status_code=202, media_type="application/json", headers=headers)
        job = view
    exported = _export_of(job)
    if exported is None:
        return answer(await _failed(edge, job))
    return await send(edge, request, exported, name, asked_range)


async def _written(edge: Edge, request: Asked, dataset: DatasetView, version: DatasetVersionView, form: TableFormat) -> JobView | Promise:
    """The job that has written the file, or has failed to; or the promise of one that will.

    Raw rows are written anew for everyone who asks: the ledger names whom they were given to.
    """
    source = TableRef(dataset=dataset.id, version=version.version, table=version.table)
    jobs = await edge.views.exports(source, form)
    if dataset.origin is Origin.REAL:
        jobs = [job for job in jobs if job.principal == request.user.id]
    last = next(iter(jobs), None)
    if last is not None and not last.state.terminal:
        return Promise(last.id, sequence=last.sequence)
    if last is not None and (last.state is JobState.FAILED or await kept(edge, _export_of(last))):
        return last
    if request.method == HEAD:
        raise NotFound("The file is not written yet, and is not by asking with HEAD: GET has it written.", id=dataset.id)
    # The same key until a job of it is in the views: whoever asks twice in that moment has one job.
    key = Key.of(f"{_KEY}export {version.table} {form} {len(jobs)}", "")
    return await edge.gateway.accept(orders.exported(dataset, version, form), context(request, dataset.project), key)


def _export_of(job: JobView) -> ObjectId | None:
    return next((output.artifact for output in job.outputs if output.role == "export"), None)


async def _failed(edge: Edge, job: JobView) -> Problem:
    """Why there is no file, and how to have it tried again."""
    known = present.job(job, await present.failed(job.failure, edge.objects)).problem
    if known is None:
        detail = f"Job {job.id}, which was to write the file, was {job.state}: ask again."
        known = Problem(type="urn:halftone:problem:not-written", title="There is no file", status=409, detail=detail, code="not-written")
    return Problem.model_validate({**known.model_dump(), "job": job.id, "retry": f"/v1/jobs/{job.id}:retry"})


router = Router("/datasets", route_handlers=[table], tags=["datasets"])
