"""Jobs tried again: a new job of the same specification, with a name of the one that did not end well."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from api.auth import require
from api.edge import Edge
from api.engines import require_engine
from api.gateway import Order
from api.policy import Principal, Resource, Verb
from api.problems import Conflict, NotFound
from api.v1 import orders
from contracts.envelope import Context
from contracts.ids import DatasetId, ObjectId, new_id
from contracts.jobs import EvaluateSpec, ExportSpec, IngestSpec, JobState, NoopSpec, SampleSpec, SynthesizeSpec, TableRef
from contracts.views import JobView
from infra.objects import ObjectMissing

RETRIED = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.REFUSED})


class NotRetryable(Conflict):
    """Only a job that failed, was cancelled or refused can be tried again."""

    code = "not-retryable"


class SourceGone(Conflict):
    """An upload is kept until its job has ended: upload the file again."""

    code = "source-gone"


async def again(edge: Edge, job: JobView, context: Context, principal: Principal) -> Order:
    """A job that tries another again; what it makes has an id of its own.

    Raises NotRetryable, SourceGone, or what keeps such a job from being asked for now.
    """
    if job.state not in RETRIED:
        detail = f"Job {job.id} is {job.state}: only a job that failed, was cancelled or refused can be tried again."
        raise NotRetryable(detail, id=job.id, state=str(job.state))
    order = Order(new_id("job"), job.spec, retry_of=job.id)
    match job.spec:
        case SynthesizeSpec(source=source):
            require_engine(job.spec.engine)
            await _held(edge, source)
            return await _drawn(edge, order, job.spec, source.dataset, context)
        case SampleSpec(model=fitted):
            model = await edge.views.model(fitted)
            if model is None:
                raise NotFound.of("model", fitted)
            require_engine(model.engine)
            return await _drawn(edge, order, job.spec, model.dataset, context)
        case IngestSpec():
            return await _brought(edge, order, job.spec, context, principal)
        case ExportSpec(source=source):
            orders.require_release(principal, await edge.dataset(source.dataset))
            await _held(edge, source)
        case EvaluateSpec(real=real, synthetic=synthetic):
            await _held(edge, real)
            await _held(edge, synthetic)
        case NoopSpec():
            pass
    return order


async def _held(edge: Edge, source: TableRef) -> None:
    """Refuse what reads rows that are not there any more. Raises NotFound or DatasetFailed."""
    orders.version_of(await edge.dataset(source.dataset), source.version)


async def _brought(edge: Edge, order: Order, spec: IngestSpec, context: Context, principal: Principal) -> Order:
    """Stored rows profiled, or rows fetched, once more. Raises SourceGone, or Forbidden."""
    if spec.stored:
        return replace(order, dataset=spec.dataset)
    if spec.fetch is None:
        raise SourceGone(dataset=spec.dataset)
    require(principal, Verb.SOURCE_USE, Resource("source"))
    return await _fetched(edge, order, spec, context)


async def _fetched(edge: Edge, order: Order, spec: IngestSpec, context: Context) -> Order:
    """With a dataset of its own, and copies of what is said about it: the one that has no rows may be deleted. Raises SourceGone."""

    def copies() -> dict[str, ObjectId | None]:
        said = {name: getattr(spec, name) for name in ("source", "declared", "options")}
        return {name: held and edge.objects.put(new_id("obj"), edge.objects.read(held)) for name, held in said.items()}

    try:
        kept = await asyncio.to_thread(copies)
    except ObjectMissing:
        raise SourceGone("The dataset was deleted, and with it where its rows were to come from.", dataset=spec.dataset) from None
    record = await edge.registry.dataset(spec.dataset)
    made = spec.model_copy(update={**kept, "dataset": new_id("ds")})
    name, filename = (record.name, record.filename) if record is not None else (made.dataset, None)
    return orders.brought(replace(order, spec=made), name, filename, context)


async def _drawn(edge: Edge, order: Order, spec: SynthesizeSpec | SampleSpec, parent: DatasetId, context: Context) -> Order:
    """With a dataset of its own, called as the one that was not made."""
    target = new_id("ds")
    record = await edge.registry.dataset(spec.target)
    made = replace(order, spec=spec.model_copy(update={"target": target}), dataset=target)
    return orders.drawn(made, parent, record.name if record is not None else target, context)
