"""Subjects and streams: the one place that builds and reads them. No user text is ever a token.

Every function returns a subject string; ``*_ALL`` are wildcards.
"""

from __future__ import annotations

import re

from contracts.base import Event
from contracts.commands import (
    CancelJob,
    Command,
    DecideBudget,
    EnterRelease,
    ObserveBudget,
    ReserveBudget,
    RunJob,
    SetBudget,
    SetQuota,
)
from contracts.ids import JobId, MessageId
from contracts.jobs import EXECUTOR, Actor
from contracts.records import AuditAppended, CheckpointSigned, DeadLetter

_RUN = re.compile(r"halftone\.cmd\.[a-z_]+\.run\.(job_[0-9a-f]{32})")
COMMANDS, EVENTS, AUDIT, DEAD, TIMERS = "COMMANDS", "EVENTS", "AUDIT", "DEAD", "TIMERS"

COMMANDS_ALL = "halftone.cmd.>"
EVENTS_ALL = "halftone.evt.>"
AUDIT_ALL = "halftone.audit.>"
CHECKPOINTS_ALL = "halftone.audit.checkpoint.*"
DEAD_ALL = "halftone.dead.>"
TIMERS_ALL = "halftone.timer.>"
STORED_EVENTS_ALL = "halftone.stored.evt.>"
STORED_AUDIT_ALL = "halftone.stored.audit.>"
STORED_DEAD_ALL = "halftone.stored.dead.>"
PROGRESS_ALL = "halftone.progress.*"
CANCEL_ALL = "halftone.cancel.*"
OUTBOX_ALL = "halftone.outbox.*"
VITALS_ALL = "halftone.vitals.*"

PARAMETERS = {
    "about": "id of the dataset or job that it belonged to",
    "account": "id of the budget account",
    "part": "name of the actor, or edge",
    "dataset": "id of the dataset",
    "index": "position in the log of the first leaf",
    "job": "id of the job",
    "letter": "id of the dead letter",
    "key": "id of the new key",
    "message": "id of the message",
    "request": "id of the request",
    "size": "leaves in the log",
    "token": "id of the token",
}
"""What stands for each token that a pattern leaves open."""


def run(actor: Actor, job: JobId) -> str:
    """Where a command goes that takes one of the actor's slots."""
    return f"halftone.cmd.{actor}.run.{job}"


def run_all(actor: Actor) -> str:
    return f"halftone.cmd.{actor}.run.*"


def ctl(actor: Actor, verb: str, message: MessageId) -> str:
    """Where a command goes that never waits for a slot."""
    return f"halftone.cmd.{actor}.ctl.{verb}.{message}"


def ctl_all(actor: Actor) -> str:
    return f"halftone.cmd.{actor}.ctl.>"


def command(message: Command, message_id: MessageId) -> str:
    """Where a command goes."""
    match message:
        case RunJob():
            return run(EXECUTOR[message.spec.kind], message.job)
        case CancelJob():
            return ctl(message.executor, "cancel", message_id)
        case ReserveBudget():
            return ctl(Actor.BUDGET_KEEPER, "reserve", message_id)
        case SetBudget():
            return ctl(Actor.BUDGET_KEEPER, "set_limit", message_id)
        case ObserveBudget():
            return ctl(Actor.BUDGET_KEEPER, "observe", message_id)
        case SetQuota():
            return ctl(Actor.BUDGET_KEEPER, "set_quota", message_id)
        case DecideBudget():
            return ctl(Actor.BUDGET_KEEPER, "decide", message_id)
        case EnterRelease():
            return ctl(Actor.BUDGET_KEEPER, "enter_release", message_id)
        case _:
            raise TypeError(f"no subject for {type(message).__name__}")


def event(message: Event) -> str:
    return f"halftone.evt.{message.ENTITY}.{message.entity_id}.{message.VERB}"


def events_of(kind: type[Event]) -> str:
    """The wildcard for every event of a class."""
    return f"halftone.evt.{kind.ENTITY}.*.{kind.VERB}"


def record(message: AuditAppended | CheckpointSigned | DeadLetter, message_id: MessageId) -> str:
    match message:
        case AuditAppended():
            return f"halftone.audit.entries.{message.entries[0].index}"
        case CheckpointSigned():
            return f"halftone.audit.checkpoint.{message.size}"
        case DeadLetter():
            return f"halftone.dead.{message_id}"


def stored(subject: str) -> str:
    """Where the broker repeats a message once it is stored, with its sequence: ``halftone.evt.x`` as ``halftone.stored.evt.x``."""
    return subject.replace("halftone.", "halftone.stored.", 1)


def progress(job: JobId) -> str:
    return f"halftone.progress.{job}"


def cancel(job: JobId) -> str:
    return f"halftone.cancel.{job}"


def vitals(actor: Actor) -> str:
    return f"halftone.vitals.{actor}"


def outbox(user: str) -> str:
    """Where instances of an actor, or of the edge, tell the one that relays that there is something to publish."""
    return f"halftone.outbox.{user}"


def job_of(subject: str) -> JobId:
    """The job that a progress or cancel subject names."""
    return subject.rsplit(".", 1)[1]


def job_of_run(subject: str) -> JobId | None:
    """The job that the subject of a run command names; None of any other subject."""
    named = _RUN.fullmatch(subject)
    return named and named[1]


def stream_of(subject: str) -> str:
    """The stream that stores a subject. Raises ValueError for one that none does."""
    try:
        return {"cmd": COMMANDS, "evt": EVENTS, "audit": AUDIT, "dead": DEAD, "timer": TIMERS}[subject.split(".", 2)[1]]
    except (KeyError, IndexError):
        raise ValueError(f"no stream stores {subject!r}") from None
