"""Makes streams and durables what the topology says. Doing it twice changes nothing; what would lose messages is refused."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from infra.bus.topology import DURABLES, STREAMS, Durable


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
    """Make a durable, or leave the one that is there: its cursor is worth more than a changed setting."""
    try:
        await js.consumer_info(durable.stream, durable.name)
    except NotFoundError:
        await js.add_consumer(durable.stream, durable.consumer())
