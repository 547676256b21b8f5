"""Serving durables: jobs one per slot, a slot first and then a fetch, so that no clock starts before the work can; events in batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.base import Message
from contracts.envelope import Envelope, UnknownMessage
from infra.bus.connection import jetstream
from infra.bus.retries import GiveUp, Retries, Verdict, nothing_else
from infra.bus.topology import Durable
from infra.failpoints import around
from infra.runtime import Runtime
from infra.tracing import handled

log = structlog.get_logger()

FETCH_SECONDS = 2.0
"""A fetch that a broker forgets, because it ends, holds its slot up for so long at most."""
AWAY_SECONDS = 0.5
"""Before a broker is asked again that is away."""
LIGHT = 64
"""Light messages in the works at a time."""
TOGETHER = 64
"""Most messages that an event loop asks for at once."""


@dataclass(frozen=True)
class Delivery:
    """A message with its address, and the way to say that work on it goes on."""

    envelope: Envelope
    alive: Callable[[], Awaitable[None]]


Handler = Callable[[Delivery], Awaitable[Verdict]]


class RunLoop:
    """Fetches one message per free slot and hands it to the handler. What is light takes none: it is handled beside the slots."""

    def __init__(
        self, runtime: Runtime, durable: Durable, handler: Handler, light: Callable[[Message], bool], give_up: GiveUp = nothing_else
    ) -> None:
        self._server = Server(handler, Retries(runtime.store, runtime.source, give_up))
        self._runtime, self._durable, self._light = runtime, durable, light

    async def run(self, slots: int) -> None:
        """Serve for ever."""
        beside = asyncio.Semaphore(LIGHT)
        async with asyncio.TaskGroup() as group:
            for _ in range(slots):
                group.create_task(self._keep_slot(group, beside))

    async def _keep_slot(self, group: asyncio.TaskGroup, beside: asyncio.Semaphore) -> None:
        """Whatever fails in one slot leaves the jobs of the others alone."""
        while True:
            try:
                await self._slot(group, beside)
            except Exception:
                if self._runtime.client.is_closed:
                    raise
                log.exception("runs.slot_failed", durable=self._durable.name)
                await asyncio.sleep(AWAY_SECONDS)

    async def _slot(self, group: asyncio.TaskGroup, beside: asyncio.Semaphore) -> None:
        js = jetstream(self._runtime.client)
        subscription = await js.pull_subscribe_bind(self._durable.name, self._durable.stream)
        while True:
            try:
                (message,) = await subscription.fetch(1, timeout=FETCH_SECONDS)
            except TimeoutError:
                continue
            except (NatsError, OSError) as error:
                # On a closed connection the client makes this of a cancellation too.
                if self._runtime.client.is_closed:
                    raise
                log.info("runs.broker_away", durable=self._durable.name, error=type(error).__name__)
                await asyncio.sleep(AWAY_SECONDS)
                continue
            envelope = await self._server.read(message)
            if envelope is None:
                continue
            if self._light(envelope.message):
                await beside.acquire()
                task = group.create_task(self._server.serve(message, envelope))
                task.add_done_callback(lambda _: beside.release())
            else:
                await self._server.serve(message, envelope)


class EventLoop:
    """Hands a durable's messages to the handler as they come, in order: those that come together share a commit."""

    def __init__(self, runtime: Runtime, durable: Durable, handler: Handler, give_up: GiveUp = nothing_else) -> None:
        self._server = Server(handler, Retries(runtime.store, runtime.source, give_up))
        self._client, self._durable = runtime.client, durable

    async def run(self) -> None:
        """Serve for ever."""
        inbox, arrived = self._client.new_inbox(), asyncio.Queue[Msg]()
        subscription = await self._client.subscribe(inbox, cb=arrived.put)
        request = json.dumps({"batch": TOGETHER, "expires": int(FETCH_SECONDS * 1e9)}).encode()
        asked = 0
        try:
            while True:
                if asked <= 0:
                    await self._client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{self._durable.stream}.{self._durable.name}", request, inbox)
                    asked = TOGETHER
                batch = await self._next(arrived)
                asked = asked - len(batch) if batch and all(message.reply for message in batch) else 0
                await self._take([message for message in batch if message.reply])
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    @staticmethod
    async def _next(arrived: asyncio.Queue[Msg]) -> list[Msg]:
        """What has come; a status, which has no address for an answer, says that no more will; nothing, that the broker was away."""
        try:
            async with asyncio.timeout(FETCH_SECONDS + 2 * AWAY_SECONDS):
                batch = [await arrived.get()]
        except TimeoutError:
            return []
        while not arrived.empty():
            batch.append(arrived.get_nowait())
        return batch

    async def _take(self, messages: Sequence[Msg]) -> None:
        read = [(message, await self._server.read(message)) for message in messages]
        # Tasks begin in order, and so their changes queue up in order.
        await asyncio.gather(*(self._server.serve(message, envelope) for message, envelope in read if envelope is not None))


class Server:
    """Has one message handled, and settles it."""

    def __init__(self, handler: Handler, retries: Retries) -> None:
        self._handler, self._retries = handler, retries

    async def read(self, message: Msg) -> Envelope | None:
        """Read a message; what cannot be read is buried, and None."""
        try:
            envelope = Envelope.load(message.data)
            envelope.message  # noqa: B018  # read now, so that what cannot be read is known before anything is done
        except (ValidationError, UnknownMessage) as error:
            await self._retries.unreadable(message)
            log.warning("message.unreadable", subject=message.subject, error=type(error).__name__)
            await settle(message, Verdict.DONE)
            return None
        return envelope

    async def serve(self, message: Msg, envelope: Envelope) -> None:
        """Have it handled. A handler that raises gets it again after a pause, or has it taken from it."""
        try:
            verdict = await handled(envelope, lambda mine: self._handler(Delivery(mine, message.in_progress)))
        except asyncio.CancelledError:
            # This process stops: another instance, or the next run of this one, need not wait for the message.
            await asyncio.shield(settle(message, Verdict.LATER))
            raise
        except Exception as error:  # noqa: BLE001  # whatever it was, the message is settled
            verdict = await self._retries.after(message, envelope, error)
        await settle(message, verdict)


@around("message.settle")
async def settle(message: Msg, verdict: Verdict) -> None:
    """Tell the broker; if it does not hear, it delivers again, and the inbox knows the message."""
    try:
        if verdict.again_in is None:
            await message.ack()
        else:
            await message.nak(delay=verdict.again_in)
    except (NatsError, OSError) as error:
        log.info("message.unsettled", error=type(error).__name__)
