"""Every stream, durable and permission, declared in one place."""

from __future__ import annotations

from dataclasses import dataclass

from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RePublish,
    RetentionPolicy,
    StorageType,
    StoreCompression,
    StreamConfig,
)

from contracts import subjects
from contracts.events import JobCancelled, JobCompleted, JobFailed, JobRefused, MechanismStarted
from contracts.jobs import Actor

MAX_COMMAND_BYTES = 256 * 1024
DUPLICATE_WINDOW = 600.0
"""Seconds in which the broker knows a message id again; the inbox covers what is older."""
ACK_WAIT = 4.0
"""Seconds after which an unacknowledged message is delivered again; a running job says ``in_progress`` every quarter of it.

Short, so that the work of a process that was killed goes on soon. A message that comes again while it is at work does no harm.
"""
EXECUTORS = (Actor.INGESTOR, Actor.SYNTHESIZER, Actor.EVALUATOR)


def _kept(name: str, subject: str, *, republish: str | None = None) -> StreamConfig:
    return StreamConfig(
        name=name,
        subjects=[subject],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        compression=StoreCompression.S2,
        allow_direct=True,
        allow_atomic=True,
        deny_delete=True,
        deny_purge=True,
        duplicate_window=DUPLICATE_WINDOW,
        republish=RePublish(src=subject, dest=republish) if republish else None,
    )


STREAMS = (
    StreamConfig(
        name=subjects.COMMANDS,
        subjects=[subjects.COMMANDS_ALL],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msgs_per_subject=1,
        max_msgs=100_000,
        max_msg_size=MAX_COMMAND_BYTES,
        allow_atomic=True,
        duplicate_window=DUPLICATE_WINDOW,
    ),
    _kept(subjects.EVENTS, subjects.EVENTS_ALL, republish=subjects.STORED_EVENTS_ALL),
    _kept(subjects.AUDIT, subjects.AUDIT_ALL, republish=subjects.STORED_AUDIT_ALL),
    _kept(subjects.DEAD, subjects.DEAD_ALL, republish=subjects.STORED_DEAD_ALL),
    StreamConfig(
        name=subjects.TIMERS,
        subjects=[subjects.TIMERS_ALL],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        allow_msg_schedules=True,
        allow_msg_ttl=True,
        duplicate_window=DUPLICATE_WINDOW,
    ),
)


@dataclass(frozen=True)
class Durable:
    """A consumer made by provisioning; its user may fetch and acknowledge, nothing more."""

    stream: str
    name: str
    user: str
    filters: tuple[str, ...] = ()
    deliver: DeliverPolicy = DeliverPolicy.ALL
    pending: int = 256
    """Messages that may wait for their acknowledgement; with one alone they come in order, whatever is delivered again."""

    def consumer(self) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=self.name,
            ack_policy=AckPolicy.EXPLICIT,
            deliver_policy=self.deliver,
            ack_wait=ACK_WAIT,
            max_deliver=-1,
            max_ack_pending=self.pending,
            filter_subject=self.filters[0] if len(self.filters) == 1 else None,
            filter_subjects=list(self.filters) if len(self.filters) > 1 else None,
        )


def run_durable(actor: Actor) -> Durable:
    """Commands that take a slot."""
    return Durable(subjects.COMMANDS, f"{actor}-run", actor, (subjects.run_all(actor),))


def ctl_durable(actor: Actor) -> Durable:
    """Commands that never wait for one."""
    return Durable(subjects.COMMANDS, f"{actor}-ctl", actor, (subjects.ctl_all(actor),))


def subscriber_durable(name: str) -> Durable:
    """A durable for an outsider who wants every job's completion, from now on."""
    return Durable(
        subjects.EVENTS,
        f"subscriber-{name}",
        "subscriber",
        (subjects.events_of(JobCompleted),),
        DeliverPolicy.NEW,
    )


def audit_durable(name: str) -> Durable:
    """A durable for an outsider who wants all of the log, from its first entry on and in its order."""
    return Durable(subjects.AUDIT, f"{AUDIT_READER}-{name}", AUDIT_READER, (subjects.AUDIT_ALL,), pending=1)


AUDIT_READER = "audit_reader"
"""Who may read the log on the bus, and nothing else."""
KEEPER_EVENTS = Durable(
    subjects.EVENTS,
    "budget_keeper-events",
    Actor.BUDGET_KEEPER,
    tuple(subjects.events_of(kind) for kind in (MechanismStarted, JobCompleted, JobFailed, JobCancelled, JobRefused)),
)
OWN_DURABLES = (
    *(run_durable(actor) for actor in EXECUTORS),
    *(ctl_durable(actor) for actor in (*EXECUTORS, Actor.BUDGET_KEEPER)),
    KEEPER_EVENTS,
)
"""Those that an actor serves."""
DURABLES = (*OWN_DURABLES, subscriber_durable("default"), audit_durable("default"))


