"""Jobs: asked for, looked at, followed, cancelled, tried again."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Annotated

from litestar import Response, Router, get, post
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter
from litestar.response import ServerSentEvent
from pydantic import BaseModel

from api import present, withheld
from api.auth import VERB, require
from api.bodies import json_body
from api.edge import Edge, is_dataset, is_job
from api.gateway import Promise
from api.holding import HOLDS, Hold
from api.policy import Principal, Resource, Verb
from api.problems import NotFound
from api.v1 import orders, retries
from api.v1.answers import Accepted
from api.v1.bodies import EPSILON_HINT, KINDS, JobBody
from api.v1.observed import shown
from api.v1.parameters import (
    Asked,
    Cursor,
    IdempotencyKey,
    Limit,
    MinSequence,
    Prefer,
    TheEdge,
    bad_cursor,
    context,
    key_of,
    moment,
    wait_seconds,
)
from api.v1.stream import story
from api.v1.tagged import tagged
from contracts.jobs import JobKind, JobState
from contracts.views import JobView, Page
from infra.objects import ObjectMissing

JSON = "application/json"
CANCEL, RETRY = ":cancel", ":retry"


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
    promise = before or await edge.gateway.accept(await orders.order(edge, data, made, request.user), made, key)
    return await _answer(edge, promise, prefer, request.user)


async def _answer(edge: Edge, promise: Promise, prefer: str | None, principal: Principal) -> Response[Accepted | JobView]:
    seconds = wait_seconds(prefer)
    headers = {"Location": f"/v1/jobs/{promise.job}"}
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds:g}"
        view = await edge.ended(promise.job, seconds)
        if view is not None:
            return _document(await _shown(edge, view, principal), 200, headers)
    return _document(accepted(promise), 202, headers)


def _document(content: BaseModel, status: int, headers: dict[str, str] | None = None) -> Response[Accepted | JobView]:
    # Written by pydantic at once: the framework's way round through Python objects takes several times as long.
    body: Response[bytes] = Response(content.model_dump_json().encode(), status_code=status, media_type=JSON, headers=headers)
    return body  # type: ignore[return-value]  # the declared type is for the API's description


async def _shown(edge: Edge, view: JobView, principal: Principal) -> JobView:
    return withheld.job(present.job(view, await present.failed(view.failure, edge.objects)), principal)


@get("/", operation_id="listJobs", summary="List jobs, the newest first", opt={VERB: Verb.JOB_READ})
async def list_jobs(  # noqa: PLR0917  # the framework passes them by name
    request: Asked,
    edge: TheEdge,
    job_state: Annotated[JobState | None, QueryParameter(name="state", description="only jobs in this state")] = None,
    kind: Annotated[JobKind | None, QueryParameter(description="only jobs of this kind")] = None,
    dataset: Annotated[str | None, QueryParameter(max_length=80, description="only jobs that read or make this dataset")] = None,
    project: Annotated[str | None, QueryParameter(max_length=80, description="only jobs of this project")] = None,
    since: Annotated[dt.datetime | None, QueryParameter(description="only jobs accepted then or later; RFC 3339")] = None,
    until: Annotated[dt.datetime | None, QueryParameter(description="only jobs accepted before then")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    min_seq: MinSequence = None,
) -> Page[JobView]:
    """Jobs, without the problem documents of failed ones."""
    if cursor is not None and is_job(cursor) is None:
        raise bad_cursor(cursor)
    if dataset is not None and is_dataset(dataset) is None:
        raise NotFound.of("dataset", dataset)
    if project is not None:
        edge.require_project(project)
    await edge.reached(min_seq)
    page = await edge.views.jobs(
        state=job_state,
        kind=kind,
        dataset=dataset,
        project=project,
        since=moment("since", since),
        until=moment("until", until),
        after=cursor,
        limit=limit,
    )
    return Page[JobView](items=tuple(withheld.job(present.job(view), request.user) for view in page.items), next=page.next)


JobPath = Annotated[str, PathParameter(description="id of the job")]


@get("/{job:str}", operation_id="getJob", summary="Look at a job", opt={VERB: Verb.JOB_READ})
async def read(job: JobPath, request: Asked, edge: TheEdge, min_seq: MinSequence = None, prefer: Prefer = None) -> Response[JobView]:
    """Where a job stands. ``min_seq`` waits for an event, ``Prefer: wait=N`` for the job's end."""
    await edge.reached(min_seq)
    seconds = wait_seconds(prefer)
    headers = None if seconds is None else {"Preference-Applied": f"wait={seconds:g}"}
    view = None if seconds is None else await edge.ended(job, seconds)
    view = view or await edge.job(job)
    return tagged(request, await _shown(edge, view, request.user), headers)


