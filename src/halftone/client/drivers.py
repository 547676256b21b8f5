"""Carrying flows out with httpx, once blocking and once awaited: the only places of the client that read or write a socket."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self, TypeVar

import httpx

from halftone.client.flow import Effect, Flow, Lost, Open, Read, Send, Sleep, Steps, Tell
from halftone.client.request import Answer, Request

T = TypeVar("T")
_BROKEN = (httpx.TransportError, httpx.InvalidURL, httpx.StreamError)


class BlockingDriver:
    """Runs flows in the calling thread."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end, and give what it returns."""
        steps = Steps(flow)
        with _Line(self.http) as line:
            while steps.effect is not None:
                line.step(steps, steps.effect)
        return steps.result

    def each(self, flow: Flow[None]) -> Iterator[Any]:
        """Give what a flow tells, as it tells it."""
        steps = Steps(flow)
        with contextlib.closing(flow), _Line(self.http) as line:
            while steps.effect is not None:
                if isinstance(steps.effect, Tell):
                    yield steps.effect.value
                line.step(steps, steps.effect)


class AwaitingDriver:
    """Runs flows on the event loop."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end, and give what it returns."""
        steps = Steps(flow)
        async with _AsyncLine(self.http) as line:
            while steps.effect is not None:
                await line.step(steps, steps.effect)
        return steps.result

    async def each(self, flow: Flow[None]) -> AsyncIterator[Any]:
        """Give what a flow tells, as it tells it."""
        steps = Steps(flow)
        with contextlib.closing(flow):
            async with _AsyncLine(self.http) as line:
                while steps.effect is not None:
                    if isinstance(steps.effect, Tell):
                        yield steps.effect.value
                    await line.step(steps, steps.effect)


class _Line:
    """What one blocking flow has open."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._response is not None:
            self._response.close()

    def step(self, steps: Steps[T], effect: Effect) -> None:
        try:
            value = self._perform(effect)
        except _BROKEN as error:
            steps.failed(_lost(error))
        else:
            steps.done(value)

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Send(request) | Open(request):
                self.__exit__()
                with contextlib.ExitStack() as files:
                    self._response = self._http.send(_built(self._http, request, files), stream=True)
                if isinstance(effect, Send) or self._response.is_error:
                    return _answer(self._response, self._response.read())
                self._chunks = self._response.iter_bytes()
                return _answer(self._response)
            case Read():
                return next(self._chunks, b"")
            case Sleep(seconds):
                time.sleep(seconds)
            case Tell():
                pass
        return None


class _AsyncLine:
    """What one awaited flow has open."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._response is not None:
            await self._response.aclose()

    async def step(self, steps: Steps[T], effect: Effect) -> None:
        try:
            value = await self._perform(effect)
        except _BROKEN as error:
            steps.failed(_lost(error))
        else:
            steps.done(value)

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Send(request) | Open(request):
                await self.__aexit__()
                with contextlib.ExitStack() as files:
                    self._response = await self._http.send(_built(self._http, request, files), stream=True)
                if isinstance(effect, Send) or self._response.is_error:
                    return _answer(self._response, await self._response.aread())
                self._chunks = self._response.aiter_bytes()
                return _answer(self._response)
            case Read():
                return await anext(self._chunks, b"")
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Tell():
                pass
        return None


def _built(http: httpx.Client | httpx.AsyncClient, request: Request, files: contextlib.ExitStack) -> httpx.Request:
    """The request as httpx wants it. A file is opened anew for each try, and closed with the stack."""
    given: dict[str, Any] = {"params": dict(request.query), "headers": dict(request.headers)}
    if request.content is not None:
        given["content"] = request.content
        given["headers"]["Content-Type"] = "application/json"
    if request.file is not None:
        given["files"] = {"file": (request.file.name, files.enter_context(request.file.open()), request.file.media_type)}
        given["data"] = dict(request.form)
    if request.seconds is not None:
        given["timeout"] = request.seconds
    return http.build_request(request.method, request.path, **given)


def _answer(response: httpx.Response, body: bytes = b"") -> Answer:
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def _lost(error: Exception) -> Lost:
    reason = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    return Lost(reason, hopeless=isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL))
