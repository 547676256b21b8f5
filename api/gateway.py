"""Commands out. What is answered 202 is on disk: key, event and first command in one transaction, published by the relay."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select

from api.keeping import use
from api.lately import Lately
from api.problems import BacklogFull, BusAway, KeyReused
from api.underway import UnderWay
from contracts.base import Event, Message
from contracts.commands import CancelJob, Command, ObserveBudget, ReserveBudget, RunJob
from contracts.cost import DELTA_SCALE, EPSILON_SCALE, NOTHING
from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted
from contracts.ids import AccountId, Code, DatasetId, JobId, MessageId, derived_message_id
from contracts.jobs import EXECUTOR, EvaluateSpec, ExportSpec, JobKind, JobSpec, StepRun, SynthesizeSpec, Use
from halftone.privacy.conversion import job_cost
from infra.database.store import Transaction, now_ms
from infra.failpoints import around
from infra.runtime import Runtime

ACKNOWLEDGED_WITHIN = 1.0
"""Seconds that an answer waits for the broker to say where it has stored the event."""
MOST_UNSENT = 10_000
"""Rows that may wait in the outbox before nothing more is accepted."""
_UNSENT = f"SELECT count(*) FROM (SELECT 1 FROM outbox WHERE sequence IS NULL LIMIT {MOST_UNSENT + 1}) AS unsent"  # noqa: S608  # a constant
MEASURE, OBSERVE, RELEASE = "measure", "observe", "release"
"""The steps with which jobs read real data: through noise, raw, and raw for others."""

Also = Callable[[Transaction], None]


@dataclass(frozen=True)
class Key:
    """An Idempotency-Key, and what was asked for under it."""

    key: str
    request: str

    @classmethod
    def of(cls, key: str, *asked: bytes | str) -> Key:
        digest = hashlib.sha256()
        for part in asked:
            data = part.encode() if isinstance(part, str) else part
            digest.update(len(data).to_bytes(8, "big") + data)
        return cls(key, digest.hexdigest())


@dataclass(frozen=True)
class Promise:
    """A job that will be run, whatever happens short of losing the disk."""

    job: JobId
    dataset: DatasetId | None = None
    sequence: int | None = None
    """Of its acceptance among all events; None if the broker has not said yet."""


@dataclass(frozen=True)
class Order:
    """What is to be promised: a job, the events that belong to it, and rows that must stand or fall with it."""

    job: JobId
    spec: JobSpec
    dataset: DatasetId | None = None
    before: tuple[Event, ...] = ()
    """Events that come before the job's acceptance."""
    also: Also | None = None
    retry_of: JobId | None = None

    @property
    def command(self) -> RunJob | ReserveBudget:
        """The first command: to the keeper when the job touches real data, to the executor otherwise."""
        run = RunJob(job=self.job, spec=self.spec)
        match self.spec:
            case SynthesizeSpec(account=account, epsilon=epsilon, delta=delta):
                cost = job_cost(epsilon / EPSILON_SCALE, delta / DELTA_SCALE)
                return ReserveBudget(account=account, job=self.job, step=MEASURE, use=Use.CHARGE, cost=cost, then=run)
            case ExportSpec(account=str(account), reason=str(reason)):
                return ReserveBudget(account=account, job=self.job, step=RELEASE, use=Use.RELEASE, cost=NOTHING, then=run, reason=reason)
            case EvaluateSpec(account=account) | ExportSpec(account=str(account)):
                return ReserveBudget(account=account, job=self.job, step=OBSERVE, use=Use.OBSERVE, cost=NOTHING, then=run)
            case _:
                return run


def accepted_id(job: JobId) -> MessageId:
    """The id of a job's acceptance: from it, its place in the stream can be asked for again."""
    return derived_message_id(job, "accepted", 0)


