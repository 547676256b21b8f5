"""Jobs: asked for, looked at, followed, cancelled."""

from __future__ import annotations

import asyncio
from typing import Annotated

from litestar import Response, Router, get, post
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter
from litestar.response import ServerSentEvent
from pydantic import BaseModel

from api import present
from api.auth import VERB
from api.bodies import json_body
from api.edge import Edge, is_dataset, is_job
from api.gateway import Promise
from api.policy import Verb
from api.problems import NotFound
from api.v1 import orders
from api.v1.answers import Accepted
from api.v1.bodies import EPSILON_HINT, KINDS, JobBody
from api.v1.parameters import Asked, Cursor, IdempotencyKey, Limit, MinSequence, Prefer, TheEdge, bad_cursor, context, key_of, wait_seconds
from api.v1.stream import story
from contracts.jobs import JobKind, JobState
from contracts.views import JobView, Page

JSON = "application/json"
CANCEL = ":cancel"


@post(
    "/",
    dto=json_body(JobBody, {"epsilon": EPSILON_HINT}, KINDS),
    return_dto=None,
    status_code=202,
    operation_id="createJob",
    summary="Ask for a job",
    opt={VERB: Verb.JOB_CREATE},
)
async def create(
    data: JSONBody[JobBody], request: Asked, edge: TheEdge, idempotency_key: IdempotencyKey = None, prefer: Prefer = None
) -> Response[Accepted | JobView]:
    """Ask for a job. Once this has answered, the job will be run: it survives a power cut.

    With ``Prefer: wait=N`` the answer is the job itself (200) if it ends within N seconds.
    """
    made = context(request, data.project)
    key = key_of(idempotency_key, "POST /v1/jobs", data.model_dump_json())
    before = await edge.gateway.promised(made.principal, key) if key is not None else None
    promise = before or await edge.gateway.accept(await orders.order(edge, data, made), made, key)
    return await _answer(edge, promise, prefer)


async def _answer(edge: Edge, promise: Promise, prefer: str | None) -> Response[Accepted | JobView]:
    seconds = wait_seconds(prefer)
    headers = {"Location": f"/v1/jobs/{promise.job}"}
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds:g}"
        view = await ended(edge, promise.job, seconds)
        if view is not None:
            return _document(await _shown(edge, view), 200, headers)
    links = present.job_links(promise.job)
    if promise.dataset is not None:
        links["dataset"] = f"/v1/datasets/{promise.dataset}"
    return _document(Accepted(id=promise.job, state=JobState.ACCEPTED, sequence=promise.sequence, links=links), 202, headers)


def _document(content: BaseModel, status: int, headers: dict[str, str] | None = None) -> Response[Accepted | JobView]:
    # Written by pydantic at once: the framework's way round through Python objects takes several times as long.
    body: Response[bytes] = Response(content.model_dump_json().encode(), status_code=status, media_type=JSON, headers=headers)
    return body  # type: ignore[return-value]  # the declared type is for the API's description


async def ended(edge: Edge, job: str, seconds: float) -> JobView | None:
    """The job once it has ended, or None after so many seconds."""
    async with edge.projector.changes(job) as changes:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    view = await edge.views.job(job)
                    if view is not None and view.state.terminal:
                        return view
                    while await changes.get() is not None:
                        pass
        except TimeoutError:
            return None


async def _shown(edge: Edge, view: JobView) -> JobView:
    return present.job(view, await present.failed(view.failure, edge.objects))


@get("/", operation_id="listJobs", summary="List jobs, the newest first", opt={VERB: Verb.JOB_READ})
async def list_jobs(  # noqa: PLR0917  # the framework passes them by name
    edge: TheEdge,
    job_state: Annotated[JobState | None, QueryParameter(name="state", description="only jobs in this state")] = None,
    kind: Annotated[JobKind | None, QueryParameter(description="only jobs of this kind")] = None,
    dataset: Annotated[str | None, QueryParameter(max_length=80, description="only jobs that read or make this dataset")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    min_seq: MinSequence = None,
) -> Page[JobView]:
    """Jobs, without the problem documents of failed ones."""
    if cursor is not None and is_job(cursor) is None:
        raise bad_cursor(cursor)
    if dataset is not None and is_dataset(dataset) is None:
        raise NotFound.of("dataset", dataset)
    await edge.reached(min_seq)
    page = await edge.views.jobs(state=job_state, kind=kind, dataset=dataset, after=cursor, limit=limit)
    return Page[JobView](items=tuple(present.job(view) for view in page.items), next=page.next)


JobPath = Annotated[str, PathParameter(description="id of the job")]


@get("/{job:str}", operation_id="getJob", summary="Look at a job", opt={VERB: Verb.JOB_READ})
async def read(job: JobPath, edge: TheEdge, min_seq: MinSequence = None, prefer: Prefer = None) -> Response[JobView]:
    """Where a job stands. ``min_seq`` waits for an event, ``Prefer: wait=N`` for the job's end."""
    await edge.reached(min_seq)
    view = await edge.job(job)
    seconds = wait_seconds(prefer)
    headers = None
    if seconds is not None:
        headers = {"Preference-Applied": f"wait={seconds:g}"}
        if not view.state.terminal:
            view = await ended(edge, job, seconds) or await edge.job(job)
    return _document(await _shown(edge, view), 200, headers)  # type: ignore[return-value]  # of the two that it may hold, this one


@post(
    "/{target:str}",
    status_code=202,
    operation_id="cancelJob",
    summary="Cancel a job: POST /v1/jobs/{id}:cancel",
    opt={VERB: Verb.JOB_CANCEL},
)
async def act(target: Annotated[str, PathParameter(description="id of the job, and ':cancel'")], request: Asked, edge: TheEdge) -> Accepted:
    """End a job wherever it stands, within two seconds. Asking again, or too late, changes nothing."""
    if not target.endswith(CANCEL):
        raise NotFound(f"A job takes '{CANCEL}' and nothing else: POST /v1/jobs/{{id}}{CANCEL}.")
    view = await edge.job(target.removesuffix(CANCEL))
    if not view.state.terminal:
        await edge.gateway.cancel(view.id, view.kind, context(request, view.project))
    return Accepted(id=view.id, state=view.state, sequence=view.sequence, links=present.job_links(view.id))


@get("/{job:str}/events", operation_id="followJob", summary="Follow a job: server-sent events", opt={VERB: Verb.JOB_READ})
async def follow(
    job: JobPath,
    edge: TheEdge,
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID", max_length=20, description="go on after this event")] = None,
) -> ServerSentEvent:
    """The job's events, from its acceptance to its end, each with its sequence as id; progress in between, without one."""
    after = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else 0
    view = await edge.job(job)
    return ServerSentEvent(story(edge, view, after))


@get(
    "/{job:str}/log",
    media_type="text/plain",
    operation_id="getJobLog",
    summary="The traceback of a failed job",
    opt={VERB: Verb.RAW_READ},
)
async def log(job: JobPath, edge: TheEdge) -> str:
    """What the job's process said last. It may hold values of rows, and so needs the right to raw data."""
    view = await edge.job(job)
    if view.failure is None or view.failure.log is None:
        raise NotFound(f"Job {view.id} has no log: it has not failed.", id=view.id)
    return (await asyncio.to_thread(edge.objects.read, view.failure.log)).decode(errors="replace")


router = Router("/jobs", route_handlers=[create, list_jobs, read, act, follow, log], tags=["jobs"])
