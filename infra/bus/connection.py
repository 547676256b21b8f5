"""A connection that never gives up, and says when it is down."""

from __future__ import annotations

from functools import partial

import structlog
from nats.aio.client import Client
from nats.errors import StaleConnectionError, UnexpectedEOF
from nats.js import JetStreamContext

from infra.bus.topology import inbox_prefix

log = structlog.get_logger()

PUBLISH_TIMEOUT = 5.0
"""Seconds to wait for a stream to acknowledge a message."""
RECONNECT_EVERY = 0.25
"""Seconds between attempts to reach a broker that is away."""


async def connect(url: str, user: str) -> Client:
    """Connect as a user. Reconnects for ever: what is unsent meanwhile waits in the outbox, not in the client."""
    client = Client()

    async def on_disconnect() -> None:
        if not client.is_closed:
            log.warning("bus.disconnected", user=user)

    async def on_reconnect() -> None:
        log.warning("bus.reconnected", user=user)

    await client.connect(
        url,
        name=user,
        inbox_prefix=inbox_prefix(user),
        error_cb=partial(on_error, user),
        disconnected_cb=on_disconnect,
        reconnected_cb=on_reconnect,
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=RECONNECT_EVERY,  # type: ignore[arg-type]  # seconds; fractions work
        connect_timeout=5,
        ping_interval=20,
    )
    return client


async def on_error(user: str, error: Exception) -> None:
    """Say what the client would keep to itself: a permission denied, a message dropped. That it reconnects is said once, elsewhere."""
    if not isinstance(error, OSError | EOFError | UnexpectedEOF | StaleConnectionError):
        log.warning("bus.error", user=user, error=type(error).__name__, detail=str(error)[:200])


def jetstream(client: Client) -> JetStreamContext:
    return client.jetstream(timeout=PUBLISH_TIMEOUT)
