"""What it costs to be watched: processor time per message and request, without a collector and with one.

python tests/bench/tracing.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contracts.commands import RunJob
from contracts.envelope import Context, Envelope
from contracts.ids import new_id
from contracts.jobs import NoopSpec
from figures import Figure, show
from infra import logs, tracing

TIMES, ROUNDS = 20_000, 5
MESSAGES, REQUESTS = 2, 2
"""Of a noop job: its command and its end are handled; it is asked for, and waited for."""
JOB_SECONDS = 0.010
"""Processor time of a noop job over all processes (docs/benchmarks.md)."""


async def nothing(_: Envelope) -> None:
    """Handle a message."""


async def bare(envelope: Envelope) -> None:
    await nothing(envelope)


async def message(envelope: Envelope) -> None:
    await tracing.handled(envelope, nothing)


async def request(_: Envelope) -> None:
    with tracing.request("POST", b""):
        pass


async def seconds(work: Callable[[Envelope], Awaitable[None]], envelope: Envelope) -> float:
    """Processor time of one call, the least of some rounds: what else the machine does is not meant."""
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(TIMES):
            await work(envelope)
        least = min(least, time.thread_time() - began)
    return least / TIMES


async def measured() -> tuple[float, float]:
    envelope = Envelope.wrap(RunJob(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")
    without = await seconds(bare, envelope)
    return await seconds(message, envelope) - without, await seconds(request, envelope) - without


def told(what: str, handled: float, asked: float) -> list[Figure]:
    job = MESSAGES * handled + REQUESTS * asked
    figure = f"{job * 1e6:.0f} µs, {job / JOB_SECONDS:.2%} of its processor time"
    return [
        Figure(f"{what}: a message, a request", f"{handled * 1e6:.1f} µs, {asked * 1e6:.1f} µs"),
        Figure(f"{what}: a noop job", figure, "negligible" if what == "no collector" else ""),
    ]


async def main() -> list[Figure]:
    logs.configure("warning")
    off = await measured()
    # Spans are made and batched as for a collector; what sending them costs is the exporter's thread's.
    tracing.exporter = lambda _endpoint: InMemorySpanExporter()
    tracing.configure("http://nowhere", "bench")
    return [*told("no collector", *off), *told("a collector", *await measured())]


if __name__ == "__main__":
    show("Tracing", asyncio.run(main()))
