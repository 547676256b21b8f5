"""What is removed: uploads once their job has ended (the rows are a stored table then, or of no use), and objects of deleted datasets."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from api.deletion import remove_objects
from api.edge import Edge
from api.erasure import UPLOAD, erased
from api.registry import forget_source
from contracts import subjects
from contracts.ids import DatasetId, ObjectId
from infra.database.store import Transaction

log = structlog.get_logger()

EVERY = 1.0
"""Seconds between two looks, while there is something to remove."""


async def sweep(edge: Edge) -> None:
    """Remove, for ever, uploads whose job has ended, and what deleted datasets leave behind."""
    while True:
        position = edge.projector.position(subjects.EVENTS)
        if not await sweep_once(edge) + await remove_objects(edge):
            # Nothing changes before another event: an upload begins with one, a deletion is one.
            while not await edge.projector.reached(subjects.EVENTS, position + 1, 3600.0):
                pass
        await asyncio.sleep(EVERY)


def _forgotten(by: str, dataset: DatasetId, source: ObjectId, tx: Transaction) -> None:
    forget_source(tx, dataset)
    erased(tx, by, dataset, UPLOAD, [source])


async def sweep_once(edge: Edge) -> int:
    """Remove what can be.

    Returns how many uploads are still needed.
    """
    kept = 0
    for job, dataset, source in await edge.registry.sources():
        view = await edge.views.job(job)
        if view is None or not view.state.terminal:
            kept += 1
            continue
        await asyncio.to_thread(edge.objects.delete, source)
        await edge.runtime.store.write(partial(_forgotten, edge.runtime.source, dataset, source))
        log.info("upload.removed", dataset=dataset, job=job)
    return kept
