"""What is neither asked nor happened: the log's entries, dead letters, and progress."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from contracts.base import Contract, Message
from contracts.ids import Code, JobId, MessageId


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


RECORDS: tuple[type[Message], ...] = (AuditAppended, CheckpointSigned, DeadLetter)
