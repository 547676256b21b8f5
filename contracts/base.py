"""What every contract is built on: frozen models, strict when written, tolerant when read."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """A frozen value. Building one refuses unknown fields; reading one from elsewhere ignores them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, data: Any) -> Self:
        """Read what another version may have written: unknown fields are ignored, values are still checked."""
        return cls.model_validate(data, extra="ignore")


class Message(Contract):
    """What travels on the bus as the ``data`` of an envelope. Ids, codes and numbers only."""

    TYPE: ClassVar[str]
    """The CloudEvents type, with its version: ``halftone.job.completed.v1``."""


class Event(Message):
    """Something that happened to one entity."""

    ENTITY: ClassVar[str]
    VERB: ClassVar[str]
    KEY: ClassVar[str]
    """Name of the field that holds the entity's id."""

    @property
    def entity_id(self) -> str:
        return str(getattr(self, self.KEY))
