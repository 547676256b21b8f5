"""The edge as a process: composed here, served by uvicorn, stopped within two seconds whatever clients hold open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator

import structlog
import uvicorn

from api.app import make_app
from api.deletion import retain
from api.denied import Denied
from api.edge import Edge
from api.figures import Figures
from api.gateway import Gateway
from api.holding import Door, Opened
from api.metrics import Measured, Metrics
from api.recording import Recorder
from api.registry import Registry
from api.sweep import sweep
from api.tables import edge_tables
from api.tokens import Tokens
from api.underway import UnderWay
from api.views.projector import Projector
from api.views.queries import Views
from infra.home import write_secret
from infra.runtime import Runtime, running
from infra.settings import Settings

log = structlog.get_logger()

BACKLOG = 2048
"""Connections that may wait to be taken."""
GRACE_SECONDS = 1.5


class ServerEnded(RuntimeError):
    """The HTTP server ended, and nobody asked it to."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the runtime: it stops the whole process in order."""
        yield


async def run_edge(settings: Settings) -> None:
    """Serve until stopped. Raises TaskGivenUp when a part of it fails for good."""
    async with running("edge", settings, edge_tables()) as runtime, composed(runtime) as edge:
        listening = listen(settings.host, settings.port)
        token, _ = runtime.home.token(settings.admin_token)
        tokens = Tokens(runtime.store, edge.registry.readers, edge.gateway, runtime.home.token_key(), token, opened=Opened(settings))
        denied = Denied()
        await tokens.open()
        recorder = Recorder(runtime.store, runtime.home)
        await recorder.settings(settings)
        denied.record = recorder.denied
        runtime.keep("tokens", tokens.follow)
        runtime.keep("denied", denied.run)
        server = _server(edge, tokens, denied, recorder)
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="http")
        try:
            await _until_started(server, serving)
            host, port = listening.getsockname()[:2]
            if edge.views.leading:
                write_secret(runtime.home.edge_file, json.dumps({"host": host, "port": port}) + "\n")
            log.info("edge.serves", host=host, port=port)
            runtime.ready(f"http://{host}:{port}")
            await _until_stopped(runtime, serving)
        finally:
            runtime.stopping.set()
            server.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await serving
            await denied.enter()
            await recorder.count_refusals()


@contextlib.asynccontextmanager
async def composed(runtime: Runtime) -> AsyncIterator[Edge]:
    """The parts of an edge, with their background tasks."""
    await asyncio.to_thread(runtime.objects.sweep_drafts)
    views = Views.claimed(runtime.home)
    await views.open()
    registry = Registry(runtime.store)
    figures = Figures(runtime.client)
    projector = Projector(views, runtime.client, figures.folded, runtime.relay.heard)
    gateway = Gateway(runtime, UnderWay(views, projector, runtime.settings.max_jobs))
    edge = Edge(runtime, gateway, registry, views, projector, figures)
    runtime.keep("figures", figures.run)
    runtime.keep("view-events", projector.run_events)
    runtime.keep("view-audit", projector.run_audit)
    runtime.keep("view-dead", projector.run_dead)
    runtime.keep("sweep", lambda: sweep(edge))
    runtime.keep("retention", lambda: retain(edge))
    try:
        yield edge
    finally:
        await runtime.end()
        await registry.close()
        await views.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 is a free one. Raises OSError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio switches Nagle's algorithm off only where it is, and answers would wait 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def _server(edge: Edge, tokens: Tokens, denied: Denied, recorder: Recorder) -> _Server:
    metrics = Metrics(denied, opened=edge.settings.metrics_open)
    config = uvicorn.Config(
        Measured(Door(make_app(edge, tokens, denied, metrics, recorder)), metrics),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS,  # type: ignore[arg-type]  # seconds; fractions work
    )
    return _Server(config)


async def _until_started(server: _Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            raise ServerEnded
        await asyncio.sleep(0.005)


async def _until_stopped(runtime: Runtime, serving: asyncio.Task[None]) -> None:
    """Wait for the end of the process. Raises ServerEnded or TaskGivenUp."""
    stopped = asyncio.create_task(runtime.until_stopped())
    await asyncio.wait({stopped, serving}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done() and not runtime.stopping.is_set():
        stopped.cancel()
        raise ServerEnded
    await stopped
