"""A job's story as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from litestar.response import ServerSentEventMessage

from api.edge import Edge
from api.views.changes import Changes
from contracts.views import JobEventView, JobView, ProgressView

PING_SECONDS = 15.0
"""A connection that carries nothing for longer may be cut by what lies between."""


async def story(edge: Edge, job: JobView, after: int) -> AsyncGenerator[ServerSentEventMessage, None]:
    """Events after a sequence, then those to come, until the one that ends the job; or until this process stops."""
    stopping: asyncio.Future[Any] = asyncio.ensure_future(edge.runtime.stopping.wait())
    try:
        # Listening comes first: what happens while the past is read is told again, not lost.
        async with edge.projector.changes(job.id) as changes:
            over = job.state.terminal
            while True:
                for event in await edge.views.job_events(job.id, after):
                    after = event.sequence
                    yield _event(event)
                    over |= event.terminal
                if over:
                    return
                async for message in _meanwhile(changes, stopping):
                    yield message
                over = stopping.done()
    finally:
        stopping.cancel()


async def _meanwhile(changes: Changes, stopping: asyncio.Future[Any]) -> AsyncGenerator[ServerSentEventMessage, None]:
    """Progress and pings, until there are new events or the process stops."""
    while True:
        news: asyncio.Future[Any] = asyncio.ensure_future(changes.get())
        try:
            while not (await asyncio.wait({news, stopping}, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]:
                yield ServerSentEventMessage(comment="ping", data=None)
        finally:
            news.cancel()
        if stopping.done() or (progress := news.result()) is None:
            return
        yield _progress(progress)


def _event(event: JobEventView) -> ServerSentEventMessage:
    return ServerSentEventMessage(id=event.sequence, event=event.type, data=event.model_dump_json())


def _progress(progress: ProgressView) -> ServerSentEventMessage:
    return ServerSentEventMessage(event="progress", data=progress.model_dump_json())
