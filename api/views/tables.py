"""The views' database: rows folded from events. Losing it loses nothing, it is made again from the streams."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, Table, Text

from contracts import subjects
from infra.database.dialect import Integer
from infra.database.tables import common_tables

RULES = 4
"""Raised when events come to be folded in another way: what was folded before is then folded anew."""


def _cost(name: str) -> tuple[Column[int], Column[int], Column[int]]:
    """Columns of a cost: rho in 1e-12, delta in 1e-18, pure epsilon in 1e-9."""
    return Column(f"{name}_rho", BigInteger), Column(f"{name}_delta", BigInteger), Column(f"{name}_pure", BigInteger)


def view_tables() -> MetaData:
    """Every table of the views, with the positions that are committed together with their rows."""
    metadata = MetaData()
    common_tables(metadata)
    _jobs(metadata)
    _datasets(metadata)
    _budgets(metadata)
    _audit(metadata)
    _letters(metadata)
    _repairs(metadata)
    return metadata


def _jobs(metadata: MetaData) -> None:
    jobs = Table(
        "jobs",
        metadata,
        Column("job", Text, primary_key=True),
        Column("accepted", Integer, comment="sequence of its acceptance; null while other events of it were stored first"),
        Column("kind", Text),
        Column("project", Text),
        Column("principal", Text),
        Column("spec", Text, comment="JSON"),
        Column("retry_of", Text),
        Column("created", Text, comment="RFC 3339, as are all times"),
        Column("state", Text, nullable=False),
        Column("rank", Integer, nullable=False, comment="of the state: it only rises, and ends replace nothing"),
        Column("attempt", Integer, nullable=False),
        Column("started", Text),
        Column("ended", Text),
        Column("outcome", Text, comment="JSON: data of the event that ended it"),
        Column("held", Integer, comment="ledger row with which it came to wait for a second person"),
        Column("decided", Integer, comment="ledger row with which that one decided"),
        Column("approval", Text, comment="what was decided: approved or declined"),
        Column("sequence", Integer, nullable=False, comment="last event folded in"),
    )
    Index("jobs_accepted", jobs.c.accepted, unique=True)
    Index("jobs_state", jobs.c.state, jobs.c.accepted)
    Index("jobs_kind", jobs.c.kind, jobs.c.accepted)
    events = Table(
        "job_events",
        metadata,
        Column("sequence", Integer, primary_key=True),
        Column("job", Text, nullable=False),
        Column("id", Text, nullable=False),
        Column("type", Text, nullable=False),
        Column("time", Text, nullable=False),
        Column("data", Text, nullable=False, comment="JSON"),
    )
    # A broker that lost its tail is told again, by the same id: one event, two sequences.
    Index("job_events_once", events.c.job, events.c.id, unique=True)
    Table(
        "job_datasets",
        metadata,
        Column("dataset", Text, primary_key=True),
        Column("job", Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    artifacts = Table(
        "artifacts",
        metadata,
        Column("object", Text, primary_key=True),
        Column("job", Text, nullable=False),
        Column("role", Text, nullable=False),
    )
    Index("artifacts_job", artifacts.c.job, artifacts.c.role)


def _datasets(metadata: MetaData) -> None:
    datasets = Table(
        "datasets",
        metadata,
        Column("dataset", Text, primary_key=True),
        Column("sequence", Integer, nullable=False, comment="of its registration"),
        Column("origin", Text, nullable=False),
        Column("account", Text, nullable=False),
        Column("job", Text, nullable=False),
        Column("parents", Text, nullable=False, comment="JSON"),
        Column("project", Text, nullable=False),
        Column("principal", Text, nullable=False),
        Column("created", Text, nullable=False),
    )
    Index("datasets_sequence", datasets.c.sequence, unique=True)
    Table(
        "deletions",
        metadata,
        Column("dataset", Text, primary_key=True),
        Column("deleted", Text, nullable=False),
        Column("cascade", Integer, nullable=False, comment="1 if what was made from it went with it"),
    )
    Table(
        "versions",
        metadata,
        Column("dataset", Text, primary_key=True),
        Column("version", Integer, primary_key=True),
        Column("origin", Text),
        Column("table_object", Text, comment="null while only other events of the version are known"),
        Column("account", Text, comment="that the content falls under; null: the one that the dataset was registered with"),
        Column("proposal", Text),
        Column("job", Text),
        Column("added", Text),
        Column("profile", Text),
        Column("profiled_at", Integer, comment="sequence of the event that told of the profile"),
        Column("declared", Text),
        Column("attested_by", Text),
        Column("attested", Text),
        Column("declared_at", Integer, comment="sequence of the attestation"),
    )


def _budgets(metadata: MetaData) -> None:
    Table(
        "accounts",
        metadata,
        Column("account", Text, primary_key=True),
        Column("entry", Integer, nullable=False, comment="last ledger row folded in"),
        *_cost("spent"),
        *_cost("reserved"),
        *_cost("limit"),
        Column("limited", Integer, comment="ledger row that set the limit"),
        Column("epsilon", BigInteger, comment="1e-9, as stated"),
        Column("delta", BigInteger, comment="1e-18, as stated"),
        Column("terms", Text, comment="JSON: composition, neighbours, unit, window and approval, as that row said"),
        Column("refreshed", Integer, comment="ledger row with which the present refresh window began"),
        *_cost("before"),
        Column("sequence", Integer, nullable=False),
    )
    ledger = Table(
        "ledger",
        metadata,
        Column("account", Text, primary_key=True),
        Column("entry", Integer, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("job", Text),
        Column("step", Text),
        Column("attempt", Integer),
        *_cost("cost"),
        *_cost("spent"),
        *_cost("reserved"),
        *_cost("limit"),
        *_cost("left"),
        Column("epsilon", BigInteger),
        Column("delta", BigInteger),
        Column("code", Text),
        Column("principal", Text, nullable=False),
        Column("project", Text, nullable=False),
        Column("reason", Text),
        Column("holder", Text, comment="whose quota was set"),
        *_cost("quota"),
        Column("event", Text, nullable=False),
        Column("sequence", Integer, nullable=False),
        Column("time", Text, nullable=False),
    )
    Index("ledger_job", ledger.c.job, ledger.c.step, ledger.c.attempt)
    Index("ledger_kind", ledger.c.account, ledger.c.kind)
    Table(
        "mechanisms",
        metadata,
        Column("job", Text, primary_key=True),
        Column("step", Text, primary_key=True),
        Column("attempt", Integer, primary_key=True),
        Column("mechanisms", Text, nullable=False, comment="JSON"),
    )


def _audit(metadata: MetaData) -> None:
    entries = Table(
        "audit_entries",
        metadata,
        Column("place", Integer, primary_key=True, comment="from 0"),
        Column("event", Text, nullable=False, unique=True),
        Column("leaf", LargeBinary, nullable=False),
        Column("entry", Text, nullable=False, comment="JSON"),
        Column("type", Text, nullable=False),
        Column("principal", Text, nullable=False),
        Column("time", Text, nullable=False),
        Column("outcome", Text, nullable=False),
    )
    for name in ("type", "principal", "time", "outcome"):
        Index(f"audit_entries_{name}", entries.c[name], entries.c.place)
    Table(
        "audit_ids",
        metadata,
        Column("id", Text, primary_key=True, comment="of a thing that the entry is about"),
        Column("place", Integer, primary_key=True),
        sqlite_with_rowid=False,
    )
    Table(
        "audit_nodes",
        metadata,
        Column("level", Integer, primary_key=True),
        Column("place", Integer, primary_key=True, comment="from 0"),
        Column("hash", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    Table(
        "checkpoints",
        metadata,
        Column("size", Integer, primary_key=True),
        Column("note", Text, nullable=False),
        Column("time", Text, nullable=False),
        Column("sequence", Integer, nullable=False),
    )


def _repairs(metadata: MetaData) -> None:
    Table(
        "repairs",
        metadata,
        Column("id", Text, primary_key=True, comment="of the event"),
        Column("part", Text, nullable=False),
        Column("stream", Text, nullable=False),
        Column("messages", Integer, nullable=False),
        Column("time", Text, nullable=False),
    )


def _letters(metadata: MetaData) -> None:
    letters = Table(
        "dead_letters",
        metadata,
        Column("letter", Text, primary_key=True),
        Column("sequence", Integer, nullable=False),
        Column("reason", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("subject", Text, nullable=False),
        Column("source", Text, nullable=False),
        Column("type", Text, comment="null where the message cannot be read"),
        Column("job", Text),
        Column("time", Text, nullable=False),
        Column("body", Text, nullable=False, comment="base64"),
    )
    Index("dead_letters_sequence", letters.c.sequence)
    Table(
        "letter_ends",
        metadata,
        Column("letter", Text, primary_key=True),
        Column("how", Text, nullable=False),
        Column("replayed_as", Text, comment="the new job"),
    )


FOLDED: dict[str, tuple[str, ...]] = {
    subjects.EVENTS: (
        "jobs",
        "job_events",
        "job_datasets",
        "artifacts",
        "datasets",
        "deletions",
        "versions",
        "accounts",
        "ledger",
        "mechanisms",
        "letter_ends",
        "repairs",
    ),
    subjects.AUDIT: ("audit_entries", "audit_ids", "audit_nodes", "checkpoints"),
    subjects.DEAD: ("dead_letters",),
}
"""The tables that each stream is folded into, and no other."""
