"""Reading a stream in order from a known position, without a cursor on the broker that could disagree.

The broker repeats each message it has stored on a subject of its own, with the sequence in a header. That is the news; what was
missed (at the start, after a gap) is fetched by sequence.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.api import StatusCode

from contracts.ids import MessageId

log = structlog.get_logger()

FETCH = 500
"""Most messages of one look into the past."""
FETCH_TIMEOUT = 5.0
"""Seconds to wait for the next message of a look."""
LOOK_EVERY = 2.0
"""Seconds after which the stream is asked, should the news have been lost."""
AGAIN_AFTER = 0.5
"""Seconds before the broker is asked again that did not answer."""
PENDING = 4096
"""News kept while the reader is busy; what is over is fetched again by sequence."""


@dataclass(frozen=True)
class Stored:
    """A message as its stream holds it."""

    sequence: int
    message_id: MessageId
    body: bytes


class PositionLost(RuntimeError):
    """The stream no longer holds what this reader has read: it was replaced by another, or by an older copy."""


Apply = Callable[[Sequence[Stored]], Awaitable[None]]


class Tail:
    """Feeds a stream's messages, in order and without gaps, to a function that stores their effect and the position together."""

    def __init__(self, client: Client, stream: str, repeated: str, *, gather: float = 0.0) -> None:
        """``gather``: seconds for which the first news waits for more, to be applied together."""
        self._client, self._stream, self._repeated, self._gather = client, stream, repeated, gather
        self._news: asyncio.Queue[Stored] = asyncio.Queue(PENDING)
        self._message_id: MessageId | None = None
        self._checked: int | None = None
        self.position = 0
        """Sequence up to which everything was applied."""
        self.last = 0
        """Last sequence that the broker was seen to hold."""

    def behind(self) -> int:
        """Messages that the broker was seen to hold, and that are not applied yet."""
        return max(0, self.last - self.position)

    async def follow(self, position: int, message_id: MessageId | None, apply: Apply) -> None:
        """Apply everything after a position, for ever. Raises PositionLost, also when the stream is replaced meanwhile."""
        self.position, self._message_id = position, message_id
        subscription = await self._client.subscribe(self._repeated, cb=self._hear)
        try:
            await self._catch_up(apply)
            while True:
                try:
                    # Not wait_for: under Python 3.11 that loses a cancellation which comes at the moment of the news.
                    async with asyncio.timeout(LOOK_EVERY):
                        first = await self._news.get()
                except TimeoutError:
                    await self._catch_up(apply)
                    continue
                if self._gather:
                    await asyncio.sleep(self._gather)
                await self._take(first, apply)
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    async def _take(self, first: Stored, apply: Apply) -> None:
        """Apply a run of news; fetch instead where one is missing, or where the broker may be another than before."""
        if self._checked != self._connection():
            await self._catch_up(apply)
            return
        run: list[Stored] = []
        expected = self.position + 1
        heard: Stored | None = first
        while heard is not None and len(run) < FETCH:
            if heard.sequence == expected:
                run.append(heard)
                expected += 1
            elif heard.sequence > expected:
                break
            heard = None if self._news.empty() else self._news.get_nowait()
        if run:
            await self._applied(run, apply)
        if heard is not None or not run:
            await self._catch_up(apply)

    async def _applied(self, run: Sequence[Stored], apply: Apply) -> None:
        await apply(run)
        self.position, self._message_id = run[-1].sequence, run[-1].message_id
        self.last = max(self.last, self.position)

    def _connection(self) -> int:
        """Which connection this is, counted by the client."""
        return int(self._client.stats["reconnects"])

    async def _hear(self, message: Msg) -> None:
        stored = _stored(message, "Nats-Sequence")
        if stored is None or self._news.full():
            return
        self.last = max(self.last, stored.sequence)
        self._news.put_nowait(stored)

    async def _catch_up(self, apply: Apply) -> None:
        """Fetch what follows the position, along with what lies there: it must be the message that was read."""
        while True:
            connection = self._connection()
            try:
                held = [m async for m in self._fetch(max(1, self.position), FETCH)]
            except (NatsError, TimeoutError, OSError) as error:
                if self._client.is_closed:
                    raise
                log.info("tail.broker_away", stream=self._stream, error=type(error).__name__)
                await asyncio.sleep(AGAIN_AFTER)
                return
            batch = self._after_position(held)
            self._checked = connection
            if not batch:
                return
            await self._applied(batch, apply)

    def _after_position(self, held: Sequence[Stored]) -> Sequence[Stored]:
        if not self.position:
            return held
        if not held or (held[0].sequence, held[0].message_id) != (self.position, self._message_id):
            raise PositionLost(f"{self._stream} at {self.position} is not what was read there")
        return held[1:]

    async def _fetch(self, start: int, count: int) -> AsyncIterator[Stored]:
        """Messages from a sequence on, by direct batch get (ADR-31). Raises NoRespondersError while the stream is not there."""
        inbox = self._client.new_inbox()
        replies: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await self._client.subscribe(inbox, cb=replies.put)
        try:
            request = json.dumps({"seq": start, "batch": count}).encode()
            await self._client.publish(f"$JS.API.DIRECT.GET.{self._stream}", request, reply=inbox)
            while True:
                async with asyncio.timeout(FETCH_TIMEOUT):
                    message = await replies.get()
                stored = _stored(message, "Nats-Sequence")
                if stored is not None:
                    # How much there is after it: the news says nothing of what was stored while nobody listened.
                    self.last = max(self.last, stored.sequence + int((message.headers or {}).get("Nats-Num-Pending", 0)))
                    yield stored
                elif (message.headers or {}).get("Status") == StatusCode.SERVICE_UNAVAILABLE:
                    raise NoRespondersError
                else:
                    return
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()


async def last_message(client: Client, stream: str, subject: str) -> bytes | None:
    """The body of the newest message on a subject, which may have wildcards; None if there is none. Raises NatsError or TimeoutError."""
    request = json.dumps({"last_by_subj": subject}).encode()
    message = await client.request(f"$JS.API.DIRECT.GET.{stream}", request, timeout=FETCH_TIMEOUT)
    return message.data if _stored(message, "Nats-Sequence") is not None else None


def _stored(message: Msg, sequence_header: str) -> Stored | None:
    """The message, or None for the status that ends a batch."""
    headers = message.headers or {}
    if sequence_header not in headers:
        return None
    return Stored(int(headers[sequence_header]), headers.get("Nats-Msg-Id", ""), message.data)
