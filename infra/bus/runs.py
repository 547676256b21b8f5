"""Serving a ``run`` durable: a slot first, then a fetch, so that no job's clock starts before its work can."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.envelope import Context, Envelope, UnknownMessage
from contracts.ids import derived_message_id
from contracts.records import DeadLetter
from infra.bus.connection import jetstream
from infra.bus.topology import Durable
from infra.database.store import Store, Transaction
from infra.runtime import Runtime

log = structlog.get_logger()

FETCH_SECONDS = 5.0
"""A fetch that a broker forgets, because it ends, holds its slot up for so long at most."""
LATER_SECONDS = 2.0


class Verdict(Enum):
    """What becomes of a message after its handler."""

    DONE = "done"
    """Its effect is committed: acknowledge."""
    LATER = "later"
    """Somebody else works on it, or something is away: deliver again after a pause."""


@dataclass(frozen=True)
class Delivery:
    """A message with its address, and the way to say that work on it goes on."""

    envelope: Envelope
    alive: Callable[[], Awaitable[None]]


Handler = Callable[[Delivery], Awaitable[Verdict]]


class RunLoop:
    """Fetches one message per free slot and hands it to the handler."""

    def __init__(self, runtime: Runtime, durable: Durable, handler: Handler) -> None:
        self._runtime, self._durable, self._handler = runtime, durable, handler

    async def run(self, slots: int) -> None:
        """Serve for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(slots):
                group.create_task(self._slot())

    async def _slot(self) -> None:
        js = jetstream(self._runtime.client)
        subscription = await js.pull_subscribe_bind(self._durable.name, self._durable.stream)
        while True:
            try:
                messages = await subscription.fetch(1, timeout=FETCH_SECONDS)
            except TimeoutError:
                continue
            except (NatsError, OSError) as error:
                log.info("runs.broker_away", durable=self._durable.name, error=type(error).__name__)
                await asyncio.sleep(LATER_SECONDS / 4)
                continue
            for message in messages:
                await self._serve(message)

    async def _serve(self, message: Msg) -> None:
        try:
            envelope = Envelope.load(message.data)
            envelope.message  # noqa: B018  # read now, so that what cannot be read is known before anything is done
        except (ValidationError, UnknownMessage) as error:
            await bury(self._runtime.store, self._runtime.source, message, "unreadable")
            log.warning("message.unreadable", subject=message.subject, error=type(error).__name__)
            await settle(message, Verdict.DONE)
            return
        try:
            verdict = await self._handler(Delivery(envelope, message.in_progress))
        except asyncio.CancelledError:
            # This process stops: another instance, or the next run of this one, need not wait for the message.
            await asyncio.shield(settle(message, Verdict.LATER))
            raise
        except Exception:
            log.exception("message.failed", type=envelope.type, message=envelope.id)
            verdict = Verdict.LATER
        await settle(message, verdict)


async def settle(message: Msg, verdict: Verdict) -> None:
    """Tell the broker; if it does not hear, it delivers again, and the inbox knows the message."""
    try:
        if verdict is Verdict.DONE:
            await message.ack()
        else:
            await message.nak(delay=LATER_SECONDS)
    except (NatsError, OSError) as error:
        log.info("message.unsettled", error=type(error).__name__)


async def bury(store: Store, source: str, message: Msg, reason: str) -> None:
    """Keep a copy of what cannot be handled, with the reason, in DEAD."""
    original = (message.headers or {}).get("Nats-Msg-Id", message.subject)
    body = base64.b64encode(message.data[:65536]).decode()
    letter = DeadLetter(reason=reason, attempts=message.metadata.num_delivered, stream_subject=message.subject, body=body)
    envelope = Envelope.wrap(letter, Context.new(), source=source, message_id=derived_message_id(original, "dead", 0))

    def change(tx: Transaction) -> None:
        if tx.first_time(envelope.id):
            tx.send(envelope)

    await store.write(change)
