"""Why something was done, in somebody's words: kept as an object, which can be erased; events and the log hold its id alone."""

from __future__ import annotations

import asyncio
import json

from api.problems import RequestInvalid
from contracts.ids import ObjectId, new_id
from contracts.views import LedgerEntryView
from infra.objects import ObjectMissing, Objects


class ReasonMissing(RequestInvalid):
    """It needs a reason, which the ledger keeps with it."""

    code = "reason-missing"


async def keep(objects: Objects, reason: str | None) -> ObjectId | None:
    """Keep a reason. Gives the id of its object."""
    return None if reason is None else await kept(objects, reason)


async def kept(objects: Objects, reason: str) -> ObjectId:
    """Keep a reason that was given. Gives the id of its object."""
    return await asyncio.to_thread(objects.put, new_id("obj"), json.dumps({"reason": reason}).encode())


async def told(objects: Objects, entries: tuple[LedgerEntryView, ...]) -> tuple[LedgerEntryView, ...]:
    """Entries with the words of those that have any."""
    if not any(entry.reason for entry in entries):
        return entries
    return await asyncio.to_thread(lambda: tuple(_told(objects, entry) for entry in entries))


def _told(objects: Objects, entry: LedgerEntryView) -> LedgerEntryView:
    if entry.reason is None:
        return entry
    try:
        return entry.model_copy(update={"why": str(json.loads(objects.read(entry.reason))["reason"])})
    except ObjectMissing:
        return entry
