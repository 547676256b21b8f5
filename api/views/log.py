"""What can be asked for of the log's entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Table, func, or_, select

from contracts.ids import PrincipalId


class AuditOutcome(StrEnum):
    """How what an entry tells of came out."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    DENIED = "denied"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class AuditFilter:
    """Which entries of the log are wanted; what is None is of no matter."""

    actor: PrincipalId | None = None
    action: str | None = None
    """A message type, or the beginning of one: ``job``, ``job.completed``, ``halftone.job.completed.v1``."""
    resource: str | None = None
    since: str | None = None
    """RFC 3339 in UTC, with milliseconds and a Z; inclusive, and ``until`` exclusive."""
    until: str | None = None
    outcome: str | None = None
    text: str | None = None
    named: tuple[str, ...] = ()
    """Things that the text is the name of, or in it: names are not in the log."""

    def conditions(self, tables: Mapping[str, Table]) -> list[ColumnElement[bool]]:
        """What a row must fulfil."""
        t, ids = tables["audit_entries"], tables["audit_ids"]
        found: list[ColumnElement[bool]] = [
            column == value for column, value in ((t.c.principal, self.actor), (t.c.outcome, self.outcome)) if value is not None
        ]
        if self.action is not None:
            name = "halftone." + self.action.removeprefix("halftone.").rstrip(".")
            found.append(or_(t.c.type == name, t.c.type.startswith(name + ".", autoescape=True)))
        if self.resource is not None:
            found.append(t.c.place.in_(select(ids.c.place).where(ids.c.id == self.resource)))
        if self.since is not None:
            found.append(t.c.time >= self.since)
        if self.until is not None:
            found.append(t.c.time < self.until)
        if self.text is not None:
            named = t.c.place.in_(select(ids.c.place).where(ids.c.id.in_(self.named)))
            found.append(or_(func.lower(t.c.entry).contains(self.text.lower(), autoescape=True), named))
        return found
