"""Events that the log is for: who was shown or refused what, and changes of settings, keys and payloads."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from contracts.base import Contract, Event
from contracts.ids import Code, KeyId, ObjectId, RequestId, ResourceId


class Outcome(StrEnum):
    """What became of a request."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    """To somebody known, whose rights do not give it."""
    DENIED = "denied"
    """To somebody without a valid token."""


class RequestRecorded(Event):
    """Someone was shown raw data, or was refused what their rights do not give; or many without a valid token, within a minute."""

    TYPE: ClassVar = "halftone.request.recorded.v1"
    ENTITY: ClassVar = "request"
    VERB: ClassVar = "recorded"
    KEY: ClassVar = "request"
    request: RequestId
    outcome: Outcome
    right: Code | None = Field(default=None, description="what was asked for; absent where nothing was known of who asked")
    resource: ResourceId | None = Field(default=None, description="what it was asked of, if it was one thing")
    code: Code | None = Field(default=None, description="of the problem that was answered")
    count: int = Field(default=1, ge=1, description="requests of that kind that this stands for")


class SettingChange(Contract):
    """A setting that is not what it was."""

    name: Code
    value: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9.+-]{0,64}$", description="a number, a switch or a word; of texts and secrets none is told"
    )
    hash: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$", description="of a text or a secret, under a key of the home's own")


class SettingsChanged(Event):
    """The system was started with other settings than before."""

    TYPE: ClassVar = "halftone.settings.changed.v1"
    ENTITY: ClassVar = "settings"
    VERB: ClassVar = "changed"
    KEY: ClassVar = "part"
    part: str = Field(default="edge", pattern=r"^[a-z_]{1,32}$", description="of which part")
    changes: tuple[SettingChange, ...] = Field(min_length=1)


class KeyRotated(Event):
    """The log goes over to another signing key; both keys say so."""

    TYPE: ClassVar = "halftone.log.key_rotated.v1"
    ENTITY: ClassVar = "log"
    VERB: ClassVar = "key_rotated"
    KEY: ClassVar = "key"
    key: KeyId = Field(description="the new one")
    before: KeyId = Field(description="the one that is given up")
    size: int = Field(ge=0, description="leaves up to which the old one has signed")
    note: str = Field(description="signed by both, as the log's verifiers read it")


class PayloadErased(Event):
    """What earlier entries refer to is removed for good; they stay, and say nothing of what it was."""

    TYPE: ClassVar = "halftone.payload.erased.v1"
    ENTITY: ClassVar = "payload"
    VERB: ClassVar = "erased"
    KEY: ClassVar = "about"
    about: ResourceId = Field(description="the dataset or job that it belonged to")
    kind: Code = Field(description="dataset: all of a dataset's; upload: the file as it came; log: of a job, once it is old")
    objects: tuple[ObjectId, ...] = Field(min_length=1, max_length=500)
