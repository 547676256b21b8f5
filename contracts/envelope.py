"""The one envelope: CloudEvents 1.0, structured JSON."""

from __future__ import annotations

import datetime as dt
import functools
import secrets
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from contracts import subjects
from contracts.base import Contract, Event, Message
from contracts.commands import COMMANDS, Command
from contracts.events import EVENTS
from contracts.ids import (
    ADMINISTRATOR,
    DEFAULT_PROJECT,
    MessageId,
    PrincipalId,
    ProjectId,
    derived_message_id,
    new_message_id,
)
from contracts.records import RECORDS, AuditAppended, CheckpointSigned, DeadLetter

CONTENT_TYPE = "application/cloudevents+json"
MESSAGES: dict[str, type[Message]] = {kind.TYPE: kind for kind in (*COMMANDS, *EVENTS, *RECORDS)}
"""Every message by its CloudEvents type."""


TraceParent = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]
"""W3C Trace Context."""
ClientAddress = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Where a request came from: a hash of the address under a key of the home's own, which whoever holds the key can compare."""


class UnknownMessage(ValueError):
    """The message is of a type that this version does not know."""


class Context(Contract):
    """Who asked, for which project, and in which trace: carried from message to message unchanged."""

    principal: PrincipalId = ADMINISTRATOR
    project: ProjectId = DEFAULT_PROJECT
    correlation: MessageId
    traceparent: TraceParent | None = None
    address: ClientAddress | None = None
    """Told with what the request itself caused, and not carried on."""

    @classmethod
    def new(
        cls,
        principal: PrincipalId = ADMINISTRATOR,
        project: ProjectId = DEFAULT_PROJECT,
        traceparent: str | None = None,
        address: ClientAddress | None = None,
    ) -> Context:
        trace = traceparent or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        return cls(principal=principal, project=project, correlation=new_message_id(), traceparent=trace, address=address)


class Envelope(Contract):
    """A message with its address: CloudEvents attributes, and Halftone's extensions in lower case as the specification asks."""

    specversion: Literal["1.0"] = "1.0"
    id: MessageId = Field(description="also Nats-Msg-Id; derived from its cause, so that a retry makes the same one")
    type: str = Field(pattern=r"^halftone\.[a-z_]+\.[a-z_]+\.v[0-9]+$")
    source: str = Field(pattern=r"^/[a-z_/]{1,63}$", description="who sent it: /actors/<actor> or /edge")
    subject: str = Field(pattern=r"^halftone(\.[a-z0-9_-]+)+$", max_length=255, description="the NATS subject it is published on")
    time: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", description="RFC 3339, UTC")
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str = Field(pattern=r"^urn:halftone:schema:[a-z0-9._]+$")
    correlationid: MessageId = Field(description="shared by everything that one request caused")
    causationid: MessageId = Field(description="id of the message that caused this one; its own id if none did")
    traceparent: TraceParent | None = None
    clientaddress: ClientAddress | None = Field(default=None, description="where the request that caused it came from, as a keyed hash")
    principal: PrincipalId
    project: ProjectId
    data: dict[str, Any]

    @classmethod
    def wrap(
        cls, message: Message, context: Context, *, source: str, message_id: MessageId | None = None, causation: MessageId | None = None
    ) -> Envelope:
        """Address a message. Without an id it is a cause of its own."""
        message_id = message_id or new_message_id()
        return cls(
            id=message_id,
            type=message.TYPE,
            source=source,
            subject=subject_of(message, message_id),
            time=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            dataschema=f"urn:halftone:schema:{message.TYPE}",
            correlationid=context.correlation,
            causationid=causation or message_id,
            traceparent=context.traceparent,
            clientaddress=context.address,
            principal=context.principal,
            project=context.project,
            data=message.model_dump(mode="json"),
        )

    def caused(self, message: Message, *, source: str, handler: str, n: int) -> Envelope:
        """The n-th message that a handler makes of this one: the same id each time it is tried."""
        return Envelope.wrap(message, self.context, source=source, message_id=derived_message_id(self.id, handler, n), causation=self.id)

    @property
    def context(self) -> Context:
        return Context(principal=self.principal, project=self.project, correlation=self.correlationid, traceparent=self.traceparent)

    @functools.cached_property
    def message(self) -> Message:
        """The typed content. Raises UnknownMessage, or pydantic's ValidationError."""
        kind = MESSAGES.get(self.type)
        if kind is None:
            raise UnknownMessage(self.type)
        return kind.read(self.data)

    def dump(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def load(cls, body: bytes) -> Envelope:
        """Read an envelope. Raises pydantic's ValidationError."""
        return cls.model_validate_json(body, extra="ignore")


def subject_of(message: Message, message_id: MessageId) -> str:
    """Where a message is published."""
    match message:
        case Command():
            return subjects.command(message, message_id)
        case Event():
            return subjects.event(message)
        case AuditAppended() | CheckpointSigned() | DeadLetter():
            return subjects.record(message, message_id)
        case _:
            raise TypeError(f"no subject for {type(message).__name__}")