def inbox_prefix(user: str) -> str:
    """Replies come here; no user can listen to another's."""
    return f"_INBOX_{user}"


def _durable_rights(user: str) -> list[str]:
    rights = []
    for durable in DURABLES:
        if durable.user == user:
            address = f"{durable.stream}.{durable.name}"
            rights += [f"$JS.API.CONSUMER.INFO.{address}", f"$JS.API.CONSUMER.MSG.NEXT.{address}"]
            # Two forms of the acknowledgement's subject: the second, with domain and account, is what servers from 2.15 on use.
            rights += [f"$JS.ACK.{address}.>", f"$JS.ACK.*.*.{address}.>"]
    return rights


_READ_LOG = [
    *(f"$JS.API.DIRECT.GET.{stream}" for stream in (subjects.EVENTS, subjects.AUDIT)),
    *(f"$JS.API.STREAM.INFO.{stream}" for stream in (subjects.EVENTS, subjects.AUDIT)),
]


_LOOK = [f"$JS.API.CONSUMER.INFO.{durable.stream}.{durable.name}" for durable in OWN_DURABLES]
"""How long queues are: what the edge tells whoever watches the system."""


def _evt(entity: str) -> str:
    return f"halftone.evt.{entity}.>"


_READ_BACK = [
    _evt("bus"),
    subjects.DEAD_ALL,
    f"$JS.API.STREAM.INFO.{subjects.COMMANDS}",
    *(f"$JS.API.DIRECT.GET.{stream}" for stream in (subjects.EVENTS, subjects.DEAD)),
]
"""What a relay needs beside its own subjects: to see what the broker still holds, and to tell what it had lost or will never take."""
_CORE = (subjects.PROGRESS_ALL, subjects.CANCEL_ALL)


def _executor_publishes(actor: Actor) -> list[str]:
    reserve = f"halftone.cmd.{Actor.BUDGET_KEEPER}.ctl.reserve.*"
    mechanism = [_evt("mechanism")] if actor is Actor.SYNTHESIZER else []
    return [_evt("job"), *mechanism, _evt("dataset"), *_CORE, subjects.vitals(actor), *_READ_BACK, reserve, *_durable_rights(actor)]


OUTSIDERS = ("subscriber", AUDIT_READER)
"""Users that are none of ours: they have an account of their own, and of ours see what is exported to it."""
_SUBSCRIBER_HEARS = (subjects.EVENTS_ALL, subjects.STORED_EVENTS_ALL)
_READER_HEARS = (subjects.AUDIT_ALL, subjects.STORED_AUDIT_ALL)
OUTSIDE_HEARS = (*_SUBSCRIBER_HEARS, *_READER_HEARS)

PUBLISH: dict[str, list[str]] = {
    "edge": [
        subjects.COMMANDS_ALL,
        *_READ_BACK,
        *(_evt(entity) for entity in ("job", "dataset", "token", "letter", "request", "settings", "payload")),
        *_READ_LOG,
        *_LOOK,
    ],
    "subscriber": _durable_rights("subscriber"),
    AUDIT_READER: _durable_rights(AUDIT_READER),
    Actor.BUDGET_KEEPER: [
        _evt("budget"),
        subjects.vitals(Actor.BUDGET_KEEPER),
        *(subjects.run_all(actor) for actor in EXECUTORS),
        *_READ_BACK,
        *_durable_rights(Actor.BUDGET_KEEPER),
    ],
    Actor.AUDITOR: [subjects.AUDIT_ALL, _evt("log"), subjects.vitals(Actor.AUDITOR), *_READ_BACK, *_READ_LOG],
    **{actor: _executor_publishes(actor) for actor in EXECUTORS},
}
"""What each user may publish, beside the news of its own outbox.

Nobody but the provisioner may make, change or delete a stream or a consumer.
"""

SUBSCRIBE: dict[str, list[str]] = {
    "edge": [
        *(subjects.STORED_EVENTS_ALL, subjects.STORED_AUDIT_ALL, subjects.STORED_DEAD_ALL),
        *(subjects.PROGRESS_ALL, subjects.VITALS_ALL),
    ],
    "subscriber": [*_SUBSCRIBER_HEARS],
    AUDIT_READER: [*_READER_HEARS],
    Actor.AUDITOR: [subjects.STORED_EVENTS_ALL],
    **{actor: [subjects.CANCEL_ALL] for actor in EXECUTORS},
}
"""What each user may listen to, its own inbox and the news of its own outbox aside."""
