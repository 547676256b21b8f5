"""Who may do what: one function that every route, stream and download asks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from contracts.ids import PrincipalId


class Verb(StrEnum):
    """What someone wants to do. Raw data, the budget and the log each have a right of their own."""

    DATASET_READ = "dataset.read"
    DATASET_CREATE = "dataset.create"
    SCHEMA_ATTEST = "schema.attest"
    RAW_READ = "raw.read"
    """See what was read off real rows: proposals, profiles, raw evaluations, tracebacks."""
    JOB_READ = "job.read"
    JOB_CREATE = "job.create"
    JOB_CANCEL = "job.cancel"
    ARTIFACT_READ = "artifact.read"
    BUDGET_READ = "budget.read"
    BUDGET_SET = "budget.set"
    AUDIT_READ = "audit.read"
    SYSTEM_READ = "system.read"
    """See what this instance offers: its engines, its own description."""


class Role(StrEnum):
    """A set of rights that goes by one name."""

    ADMINISTRATOR = "administrator"


RIGHTS: dict[Role, frozenset[Verb]] = {Role.ADMINISTRATOR: frozenset(Verb)}


@dataclass(frozen=True)
class Principal:
    """Who asks."""

    id: PrincipalId
    role: Role


@dataclass(frozen=True)
class Resource:
    """What it is about: a kind of thing and, for one thing, its id."""

    kind: str
    id: str | None = None


def allowed(principal: Principal, verb: Verb, resource: Resource) -> bool:  # noqa: ARG001  # rights are not yet given per resource
    """Whether a principal may do that to a resource. The only place that decides."""
    return verb in RIGHTS.get(principal.role, frozenset())
