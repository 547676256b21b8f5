"""Figures of a running edge, in the text that Prometheus reads.

Counting costs a request some microseconds; all else is read when somebody asks for it.
"""

from __future__ import annotations

import time
from http import HTTPStatus

import structlog
from litestar import Response, Router, get
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Send
from opentelemetry.trace import Span
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.auth import OPEN, VERB
from api.denied import Denied
from api.edge import Edge
from api.policy import Verb
from api.v1.parameters import TheEdge
from api.views.projector import REPEATED
from infra import tracing

log = structlog.get_logger()

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
JOBS_EVERY = 5.0
"""Seconds for which jobs are not counted again, however often figures are asked for."""
UPLOAD = ("POST", "/v1/datasets")
WATCHED = ("/health", "/metrics")
"""What is asked for again and again by whoever watches: no request of anybody's, and so without a trace."""
UNSERVED = "unserved"
"""The route of requests that no route serves: what strangers ask for is never a label."""


class Metrics:
    """What is counted, and how it is told."""

    def __init__(self, denied: Denied, *, opened: bool = False) -> None:
        self.opened = opened
        """Whether figures are told without a token."""
        self._denied = denied
        self.registry = CollectorRegistry()
        self.requests = Counter("halftone_requests", "Requests that were answered", ["method", "route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "halftone_request_seconds", "Seconds until an answer began", ["method", "route"], buckets=BUCKETS, registry=self.registry
        )
        self.uploaded = Counter("halftone_upload_bytes", "Bytes of uploads, as sent", registry=self.registry)
        self._jobs = Gauge("halftone_jobs", "Jobs by kind and state", ["kind", "state"], registry=self.registry)
        self._lag = Gauge("halftone_view_lag_messages", "Messages that a view is behind its stream", ["stream"], registry=self.registry)
        self._dead = Gauge("halftone_dead_letters", "Messages that were given up and wait for somebody's decision", registry=self.registry)
        told = "Messages that the broker had lost and that were sent again"
        self._lost = Gauge("halftone_bus_lost_messages", told, ["part", "stream"], registry=self.registry)
        self._bus = Gauge("halftone_bus_connected", "1 while the broker is there", registry=self.registry)
        self._refused = Gauge("halftone_requests_denied", "Requests without a valid token since the start", registry=self.registry)
        self._counted = -JOBS_EVERY

    async def text(self, edge: Edge) -> bytes:
        """Every figure."""
        now = time.monotonic()
        if now - self._counted >= JOBS_EVERY:
            self._counted = now
            self._jobs.clear()
            for part, stream, lost in await edge.views.repairs():
                self._lost.labels(part, stream).set(lost)
            self._dead.set(await edge.views.letters_waiting())
            for kind, state, count in await edge.views.job_counts():
                self._jobs.labels(kind, state).set(count)
        for stream in REPEATED:
            self._lag.labels(stream).set(edge.projector.last(stream) - edge.projector.position(stream))
        self._bus.set(edge.runtime.client.is_connected)
        self._refused.set(self._denied.total)
        edge.figures.own(edge.runtime.name, waiting=await edge.registry.waiting(), failing=len(edge.runtime.failing))
        return generate_latest(self.registry) + await edge.figures.text()


class Measured:
    """An application with its requests counted, each in its trace."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        with tracing.request(scope["method"], given, watched=scope["path"].startswith(WATCHED)) as span:

            async def answered(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._answered(scope, message["status"], time.perf_counter() - began, span)
                await send(message)

            upload = (scope["method"], scope["path"].rstrip("/")) == UPLOAD
            await self._app(scope, self._weighed(receive) if upload else receive, answered)

    def _answered(self, scope: HTTPScope, status: int, seconds: float, span: Span) -> None:
        method, route = scope["method"], scope.get("path_template") or UNSERVED
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        log.info("request.answered", method=method, route=route, status=status, milliseconds=round(seconds * 1000, 1))
        if span.is_recording():
            span.update_name(f"{method} {route}")
            span.set_attributes({"http.route": route, "http.response.status_code": status})
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                tracing.broke(span, str(status))

    def _weighed(self, receive: Receive) -> Receive:
        async def weighed() -> HTTPReceiveMessage:
            message = await receive()
            if message["type"] == "http.request":
                self._metrics.uploaded.inc(len(message["body"]))
            return message  # type: ignore[return-value]  # there are no web sockets here

        return weighed


def metrics_router(metrics: Metrics) -> Router:
    """``GET /metrics``, for holders of a token or, where it is set so, for everybody."""

    @get(
        "/",
        media_type="text/plain",
        operation_id="getMetrics",
        summary="Figures for Prometheus",
        opt={OPEN: True} if metrics.opened else {VERB: Verb.SYSTEM_READ},
    )
    async def figures(edge: TheEdge) -> Response[bytes]:
        """Requests by route and status, their latency, jobs by kind and state, how far views are behind, what waits for the broker."""
        return Response(await metrics.text(edge), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return Router("/metrics", route_handlers=[figures], tags=["health"])