class Gateway:
    """Turns what HTTP asks for into messages, durably."""

    def __init__(self, runtime: Runtime, under_way: UnderWay) -> None:
        self._runtime, self._store, self._relay, self._under_way = runtime, runtime.store, runtime.relay, under_way
        self._lately: Lately[bool] = Lately()

    @around("gateway.accept")
    async def accept(self, order: Order, context: Context, key: Key | None = None) -> Promise:
        """Promise a job; under a key that was used before, the one that was promised then.

        Raises BusAway, BacklogFull, TooManyJobs or KeyReused: then nothing was promised.
        """
        self.require_bus()
        await self._under_way.take(context.project, order.job)
        ours = False
        try:
            promise = await self._accept(order, context, key)
            ours = promise.job == order.job
            self._under_way.promised(context.project, promise.job, promise.sequence)
        finally:
            if not ours:
                self._under_way.give_back(context.project, order.job)
        return promise

    async def _accept(self, order: Order, context: Context, key: Key | None) -> Promise:
        envelopes = self._envelopes(order, context)
        asked = asyncio.ensure_future(self._relay.published(accepted_id(order.job)))
        # Once, so that the question stands before the relay can answer it.
        await asyncio.sleep(0)
        try:
            before = await self._store.write(lambda tx: self._promise(tx, order, envelopes, context, key))
            if before is not None:
                return before
            self._lately.put(order.job, value=True)
            await asyncio.wait({asked}, timeout=ACKNOWLEDGED_WITHIN)
            return Promise(order.job, order.dataset, asked.result() if asked.done() else None)
        finally:
            asked.cancel()

    async def promised(self, principal: str, key: Key) -> Promise | None:
        """What a key was used for before. Raises KeyReused if that was something else."""
        return await self._store.write(lambda tx: _find(tx, principal, key))

    async def cancel(self, job: JobId, kind: JobKind, context: Context) -> None:
        """Ask for a job's end. Asking again changes nothing. Raises BusAway or BacklogFull."""
        executor = EXECUTOR[kind]
        reserved = (StepRun(step=MEASURE),) if kind is JobKind.SYNTHESIZE else ()
        command = CancelJob(job=job, executor=executor, reserved=reserved)
        await self.send(command, context, derived_message_id(job, "cancel", 0))

    async def observed(self, account: AccountId, job: JobId, shown: Code, context: Context) -> None:
        """Have it entered that raw figures are shown to who asks, once: on disk before they are, also while the broker is away.

        Raises BacklogFull: then nothing may be shown.
        """
        message_id = derived_message_id(job, f"observed {shown} {context.principal}", 0)
        if self._lately.get(message_id) is None:
            await self.send(ObserveBudget(account=account, job=job, step=shown), context, message_id, bus=False)
            self._lately.put(message_id, value=True)

    async def send(self, message: Message, context: Context, message_id: MessageId | None = None, *, bus: bool = True) -> None:
        """Send one message; under an id that was used before, nothing.

        Raises BacklogFull and, unless it may wait for the broker, BusAway.
        """
        if bus:
            self.require_bus()
        envelope = Envelope.wrap(message, context, source=self._runtime.source, message_id=message_id)

        def change(tx: Transaction) -> None:
            if message_id is not None and tx.has_sent(message_id):
                return
            require_room(tx)
            tx.send(envelope)

        await self._store.write(change)

    async def tell(
        self, events: Sequence[Event], context: Context, *, also: Also, commands: Sequence[Command] = (), bus: bool = True
    ) -> int | None:
        """Write rows, the events that say so, and commands that follow from them, in one transaction.

        Gives the last event's sequence if the broker says it in time. Raises BacklogFull and, unless it is to be done while the broker
        is away too, BusAway; or what ``also`` raises: then nothing happened.
        """
        if bus:
            self.require_bus()
        envelopes = [Envelope.wrap(message, context, source=self._runtime.source) for message in (*events, *commands)]

        def change(tx: Transaction) -> None:
            if bus:
                require_room(tx)
            also(tx)
            tx.send(*envelopes)

        asked = asyncio.ensure_future(self._relay.published(envelopes[max(0, len(events) - 1)].id))
        # Once, so that the question stands before the relay can answer it.
        await asyncio.sleep(0)
        try:
            await self._store.write(change)
            await asyncio.wait({asked}, timeout=ACKNOWLEDGED_WITHIN if self._runtime.client.is_connected else 0)
            return asked.result() if asked.done() else None
        finally:
            asked.cancel()

    async def has_accepted(self, job: JobId) -> bool:
        """Whether this edge promised a job."""
        return self._lately.get(job) is not None or await self._store.write(lambda tx: tx.has_sent(accepted_id(job)))

    async def require_room(self, context: Context) -> None:
        """Refuse what would not be promised, before its upload is taken. Raises BusAway or TooManyJobs."""
        self.require_bus()
        await self._under_way.require_room(context.project)

    def require_bus(self) -> None:
        """Refuse to promise anything while the broker is away, or there and silent. Raises BusAway."""
        if not self._runtime.client.is_connected or self._relay.unanswered:
            raise BusAway

    def _envelopes(self, order: Order, context: Context) -> list[Envelope]:
        source = self._runtime.source
        told = JobAccepted(job=order.job, spec=order.spec, retry_of=order.retry_of)
        accepted = Envelope.wrap(told, context, source=source, message_id=accepted_id(order.job))
        before = [accepted.caused(event, source=source, handler="before", n=n) for n, event in enumerate(order.before)]
        return [*before, accepted, accepted.caused(order.command, source=source, handler="command", n=0)]

    @staticmethod
    @around("gateway.promise")
    def _promise(tx: Transaction, order: Order, envelopes: list[Envelope], context: Context, key: Key | None) -> Promise | None:
        """Write it all. Gives what was promised before under the key, if anything was: then nothing is written."""
        if key is not None:
            before = _find(tx, context.principal, key)
            if before is not None:
                return before
            row = {"principal": context.principal, "key": key.key, "request": key.request, "job": order.job, "dataset": order.dataset}
            tx.connection.execute(insert(tx.tables["requests"]).values(**row, made_at=now_ms()))
        require_room(tx)
        use(tx, order.job, order.spec)
        if order.also is not None:
            order.also(tx)
        tx.send(*envelopes)
        return None


def _find(tx: Transaction, principal: str, key: Key) -> Promise | None:
    requests, outbox = tx.tables["requests"], tx.tables["outbox"]
    row = tx.connection.execute(select(requests).where((requests.c.principal == principal) & (requests.c.key == key.key))).first()
    if row is None:
        return None
    if row.request != key.request:
        raise KeyReused(f"The Idempotency-Key {key.key[:80]!r} was used before with another request: take a new key for a new request.")
    sequence = tx.connection.execute(select(outbox.c.sequence).where(outbox.c.message_id == accepted_id(row.job))).scalar()
    return Promise(row.job, row.dataset, sequence)


def require_room(tx: Transaction) -> None:
    """Refuse more while what waits for the broker is too much. Raises BacklogFull."""
    unsent = tx.connection.exec_driver_sql(_UNSENT).scalar() or 0
    if unsent > MOST_UNSENT:
        raise BacklogFull
