"""Keeps the views up with the streams: rows and position in one transaction, so that neither is ever without the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError
from sqlalchemy import Connection, Table

from api.views.changes import Changes, Listeners, Watermark
from api.views.fold import RANK, Row, Rows, fold
from api.views.merge import Merge
from api.views.queries import Views
from contracts import subjects
from contracts.envelope import Envelope
from contracts.ids import JobId, MessageId
from contracts.jobs import JobState
from contracts.records import Progress
from infra.bus.tail import PositionLost, Stored, Tail
from infra.database.positions import REACH
from infra.failpoints import around

log = structlog.get_logger()

REPEATED = {
    subjects.EVENTS: subjects.STORED_EVENTS_ALL,
    subjects.AUDIT: subjects.STORED_AUDIT_ALL,
    subjects.DEAD: subjects.STORED_DEAD_ALL,
}
"""The streams that are folded, and where the broker repeats what they store."""


@dataclass(frozen=True)
class Folded:
    """What a batch was about."""

    jobs: frozenset[JobId]
    ended: frozenset[JobId]
    rows: Sequence[Row]
    """Of these jobs, as they are now."""
    first: int
    """The batch's first sequence."""
    refused: Sequence[Row]
    """Ledger rows of the batch that say that something did not fit."""
    again: Sequence[Row]
    """Job rows of the batch that say that another attempt began, as it says them."""
    logged: int
    """Leaves that the log has by it; 0 where it is not about the log."""


class Fold:
    """A stream's messages in, rows and position out."""

    def __init__(self, tables: Mapping[str, Table], stream: str) -> None:
        self._stream = stream
        self._merge = Merge(tables)

    @around("views.fold")
    def apply(self, messages: Sequence[Stored], connection: Connection) -> Folded:
        """Fold a batch within a transaction. A message that is no envelope is passed over: it will never be one."""
        rows: Rows = defaultdict(list)
        for message in messages:
            try:
                envelope = Envelope.load(message.body)
            except ValidationError:
                log.warning("view.no_envelope", stream=self._stream, sequence=message.sequence)
                continue
            fold(rows, message.sequence, envelope)
        jobs = self._merge.apply(connection, rows).get("jobs", ())
        last = messages[-1]
        REACH.run(connection, stream=self._stream, sequence=last.sequence, message_id=last.message_id)
        touched = frozenset(row["job"] for name in ("job_events", "jobs") for row in rows[name])
        end = RANK[JobState.COMPLETED]
        # As they are now, not as this batch says: an end may have been stored before the acceptance, and is news once both are here.
        ended = frozenset(row["job"] for row in jobs if row["rank"] == end)
        refused = [row for row in rows.get("ledger", ()) if row["code"] is not None]
        again = [row for row in rows.get("jobs", ()) if row["attempt"] > 1 and "started" in row]
        logged = max((row["place"] + 1 for row in rows["audit_entries"]), default=0)
        return Folded(touched, ended, jobs, messages[0].sequence, refused, again, logged)


class Projector:
    """One per process. ``run_events``, ``run_audit`` and ``run_dead`` are background tasks; the rest is for those who wait."""

    def __init__(
        self,
        views: Views,
        client: Client,
        seen: Callable[[Folded], None] = lambda _: None,
        heard: Callable[[MessageId, int], None] = lambda _message, _sequence: None,
    ) -> None:
        """``seen`` is told what each batch was about, ``heard`` of each message and where it is stored, once it is in the views."""
        self._views, self._client, self._seen, self._heard = views, client, seen, heard
        self._tails: dict[str, Tail] = {}
        self._marks = {stream: Watermark() for stream in REPEATED}
        self._logged = 0
        """Leaves of the log, as far as it is here."""
        self._listeners, self._ends = Listeners(), Listeners()

    async def run_events(self) -> None:
        """Follow EVENTS, and progress, for ever."""
        subscription = await self._client.subscribe(subjects.PROGRESS_ALL, cb=self._hear_progress)
        try:
            await self._run(subjects.EVENTS)
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    async def run_audit(self) -> None:
        """Follow AUDIT for ever."""
        await self._run(subjects.AUDIT)

    async def run_dead(self) -> None:
        """Follow DEAD for ever."""
        await self._run(subjects.DEAD)

    def position(self, stream: str) -> int:
        """Sequence up to which a stream is in the views."""
        return self._marks[stream].position

    @property
    def log_lag(self) -> int:
        """Events that the auditor has not told of as leaves; none while a broker that lost some holds fewer than the log."""
        return max(0, self.last(subjects.EVENTS) - self._logged)

    def last(self, stream: str) -> int:
        """Last sequence that a stream is known to hold."""
        tail = self._tails.get(stream)
        return max(self.position(stream), tail.last if tail else 0)

    async def reached(self, stream: str, sequence: int, timeout: float) -> bool:  # noqa: ASYNC109  # giving up is an answer here, no error
        """Wait until a message is in the views, for so many seconds at most; whether it is."""
        return await self._marks[stream].reached(sequence, timeout)

    def changes(self, job_id: JobId) -> AbstractAsyncContextManager[Changes]:
        """Listen to a job: ``async with projector.changes(job) as changes``, read its events, then ``await changes.get()``.

        ``get`` gives None when there are new events to be read, or else the job's latest progress.
        """
        return self._listeners.changes(job_id)

    def ends(self, job_id: JobId) -> AbstractAsyncContextManager[Changes]:
        """As ``changes``, of the job's end alone: ``get`` gives None once it is there to be read."""
        return self._ends.changes(job_id)

    async def _run(self, stream: str) -> None:
        apply = partial(self._apply, stream, Fold(self._views.tables, stream))
        while True:
            sequence, message_id = await self._views.position(stream)
            self._marks[stream].advance(sequence)
            if stream == subjects.AUDIT:
                self._logged = await self._views.audit_size()
            tail = self._tails[stream] = Tail(self._client, stream, REPEATED[stream])
            try:
                await tail.follow(sequence, message_id, apply)
            except PositionLost:
                log.warning("view.rebuilt", stream=stream, position=sequence)
                await self._views.wipe(stream)

    async def _apply(self, stream: str, fold_batch: Fold, messages: Sequence[Stored]) -> None:
        folded = await self._views.write(lambda tx: fold_batch.apply(messages, tx.connection))
        self._logged = max(self._logged, folded.logged)
        for job in folded.ended:
            self._views.progress.drop(job)
        self._views.remember(folded.rows)
        self._marks[stream].advance(messages[-1].sequence)
        for message in messages:
            self._heard(message.message_id, message.sequence)
        self._listeners.tell_events(folded.jobs)
        self._ends.tell_events(folded.ended)
        self._seen(folded)

    async def _hear_progress(self, message: Msg) -> None:
        try:
            progress = Progress.model_validate_json(message.data, extra="ignore")
        except ValidationError:
            log.warning("view.no_progress", subject=message.subject)
            return
        if self._views.progress.put(progress):
            self._listeners.tell_progress(progress)
