"""Deleting datasets: what depends on one is named, its end is an event, and its objects are removed after that, whatever is killed.

What was spent stays spent: account, ledger, and which content falls under which account are never touched.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from functools import partial

import structlog

from api import keeping
from api.edge import Edge
from api.erasure import DATASET, erase_logs, erased
from api.problems import Conflict
from contracts.envelope import Context
from contracts.events import DatasetDeleted, Origin
from contracts.ids import SYSTEM, DatasetId, JobId, ObjectId
from contracts.jobs import EvaluateSpec, ExportSpec, IngestSpec, SampleSpec, SynthesizeSpec
from contracts.problems import ProblemError
from contracts.views import DatasetState, DatasetView, JobView
from infra.database.store import Transaction, now_ms

log = structlog.get_logger()

ASKED, CASCADE, RETENTION = "asked", "cascade", "retention"
RETENTION_EVERY = 600.0
"""Seconds between two looks for datasets whose time is over."""


class DatasetInUse(Conflict):
    """Something depends on the dataset."""

    code = "dataset-in-use"


@dataclass(frozen=True)
class Dependents:
    """What would be left hanging without a dataset."""

    datasets: tuple[DatasetView, ...]
    models: tuple[ObjectId, ...]
    jobs: tuple[JobView, ...]
    """Those that have not ended."""


@dataclass(frozen=True)
class Removal:
    """What a deletion came to."""

    datasets: tuple[DatasetId, ...]
    cancelled: tuple[JobId, ...]
    sequence: int | None


async def dependents(edge: Edge, dataset: DatasetView) -> Dependents:
    """Synthetic datasets made from it, models fitted to it, jobs that are under way."""
    jobs = await edge.views.jobs_of(dataset.id)
    fitted = [job for job in jobs if isinstance(job.spec, SynthesizeSpec) and job.spec.source.dataset == dataset.id]
    models = tuple(output.artifact for job in fitted for output in job.outputs if output.role == "model")
    running = tuple(job for job in jobs if not job.state.terminal)
    return Dependents(tuple(await edge.views.made_from(dataset.id)), models, running)


async def delete(edge: Edge, dataset: DatasetView, context: Context, *, cascade: bool) -> Removal:
    """Delete a dataset and, if so asked, what was made from it; jobs that are under way are cancelled then.

    Raises DatasetInUse, naming what depends on it, or Unavailable where a job was promised a moment ago.
    """
    if dataset.state is DatasetState.DELETED:
        return Removal((), (), None)
    found = await dependents(edge, dataset)
    if not cascade:
        _require_free(dataset, found)
        return await _end(edge, [dataset], context, ASKED, cascade=False)
    family = [*found.datasets, dataset]
    running = {job.id: job for member in family for job in await edge.views.jobs_of(member.id) if not job.state.terminal}
    for job in running.values():
        await edge.gateway.cancel(job.id, job.kind, context)
    removal = await _end(edge, family, context, ASKED, cascade=dataset.origin is Origin.REAL)
    return Removal(removal.datasets, tuple(running), removal.sequence)


def _require_free(dataset: DatasetView, found: Dependents) -> None:
    names = {"datasets": [view.id for view in found.datasets], "models": [*found.models], "jobs": [job.id for job in found.jobs]}
    told = [
        f"{len(ids)} {kind if len(ids) > 1 else kind[:-1]} ({', '.join(ids[:3])}{', …' if len(ids) > 3 else ''})"
        for kind, ids in names.items()
        if ids
    ]
    if told:
        detail = f"Dataset {dataset.id} is needed by {' and '.join(told)}: delete these first, or all of it with ?cascade=true."
        raise DatasetInUse(detail, dataset=dataset.id, dependents=names)


async def _end(edge: Edge, family: list[DatasetView], context: Context, reason: str, *, cascade: bool) -> Removal:
    """Note the end of datasets, the last being the one that the others were made from, and say so."""
    known = {view.id: [job.id for job in await edge.views.jobs_of(view.id)] for view in family}
    root = family[-1].id
    told = [
        DatasetDeleted(dataset=view.id, reason=reason if view.id == root else CASCADE, cascade=cascade and view.id == root)
        for view in family
    ]

    def also(tx: Transaction) -> None:
        for event in told:
            keeping.end(tx, event.dataset, known[event.dataset], cascade=event.cascade)

    sequence = await edge.gateway.tell(told, context, also=also)
    await edge.reached(sequence)
    return Removal(tuple(view.id for view in family), (), sequence)


async def retain(edge: Edge) -> None:
    """Delete, for ever, datasets and logs whose time is over."""
    while True:
        await retain_once(edge, now_ms())
        await erase_logs(edge, dt.datetime.now(dt.UTC))
        await asyncio.sleep(RETENTION_EVERY)


async def retain_once(edge: Edge, now: int) -> list[DatasetId]:
    """Delete the datasets whose time is over at a moment (ms since 1970), unless a job is at work on them: then the next look does.

    Synthetic datasets and models that were made from one stay: they hold nothing of the rows but what was paid for.
    """
    deleted = []
    for name in await edge.registry.expired(now):
        view = await edge.views.dataset(name)
        if view is None or any(not job.state.terminal for job in await edge.views.jobs_of(name)):
            continue
        try:
            await _end(edge, [view], Context.new(SYSTEM, view.project), RETENTION, cascade=False)
        except ProblemError as error:
            # The broker is away, or a job came in between: the next look does it.
            log.info("dataset.not_expired", dataset=name, code=error.code)
        else:
            log.info("dataset.expired", dataset=name)
            deleted.append(name)
    return deleted


async def remove_objects(edge: Edge) -> int:
    """Remove the objects of datasets that were deleted.

    Returns how many of these may still get one: the view has not seen their end, or a job is at work on them.
    """
    pending = 0
    for name, cascade in await edge.registry.deletions():
        view = await edge.views.dataset(name)
        if view is None or view.state is not DatasetState.DELETED:
            pending += 1
            continue
        jobs = await edge.views.jobs_of(name)
        doomed = await _objects(edge, view, jobs, cascade=cascade)
        await asyncio.to_thread(_delete, edge, doomed)
        if all(job.state.terminal for job in jobs):
            await edge.runtime.store.write(partial(_ended, edge.runtime.source, name, doomed))
            log.info("dataset.removed", dataset=name, objects=len(doomed))
        else:
            pending += 1
    return pending


def _ended(source: str, dataset: DatasetId, objects: set[ObjectId], tx: Transaction) -> None:
    keeping.ended(dataset, tx)
    erased(tx, source, dataset, DATASET, objects)


def _delete(edge: Edge, objects: set[ObjectId]) -> None:
    for object_id in objects:
        edge.objects.delete(object_id)


async def _objects(edge: Edge, view: DatasetView, jobs: list[JobView], *, cascade: bool) -> set[ObjectId]:
    """What was stored of a dataset and about it."""
    found: set[ObjectId | None] = {each for version in view.versions for each in (version.table, version.proposal, version.profile)}
    record = await edge.registry.dataset(view.id)
    found.add(record.source if record is not None else None)
    for job in jobs:
        found |= _made(view.id, job, cascade=cascade)
        if job.failure is not None:
            found |= {job.failure.problem, job.failure.log}
    schemas = {*await edge.registry.attested(view.id), *(version.declared for version in view.versions)}
    if not cascade:
        # A schema is public; what was made under it still says so.
        schemas -= {job.spec.declared for job in jobs if isinstance(job.spec, SynthesizeSpec)}
    return {each for each in found | schemas if each is not None}


def _made(dataset: DatasetId, job: JobView, *, cascade: bool) -> set[ObjectId]:
    """What a job has made that goes when a dataset goes."""
    made = {output.artifact: output.role for output in job.outputs}
    match job.spec:
        case IngestSpec(options=options, fetch=fetch, source=source):
            return {*made, *([options] if options else []), *([source] if fetch else [])}
        case EvaluateSpec() | ExportSpec():
            return set(made)
        case SynthesizeSpec(target=target) | SampleSpec(target=target) if target == dataset:
            return {artifact for artifact, role in made.items() if role in {"table", "sample", "log"}}
        case SynthesizeSpec() if cascade:
            return set(made)
        case _:
            return {artifact for artifact, role in made.items() if role == "log"}
