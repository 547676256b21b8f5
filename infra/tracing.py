"""Spans for a collector of OpenTelemetry: one trace per job, carried in each envelope from the edge to the worker's steps.

Off by default, and then next to nothing is done: the trace's id is carried on all the same, for the log lines. A span holds ids, kinds,
states and codes; what an exception says is never put into one.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import structlog
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from contracts.envelope import Envelope, TraceParent
from infra import logs

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

log = structlog.get_logger()

T = TypeVar("T")
EXPORT_SECONDS = 3.0
"""How long a collector that does not answer may hold up a batch of spans, or the end of a process."""
MOST_LINKS = 100
"""Traces that a span of many names."""
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_tracer: trace.Tracer | None = None
_carried: ContextVar[TraceParent | None] = ContextVar("traceparent", default=None)
_NOTHING: AbstractContextManager[Span] = contextlib.nullcontext(INVALID_SPAN)


class TracingNotInstalled(RuntimeError):
    """HALFTONE_OTLP_ENDPOINT is set, and what sends spans is not installed: pip install 'halftone-data[otel]'."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def exporter(endpoint: str) -> SpanExporter:
    """What sends spans to a collector, over HTTP. Raises TracingNotInstalled."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # an extra
    except ImportError:
        raise TracingNotInstalled from None
    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)


def configure(endpoint: str, process: str) -> None:
    """Send this process's spans to a collector, in batches and from a thread of their own; without one, make none.

    Raises TracingNotInstalled.
    """
    global _tracer  # noqa: PLW0603  # as OpenTelemetry itself: one per process
    if not endpoint:
        return
    sends = exporter(endpoint)
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.namespace": "halftone", "service.name": process}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(sends))
    trace.set_tracer_provider(provider)
    _tracer = provider.get_tracer("halftone")


def finish() -> None:
    """Send what is left. A collector that is away holds this up for a few seconds at most."""
    if _tracer is not None:
        trace.get_tracer_provider().force_flush(int(EXPORT_SECONDS * 1000))  # type: ignore[attr-defined]  # the SDK's, as configured


def span(
    name: str,
    parent: TraceParent | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    links: Collection[TraceParent | None] = (),
    attributes: Mapping[str, str | int] | None = None,
) -> AbstractContextManager[Span]:
    """A span below a given one, or below the one that is open; nothing where none are made."""
    return _NOTHING if _tracer is None else _made(_tracer, name, parent, kind=kind, links=links, attributes=attributes)


@contextlib.contextmanager
def _made(
    tracer: trace.Tracer,
    name: str,
    parent: TraceParent | None,
    *,
    kind: SpanKind,
    links: Collection[TraceParent | None],
    attributes: Mapping[str, str | int] | None,
) -> Iterator[Span]:
    context = None if parent is None else trace.set_span_in_context(NonRecordingSpan(_context(parent)))
    linked = [Link(_context(each)) for each in {each for each in links if each is not None}][:MOST_LINKS]
    # The texts of exceptions may quote data: neither they nor tracebacks are recorded.
    with tracer.start_as_current_span(
        name, context, kind, attributes, linked, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except Exception as error:
            broke(made, type(error).__qualname__)
            raise


def broke(made: Span, why: str) -> None:
    """Mark a span as one that ended badly, by a class or a code."""
    made.set_attribute("error.type", why)
    made.set_status(StatusCode.ERROR)


class Steps:
    """The spans of a worker's steps, one after the other: each begins where the one before ends."""

    def __init__(self) -> None:
        self._name = ""
        self._span: Span = INVALID_SPAN

    def reached(self, name: str) -> None:
        """A step has begun, or goes on."""
        if _tracer is not None and name != self._name:
            self.end()
            self._name, self._span = name, _tracer.start_span(name)

    def end(self) -> None:
        self._span.end()


@contextlib.contextmanager
def steps() -> Iterator[Steps]:
    """A worker's steps, as it tells of them: it has no connection to anywhere but its executor."""
    told = Steps()
    try:
        yield told
    finally:
        told.end()


@contextlib.contextmanager
def request(method: str, given: bytes, *, watched: bool = False) -> Iterator[Span]:
    """Answer a request in the trace that it names, or in a new one; one that only watches makes no span."""
    said = given.decode("latin-1")
    parent = said if _TRACEPARENT.fullmatch(said) else None
    opened = _NOTHING if watched else span(method, parent, kind=SpanKind.SERVER, attributes={"http.request.method": method})
    with opened as made:
        carried = _of(made) or parent or _new()
        token = _carried.set(carried)
        try:
            with logs.about({"trace": _trace_of(carried)}):
                yield made
        finally:
            _carried.reset(token)


def _new() -> TraceParent:
    drawn = os.urandom(24).hex()
    return f"00-{drawn[:32]}-{drawn[32:]}-01"


def carried() -> TraceParent | None:
    """What a message that this request causes is to carry."""
    return _carried.get()


async def handled(envelope: Envelope, handle: Callable[[Envelope], Awaitable[T]]) -> T:
    """Have a message handled in its trace: what it causes is below this span. Raises what the handler raises."""
    with logs.about(ids(envelope)):
        if _tracer is None:
            done = await handle(envelope)
        else:
            named = {"messaging.message.id": envelope.id} | {f"halftone.{name}": job for name, job in _job(envelope).items()}
            with span(envelope.type, envelope.traceparent, kind=SpanKind.CONSUMER, attributes=named) as made:
                done = await handle(envelope.model_copy(update={"traceparent": _of(made)}))
        log.info("message.handled", type=envelope.type)
        return done


def ids(envelope: Envelope) -> dict[str, str]:
    """What log lines call a message: by its id, its job and its trace."""
    traced = {} if envelope.traceparent is None else {"trace": _trace_of(envelope.traceparent)}
    return {"message": envelope.id, **_job(envelope), **traced}


def _job(envelope: Envelope) -> dict[str, str]:
    job = envelope.data.get("job")
    return {"job": job} if isinstance(job, str) else {}


def note(name: str, value: str | int) -> None:
    """Add to the span that is open."""
    if _tracer is not None:
        trace.get_current_span().set_attribute(name, value)


def _trace_of(traceparent: TraceParent) -> str:
    return traceparent[3:35]


def _of(made: Span) -> TraceParent | None:
    context = made.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}" if context.is_valid else None


def _context(traceparent: TraceParent) -> SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
