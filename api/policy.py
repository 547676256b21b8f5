"""Who may do what: one function that every route, stream and download asks. docs/rights.md shows the table that is built here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from contracts.ids import PrincipalId
from contracts.jobs import JobKind


class Verb(StrEnum):
    """What someone wants to do. Raw data, the budget and the log each have a right of their own."""

    DATASET_READ = "dataset.read"
    DATASET_CREATE = "dataset.create"
    SOURCE_USE = "source.use"
    """Have datasets made of what the server can reach: its files, and the databases and stores that the settings name."""
    DATASET_CHANGE = "dataset.change"
    """Name it, and say for how long it is kept."""
    DATASET_DELETE = "dataset.delete"
    SCHEMA_ATTEST = "schema.attest"
    RAW_READ = "raw.read"
    """See what was read off real rows: proposals, profiles, raw evaluations, tracebacks."""
    JOB_READ = "job.read"
    JOB_CREATE = "job.create"
    JOB_CANCEL = "job.cancel"
    ARTIFACT_READ = "artifact.read"
    BUDGET_READ = "budget.read"
    BUDGET_SET = "budget.set"
    BUDGET_APPROVE = "budget.approve"
    """Decide, as a second person, about a charge that waits."""
    BUDGET_RELEASE = "budget.release"
    """Give real data out without noise, or say that it was: nothing bounds what that tells."""
    AUDIT_READ = "audit.read"
    TOKEN_MANAGE = "token.manage"  # noqa: S105  # the name of a right
    DEAD_READ = "dead.read"
    """See messages that were given up: they may hold anything."""
    DEAD_SETTLE = "dead.settle"
    SYSTEM_READ = "system.read"
    """See what this instance offers: its engines, its own description, its figures."""


class Role(StrEnum):
    """A set of rights that goes by one name."""

    ADMINISTRATOR = "administrator"
    """Everything: also limits of budgets, and who else may come in."""
    CURATOR = "curator"
    """Works with the real data, within the budgets that the administrator has set."""
    READER = "reader"
    """Sees what is public of it: synthetic tables, budgets, the log."""


_READER = frozenset(
    {Verb.DATASET_READ, Verb.JOB_READ, Verb.ARTIFACT_READ, Verb.BUDGET_READ, Verb.AUDIT_READ, Verb.SYSTEM_READ},
)
# Who works with the data does not also say how much of its privacy may be spent, nor who else may come in, nor runs the system.
_SPENDING = {Verb.BUDGET_SET, Verb.BUDGET_APPROVE, Verb.BUDGET_RELEASE}
_CURATOR = frozenset(Verb) - _SPENDING - {Verb.TOKEN_MANAGE, Verb.DEAD_READ, Verb.DEAD_SETTLE}
RIGHTS: dict[Role, frozenset[Verb]] = {Role.ADMINISTRATOR: frozenset(Verb), Role.CURATOR: _CURATOR, Role.READER: _READER}

RAW_KINDS = frozenset({JobKind.INGEST, JobKind.EVALUATE})
"""Jobs that write down what they read off real rows, in what they make and in what they say when they fail."""


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
