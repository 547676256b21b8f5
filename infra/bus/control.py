"""Short handlers, carried by FastStream: commands that never wait for a slot, and events an actor acts on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from faststream import AckPolicy
from faststream.exceptions import NackMessage
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from pydantic import ValidationError

from contracts.envelope import Envelope, UnknownMessage
from infra.bus.connection import RECONNECT_EVERY, on_error
from infra.bus.retries import GiveUp, Retries, nothing_else
from infra.bus.runs import FETCH_SECONDS
from infra.bus.topology import Durable, inbox_prefix
from infra.home import BusAccess
from infra.runtime import Runtime
from infra.tracing import handled

log = structlog.get_logger()

Handle = Callable[[Envelope], Awaitable[None]]


async def serve(runtime: Runtime, handlers: dict[Durable, Handle], give_up: GiveUp = nothing_else) -> None:
    """Serve durables until the actor stops. A handler that raises gets its message again after a pause, or has it taken from it."""
    retries = Retries(runtime.store, runtime.source, give_up)
    access = BusAccess.of(runtime.settings)
    broker = NatsBroker(
        access.url(runtime.name),
        name=f"{runtime.name}-ctl",
        inbox_prefix=inbox_prefix(runtime.name),
        max_reconnect_attempts=-1,
        reconnect_time_wait=RECONNECT_EVERY,  # type: ignore[arg-type]  # seconds; fractions work
        ack_policy=AckPolicy.NACK_ON_ERROR,
        error_cb=partial(on_error, runtime.name),
        logger=None,
    )
    for durable, handle in handlers.items():
        _subscribe(runtime, broker, durable, handle, retries)
    async with broker:
        await broker.start()
        await runtime.stopping.wait()


def _subscribe(runtime: Runtime, broker: NatsBroker, durable: Durable, handle: Handle, retries: Retries) -> None:
    subscriber = broker.subscriber(
        durable.filters[0] if len(durable.filters) == 1 else ">",
        durable=durable.name,
        # The topology's provisioning alone declares streams: FastStream would overwrite them.
        stream=JStream(durable.stream, declare=False),
        pull_sub=PullSub(batch_size=1, timeout=FETCH_SECONDS),
        decoder=_raw,
        inbox_prefix=f"{inbox_prefix(runtime.name)}.".encode(),
    )

    @subscriber
    async def deliver(body: bytes, message: NatsMessage) -> None:
        try:
            envelope = Envelope.load(body)
            envelope.message  # noqa: B018  # read now: what cannot be read is no reason to try again
        except (ValidationError, UnknownMessage):
            await retries.unreadable(message.raw_message)
            return
        try:
            await handled(envelope, handle)
        except Exception as error:
            verdict = await retries.after(message.raw_message, envelope, error)
            if verdict.again_in is not None:
                raise NackMessage(delay=verdict.again_in) from error


async def _raw(message: NatsMessage) -> bytes:
    return message.body
