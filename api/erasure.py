"""Payloads that are removed for good: that they were is an entry of the log, under whose other entries nothing changes.

Entries are kept; what they refer to is kept by class: uploads until their job has ended, a dataset's objects until it is deleted, job
logs and problem documents, which may quote rows, for the days that the settings say.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable
from functools import partial

import structlog

from api.edge import Edge
from contracts.envelope import Context, Envelope
from contracts.ids import SYSTEM, Code, ObjectId, derived_message_id
from contracts.recorded import PayloadErased
from infra.database.store import Transaction
from infra.objects import ObjectMissing

log = structlog.get_logger()

DATASET, UPLOAD, LOG = "dataset", "upload", "log"
MOST_OBJECTS = 500
"""Objects that one event names."""


def erased(tx: Transaction, source: str, about: str, kind: Code, objects: Iterable[ObjectId]) -> None:
    """Say, in the transaction that notes it, that objects are gone."""
    every = sorted(objects)
    for n, first in enumerate(range(0, len(every), MOST_OBJECTS)):
        event = PayloadErased(about=about, kind=kind, objects=tuple(every[first : first + MOST_OBJECTS]))
        message_id = derived_message_id(about, f"erased-{kind}", n)
        if not tx.has_sent(message_id):
            tx.send(Envelope.wrap(event, Context.new(SYSTEM), source=source, message_id=message_id))


async def erase_logs(edge: Edge, now: dt.datetime) -> int:
    """Remove logs and problem documents of jobs that ended longer ago than they are kept.

    Returns of how many jobs.
    """
    days = edge.settings.keep_logs_days
    if not days:
        return 0
    before = (now - dt.timedelta(days=days)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    count = 0
    for job, objects in await edge.views.logs_before(before):
        held = [each for each in objects if await asyncio.to_thread(_is_there, edge, each)]
        if held:
            # Said first: a crash in between has it done by the next look, and never done without being said.
            await edge.runtime.store.write(partial(erased, source=edge.runtime.source, about=job, kind=LOG, objects=held))
            await asyncio.to_thread(_remove, edge, held)
            log.info("log.removed", job=job, objects=len(held))
            count += 1
    return count


def _is_there(edge: Edge, object_id: ObjectId) -> bool:
    try:
        edge.objects.info(object_id)
    except ObjectMissing:
        return False
    return True


def _remove(edge: Edge, objects: Iterable[ObjectId]) -> None:
    for each in objects:
        edge.objects.delete(each)
