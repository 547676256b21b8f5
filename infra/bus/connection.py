"""A connection that never gives up, and says when it is down."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog
from nats.aio.client import Client
from nats.errors import StaleConnectionError, UnexpectedEOF
from nats.js import JetStreamContext

from infra.bus.topology import inbox_prefix

log = structlog.get_logger()

T = TypeVar("T")

PUBLISH_TIMEOUT = 5.0
"""Seconds to wait for a stream to acknowledge a message."""
RECONNECT_EVERY = 0.25
"""Seconds between attempts to reach a broker that is away."""


class Connection(Client):
    """A client that can be asked whether its connection is lost: what was asked over it will never be answered."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = asyncio.Event()
        self.over = False

    async def close(self) -> None:
        """Close for good."""
        await super().close()
        self.over = True

    async def unless_lost(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What comes of some work, or None, at once, when the connection is lost before: then the work is ended."""
        doing, lost = asyncio.create_task(work), asyncio.create_task(self.lost.wait())
        try:
            await asyncio.wait({doing, lost}, return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            doing.cancel()
            lost.cancel()


async def connect(url: str, user: str) -> Connection:
    """Connect as a user. Reconnects for ever: what is unsent meanwhile waits in the outbox, not in the client."""
    client = Connection()

    async def on_disconnect() -> None:
        client.lost.set()
        if not client.is_closed:
            log.warning("bus.disconnected", user=user)

    async def on_reconnect() -> None:
        client.lost.clear()
        log.warning("bus.reconnected", user=user)

    async def on_failure(error: Exception) -> None:
        # Under Python 3.11 a cancellation that meets a refused connection is lost: the client would reconnect for ever.
        if client.over:
            raise asyncio.CancelledError
        await on_error(user, error)

    await client.connect(
        url,
        name=user,
        inbox_prefix=inbox_prefix(user),
        error_cb=on_failure,
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
