"""What is neither asked nor happened: the log's entries, dead letters, progress, and how processes do."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from contracts.base import Contract, Message
from contracts.ids import Code, JobId, MessageId
from contracts.jobs import Actor


class AuditEntry(Contract):
    """One leaf of the log."""

    index: int = Field(ge=0)
    event: MessageId = Field(description="id of the event that is the leaf")
    leaf: str = Field(pattern=r"^[0-9a-f]{64}$", description="RFC 9162 leaf hash of the entry's canonical JSON (RFC 8785), hex")
    entry: dict[str, Any] = Field(description="the event's envelope")


class AuditAppended(Message):
    """Leaves were added to the log, in this order. Never itself a leaf."""

    TYPE: ClassVar = "halftone.audit.appended.v1"
    entries: tuple[AuditEntry, ...] = Field(min_length=1)


class CheckpointSigned(Message):
    """The log's size and root, as a C2SP signed note."""

    TYPE: ClassVar = "halftone.audit.checkpoint.v1"
    size: int = Field(ge=0)
    note: str


class DeadLetter(Message):
    """A message that could not be handled, kept with the reason until an operator decides."""

    TYPE: ClassVar = "halftone.dead.letter.v1"
    reason: Code
    attempts: int = Field(ge=0)
    stream_subject: str = Field(description="the subject it came in on")
    body: str = Field(description="the message as it came, base64")


class Progress(Contract):
    """How far a job is; sent on core NATS, where losing one loses nothing."""

    job: JobId
    attempt: int = Field(ge=1)
    step: Code
    fraction: float = Field(ge=0, le=1, description="of the whole job")
    left: float | None = Field(
        default=None, ge=0, description="seconds until it may be done, by its pace so far; absent: nothing can be said"
    )


class Vitals(Contract):
    """How one process of an actor does; sent on core NATS every few seconds, where losing one loses nothing."""

    actor: Actor
    instance: str = Field(pattern=r"^[0-9a-f]{16}$", description="made anew by each process: what it counts begins with it")
    outbox_waiting: int = Field(ge=0, description="messages that the broker has not acknowledged yet")
    tasks_failing: int = Field(ge=0, description="background tasks that are down")
    behind: int | None = Field(default=None, ge=0, description="events that the audit log does not hold yet; of the auditor alone")
    workers_started: int = Field(default=0, ge=0)
    workers_lost: int = Field(default=0, ge=0, description="workers that ended without a word, and were not asked to")


RECORDS: tuple[type[Message], ...] = (AuditAppended, CheckpointSigned, DeadLetter)
