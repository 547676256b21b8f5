"""What a running system is asked about itself: its jobs as the view sees them pass, its queues as the broker has them, its processes.

Jobs are counted while they are folded, which costs microseconds; the broker is asked when somebody asks here; actors tell by themselves.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from dataclasses import dataclass

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerInfo
from nats.js.errors import APIError
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import ValidationError

from api.views.fold import Row
from api.views.projector import Folded
from contracts import subjects
from contracts.jobs import Actor, JobKind
from contracts.records import Vitals
from infra.bus.topology import OWN_DURABLES
from infra.runtime import VITALS_SECONDS

log = structlog.get_logger()

VISIBLE_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
JOB_BUCKETS = (0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
COARSE = (1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
"""How exactly it is told how long jobs took: a sum of exact times would tell of the rows that they read."""
EXACT = frozenset({JobKind.NOOP, JobKind.SAMPLE})
"""Jobs that read no real data."""
ASK_EVERY = 5.0
"""Seconds for which the broker is not asked again."""
ANSWER_SECONDS = 1.0
UNKNOWN = float("nan")
SILENT_SECONDS = 3 * VITALS_SECONDS
"""After so long a process that says nothing is none."""


@dataclass
class _Heard:
    vitals: Vitals
    at: float


class Figures:
    """One per edge. ``run`` is a background task."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._js = client.jetstream(timeout=ANSWER_SECONDS)
        self._since = time.time()
        self._asked = -ASK_EVERY
        self._processes: dict[str, _Heard] = {}
        self._known: set[Actor] = set()
        self._registry = registry = CollectorRegistry()
        self._visible = Histogram(
            "halftone_job_visible_seconds",
            "Seconds from a job's acceptance until this edge's view shows it",
            ["kind"],
            buckets=VISIBLE_BUCKETS,
            registry=registry,
        )
        self._seconds = Histogram(
            "halftone_job_seconds", "Seconds from a job's acceptance to its end", ["kind", "end"], buckets=JOB_BUCKETS, registry=registry
        )
        self._retries = Counter("halftone_job_retries", "Attempts after the first", ["kind"], registry=registry)
        self._refusals = Counter("halftone_budget_refusals", "Costs that did not fit into a budget", ["code"], registry=registry)
        self._waiting = Gauge("halftone_queue_waiting", "Messages that wait for their actor", ["durable"], registry=registry)
        self._in_flight = Gauge("halftone_queue_in_flight", "Messages that an actor works on", ["durable"], registry=registry)
        self._again = Gauge("halftone_queue_redelivered", "Of those in flight, delivered more than once", ["durable"], registry=registry)
        self._alive = Gauge("halftone_processes", "Processes of an actor that were heard of lately", ["process"], registry=registry)
        self._restarts = Counter("halftone_process_restarts", "Processes that followed or joined another", ["process"], registry=registry)
        self._backlog = Gauge("halftone_outbox_waiting", "Messages that the broker has not acknowledged", ["process"], registry=registry)
        self._failing = Gauge("halftone_tasks_failing", "Background tasks that are down", ["process"], registry=registry)
        self._behind = Gauge("halftone_audit_lag_events", "Events that the audit log does not hold yet", registry=registry)
        self._workers = Counter("halftone_workers_started", "Worker processes that were started", ["process"], registry=registry)
        self._lost = Counter("halftone_workers_lost", "Workers that ended without a word", ["process"], registry=registry)

    async def run(self) -> None:
        """Listen to what processes say of themselves, for ever."""
        subscription = await self._client.subscribe(subjects.VITALS_ALL, cb=self._hear)
        try:
            await asyncio.Event().wait()
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    def folded(self, batch: Folded) -> None:
        """Count what a batch of events says. What happened before this process began is history, and counted by nobody again."""
        for row in batch.rows:
            if row["created"] is not None and _seconds(row["created"]) >= self._since:
                self._job(row, batch)
        kinds = {row["job"]: row["kind"] for row in batch.rows}
        for row in batch.again:
            if _seconds(row["started"]) >= self._since:
                self._retries.labels(kinds[row["job"]] or "unknown").inc()
        for row in batch.refused:
            if _seconds(row["time"]) >= self._since:
                self._refusals.labels(row["code"]).inc()

    def _job(self, row: Row, batch: Folded) -> None:
        created = _seconds(row["created"])
        if row["accepted"] >= batch.first:
            self._visible.labels(row["kind"]).observe(max(0.0, time.time() - created))
        if row["job"] in batch.ended:
            took = max(0.0, _seconds(row["ended"]) - created)
            exact = row["kind"] in EXACT
            self._seconds.labels(row["kind"], row["state"]).observe(took if exact else coarse(took))

    async def _hear(self, message: Msg) -> None:
        try:
            vitals = Vitals.model_validate_json(message.data, extra="ignore")
        except ValidationError:
            log.warning("figures.no_vitals", subject=message.subject)
            return
        self.heard(vitals)

    def heard(self, vitals: Vitals) -> None:
        """Take in what a process says of itself: what it has counted since it last did, or, at first, since it began."""
        actor, before = vitals.actor, self._processes.get(vitals.instance)
        self._processes[vitals.instance] = _Heard(vitals, time.monotonic())
        # Of an actor that was never heard of there is no sample: a scraper takes one of zero for a restart of the edge.
        self._restarts.labels(actor).inc(before is None and actor in self._known)
        self._known.add(actor)
        self._workers.labels(actor).inc(vitals.workers_started - (before.vitals.workers_started if before else 0))
        self._lost.labels(actor).inc(vitals.workers_lost - (before.vitals.workers_lost if before else 0))

    async def text(self) -> bytes:
        """Every figure, in the text that Prometheus reads."""
        now = time.monotonic()
        if now - self._asked >= ASK_EVERY:
            self._asked = now
            await self._ask()
        self._forget(now)
        for actor in Actor:
            self._tell(actor, [heard.vitals for heard in self._processes.values() if heard.vitals.actor is actor])
        return generate_latest(self._registry)

    def own(self, process: str, *, waiting: int, failing: int) -> None:
        """What the process that is asked knows of itself."""
        self._backlog.labels(process).set(waiting)
        self._failing.labels(process).set(failing)

    def _forget(self, now: float) -> None:
        self._processes = {instance: heard for instance, heard in self._processes.items() if now - heard.at < SILENT_SECONDS}

    def _tell(self, actor: Actor, processes: list[Vitals]) -> None:
        self._alive.labels(actor).set(len(processes))
        self._backlog.labels(actor).set(sum(vitals.outbox_waiting for vitals in processes))
        self._failing.labels(actor).set(sum(vitals.tasks_failing for vitals in processes))
        behind = [vitals.behind for vitals in processes if vitals.behind is not None]
        if actor is Actor.AUDITOR:
            self._behind.set(min(behind, default=UNKNOWN))

    async def _ask(self) -> None:
        """Ask the broker how long queues are; where it does not answer, nothing is told of them."""
        for gauge in (self._waiting, self._in_flight, self._again):
            gauge.clear()
        if not self._client.is_connected:
            return
        try:
            infos = await asyncio.gather(*(self._js.consumer_info(durable.stream, durable.name) for durable in OWN_DURABLES))
        except (NatsError, APIError, TimeoutError, OSError) as error:
            log.info("figures.broker_away", error=type(error).__name__)
            return
        for info in infos:
            self._queue(info)

    def _queue(self, info: ConsumerInfo) -> None:
        self._waiting.labels(info.name).set(info.num_pending or 0)
        self._in_flight.labels(info.name).set(info.num_ack_pending or 0)
        self._again.labels(info.name).set(info.num_redelivered or 0)


def coarse(seconds: float) -> float:
    """A time rounded up to one of few."""
    return next((limit for limit in COARSE if seconds <= limit), COARSE[-1] * 2)


def _seconds(time_of_event: str) -> float:
    return dt.datetime.fromisoformat(time_of_event).timestamp()