@post(
    "/{target:str}",
    status_code=202,
    operation_id="actOnJob",
    summary="Cancel a job, or try it again: POST /v1/jobs/{id}:cancel, POST /v1/jobs/{id}:retry",
    opt={VERB: Verb.JOB_READ},
)
async def act(
    target: Annotated[str, PathParameter(description="id of the job, and ':cancel' or ':retry'")],
    request: Asked,
    edge: TheEdge,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    """``:cancel`` ends a job wherever it stands, within two seconds; asking again, or too late, changes nothing.

    ``:retry`` asks for a new job of the same specification, where the job failed, was cancelled or refused; 409 where it was not.
    """
    name, colon, verb = target.rpartition(":")
    if colon + verb not in {CANCEL, RETRY}:
        raise NotFound(f"A job takes '{CANCEL}' and '{RETRY}' and nothing else: POST /v1/jobs/{{id}}{CANCEL}.")
    wanted = Verb.JOB_CANCEL if verb == CANCEL[1:] else Verb.JOB_CREATE
    require(request.user, wanted, Resource("job", name))
    view = await edge.job(name)
    if wanted is Verb.JOB_CREATE:
        return await _retry(edge, view, request, idempotency_key)
    if not view.state.terminal:
        await edge.gateway.cancel(view.id, view.kind, context(request, view.project))
    return Accepted(id=view.id, state=view.state, sequence=view.sequence, links=present.job_links(view.id))


async def _retry(edge: Edge, view: JobView, request: Asked, idempotency_key: str | None) -> Accepted:
    made = context(request, view.project)
    key = key_of(idempotency_key, "POST /v1/jobs:retry", view.id)
    before = await edge.gateway.promised(made.principal, key) if key is not None else None
    promise = before or await edge.gateway.accept(await retries.again(edge, view, made, request.user), made, key)
    return accepted(promise)


def accepted(promise: Promise) -> Accepted:
    """What a client is told of a job that was promised."""
    links = present.job_links(promise.job)
    if promise.dataset is not None:
        links["dataset"] = f"/v1/datasets/{promise.dataset}"
    return Accepted(id=promise.job, state=JobState.ACCEPTED, sequence=promise.sequence, links=links)


@get(
    "/{job:str}/events", operation_id="followJob", summary="Follow a job: server-sent events", opt={VERB: Verb.JOB_READ, HOLDS: Hold.STREAM}
)
async def follow(
    job: JobPath,
    edge: TheEdge,
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID", max_length=20, description="go on after this event")] = None,
) -> ServerSentEvent:
    """The job's events, from its acceptance to its end, each with its sequence as id; progress in between, without one."""
    after = min(int(last_event_id), 2**62) if last_event_id is not None and last_event_id.isdecimal() else 0
    view = await edge.job(job)
    return ServerSentEvent(story(edge, view, after))


@get(
    "/{job:str}/log",
    media_type="text/plain",
    operation_id="getJobLog",
    summary="A job's log",
    opt={VERB: Verb.RAW_READ},
)
async def log(job: JobPath, request: Asked, edge: TheEdge) -> str:
    """What the job's process said; of a failed job, its traceback.

    It may hold values of rows: it needs the right to raw data, and where the job was on real rows the ledger has an entry of it.
    """
    view = await edge.job(job)
    stored = present.log_of(view)
    if stored is None:
        raise NotFound(f"Job {view.id} has no log: it is {view.state}, and nothing was written down.", id=view.id)
    await shown(edge, request, view, "log")
    try:
        return (await asyncio.to_thread(edge.objects.read, stored)).decode(errors="replace")
    except ObjectMissing:
        raise NotFound(f"The log of job {view.id} is not kept any more.", id=view.id) from None


router = Router("/jobs", route_handlers=[create, list_jobs, read, act, follow, log], tags=["jobs"])
