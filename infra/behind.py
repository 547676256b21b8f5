"""A database that is older than what was told from it: put back from a copy, it would decide again what was decided already."""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog
from nats.errors import Error as NatsError
from sqlalchemy import func, select

from contracts import subjects
from contracts.envelope import Envelope
from infra.bus.tail import AGAIN_AFTER, last_message
from infra.database.store import Transaction
from infra.refusal import StartRefused
from infra.runtime import Runtime

log = structlog.get_logger()


class DatabaseBehind(StartRefused):
    """Events were told from a later state of the database than the one that is here."""


async def require_current(runtime: Runtime, subject: str) -> None:
    """Compare a database with the last event that it alone can have told. Waits for the broker. Raises DatabaseBehind.

    An event is on the bus only after its transaction was committed here: one that is unknown here, and later than all that is known,
    was told from a newer copy.
    """
    while True:
        try:
            body = await last_message(runtime.client, subjects.EVENTS, subject)
            break
        except (NatsError, TimeoutError, OSError) as error:
            log.info("behind.broker_away", error=type(error).__name__)
            await asyncio.sleep(AGAIN_AFTER)
    if body is None:
        return
    told = Envelope.load(body)
    at = int(datetime.fromisoformat(told.time).timestamp() * 1000)

    def knows(tx: Transaction) -> bool:
        # What was sent is forgotten after days, but for the last: by then it is older than that.
        newest = tx.connection.execute(select(func.max(tx.tables["outbox"].c.made_at))).scalar()
        return tx.has_sent(told.id) or (newest is not None and newest > at)

    if not await runtime.store.write(knows):
        raise DatabaseBehind(
            f"the database of {runtime.name} does not know event {told.id} of {told.time}, which was told from it: it was put back from "
            "an older copy, and would grant again what was spent since. Put back the newest copy; docs/operations.md says what to do "
            "where there is none"
        )
