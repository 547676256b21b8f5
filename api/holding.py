"""Requests while they are open: how many there may be, and the end of those whose token opens nothing any more.

What waits ends at once: an upload that comes in, a stream or a download that goes out, a wait for a job's end. What is being decided is
left to its end, which takes milliseconds, so that nothing is promised by halves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import StrEnum
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import TokenExpired, TooMany
from contracts.problems import ProblemError
from infra.settings import Settings

HOLDS = "holds"
"""Route option: what a request to it holds open."""


class Hold(StrEnum):
    """What is held open for long, and counted by kind over all tokens."""

    UPLOAD = "upload"
    STREAM = "stream"


class TooManyRequests(TooMany):
    """The token has too many requests open: let some of them end."""

    code = "too-many-requests"


class TooManyUploads(TooMany):
    """Too many uploads are being taken: send this one in a moment."""

    code = "too-many-uploads"
    retry_after = 5


class TooManyStreams(TooMany):
    """Too many event streams are open: close some, or poll."""

    code = "too-many-streams"
    retry_after = 5


class Held:
    """One request, from its first byte to the last of its answer."""

    def __init__(self) -> None:
        self.over: ProblemError | None = None
        """Why it must end, once it must."""
        self.leave: Callable[[], None] = lambda: None
        self._waiting: set[asyncio.Task[Any]] = set()

    def end(self, why: ProblemError) -> None:
        """Wake up whatever waits for this request."""
        self.over = self.over or why
        for task in self._waiting:
            task.cancel()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A wait that ends with the request's right to it. Raises why."""
        task = asyncio.current_task()
        if self.over is not None:
            raise self.over
        if task is None:
            raise RuntimeError("only a task waits")
        self._waiting.add(task)
        try:
            yield
        except asyncio.CancelledError:
            # Cancelled by us alone: somebody else's cancelling is passed on.
            if self.over is None or task.uncancel() > 0:
                raise
            raise self.over from None
        finally:
            self._waiting.discard(task)


_HELD: ContextVar[Held] = ContextVar("held")


def held() -> Held:
    """The request that is being answered."""
    return _HELD.get()


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """A wait on behalf of the request that is being answered, if one is. Raises TokenRevoked or TokenExpired in the midst of it."""
    if (request := _HELD.get(None)) is None:
        yield
        return
    with request.waiting():
        yield


class Opened:
    """The requests that are open, by token and by kind."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_requests
        self._most_of: dict[Hold, tuple[int, type[TooMany]]] = {
            Hold.UPLOAD: (settings.max_uploads, TooManyUploads),
            Hold.STREAM: (settings.max_streams, TooManyStreams),
        }
        self._by_token: defaultdict[bytes, set[Held]] = defaultdict(set)
        self._by_kind: Counter[Hold] = Counter()

    def admit(self, token: bytes, kind: Hold | None, expires: int | None) -> None:
        """Count the request that is being answered, until its end; and end it when its token expires (ms since 1970).

        Raises TooManyRequests, TooManyUploads or TooManyStreams.
        """
        request, others = held(), self._by_token.get(token, ())
        if len(others) >= self._most:
            raise TooManyRequests(f"The token has {len(others)} requests open, as many as it may: let some of them end.", limit=self._most)
        if kind is not None:
            most, problem = self._most_of[kind]
            if self._by_kind[kind] >= most:
                raise problem(limit=most)
            self._by_kind[kind] += 1
        self._by_token[token].add(request)
        timer = None
        if expires is not None:
            timer = asyncio.get_running_loop().call_later(expires / 1000 - time.time(), request.end, TokenExpired())

        def leave() -> None:
            if timer is not None:
                timer.cancel()
            if kind is not None:
                self._by_kind[kind] -= 1
            self._by_token[token].discard(request)
            if not self._by_token[token]:
                del self._by_token[token]

        request.leave = leave

    def end(self, token: bytes, why: ProblemError) -> None:
        """End the waits of every request that a token has open."""
        for request in tuple(self._by_token.get(token, ())):
            request.end(why)


class Door:
    """An application whose requests are held: they leave when they end, and hear of it when they must."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Held()
        _HELD.set(request)
        begun = whole = sized = False

        async def until_over() -> Any:
            # To the application it looks as if the client went away: it stops reading, or writing, and cleans up.
            try:
                with request.waiting():
                    return await receive()
            except ProblemError:
                return {"type": "http.disconnect"}

        async def noted(message: Message) -> None:
            nonlocal begun, whole, sized
            if message["type"] == "http.response.start":
                begun, sized = True, any(name.lower() == b"content-length" for name, _ in message["headers"])
            elif message["type"] == "http.response.body":
                whole = not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, until_over, noted)
            if request.over is not None and begun and not whole and not sized:
                # A stream's orderly end. A download with a length breaks off instead, so that nobody takes a part for the whole.
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            request.leave()
