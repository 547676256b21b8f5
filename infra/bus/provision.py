"""Makes streams and durables what the topology says. Doing it twice changes nothing; what would lose messages is refused."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from infra.bus.topology import ACK_WAIT, DURABLES, STREAMS, Durable


class DestructiveChange(RuntimeError):
    """The broker holds a stream that cannot become what is declared without losing messages."""


async def provision(js: JetStreamContext) -> None:
    """Make what is missing and update what may be updated. Raises DestructiveChange."""
    for stream in STREAMS:
        await _stream(js, stream)
    for durable in DURABLES:
        await ensure_durable(js, durable)


async def _stream(js: JetStreamContext, wanted: StreamConfig) -> None:
    assert wanted.name is not None  # noqa: S101  # every declared stream has a name
    try:
        held = (await js.stream_info(wanted.name)).config
    except NotFoundError:
        await js.add_stream(wanted)
        return
    for fixed in ("retention", "storage", "subjects"):
        if getattr(held, fixed) != getattr(wanted, fixed):
            raise DestructiveChange(f"stream {wanted.name}: {fixed} is {getattr(held, fixed)}, declared is {getattr(wanted, fixed)}")
    await js.update_stream(wanted)


async def ensure_durable(js: JetStreamContext, durable: Durable) -> None:
    """Make a durable. Of one that is there the cursor stays, and so does everything but how long it waits for an acknowledgement."""
    try:
        held = (await js.consumer_info(durable.stream, durable.name)).config
    except NotFoundError:
        await js.add_consumer(durable.stream, durable.consumer())
        return
    if held.ack_wait != ACK_WAIT:
        await js.add_consumer(durable.stream, held.evolve(ack_wait=ACK_WAIT))
