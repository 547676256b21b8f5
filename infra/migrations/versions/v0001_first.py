"""The tables of the first Halftone, before there were revisions."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, PrimaryKeyConstraint, Text, UniqueConstraint, text

from infra.database.dialect import Integer

revision = "0001"
down_revision = None


def upgrade(kind: str) -> None:
    """Make them."""
    _common()
    {"edge": _edge, "executor": _executor, "budget_keeper": _budget_keeper, "auditor": _auditor}[kind]()


def _common() -> None:
    op.create_table(
        "inbox",
        Column("message_id", Text, nullable=False),
        Column("handled_at", Integer, nullable=False),
        PrimaryKeyConstraint("message_id"),
    )
    op.create_table(
        "outbox",
        Column("n", Integer, autoincrement=True, nullable=False),
        Column("message_id", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("made_at", Integer, nullable=False),
        Column("sequence", Integer),
        PrimaryKeyConstraint("n"),
        UniqueConstraint("message_id"),
    )
    op.create_index("outbox_unsent", "outbox", ["n"], sqlite_where=text("sequence IS NULL"), postgresql_where=text("sequence IS NULL"))
    op.create_table(
        "positions",
        Column("stream", Text, nullable=False),
        Column("sequence", Integer, nullable=False),
        Column("message_id", Text, nullable=False),
        PrimaryKeyConstraint("stream"),
    )


def _edge() -> None:
    op.create_table(
        "contents",
        Column("sha256", Text, nullable=False),
        Column("account", Text, nullable=False),
        PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "datasets",
        Column("dataset", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("filename", Text),
        Column("source", Text),
        Column("origin", Text, nullable=False),
        Column("account", Text, nullable=False),
        Column("project", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("job", Text, nullable=False),
        Column("made_at", Integer, nullable=False),
        PrimaryKeyConstraint("dataset"),
    )
    op.create_table(
        "deletions",
        Column("dataset", Text, nullable=False),
        Column("cascade", Integer, nullable=False),
        Column("asked_at", Integer, nullable=False),
        Column("done_at", Integer),
        PrimaryKeyConstraint("dataset"),
    )
    op.create_table(
        "requests",
        Column("principal", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("request", Text, nullable=False),
        Column("job", Text, nullable=False),
        Column("dataset", Text),
        Column("made_at", Integer, nullable=False),
        PrimaryKeyConstraint("principal", "key"),
    )
    op.create_table(
        "retention",
        Column("dataset", Text, nullable=False),
        Column("days", Integer, nullable=False),
        PrimaryKeyConstraint("dataset"),
    )
    op.create_table(
        "schemas",
        Column("n", Integer, autoincrement=True, nullable=False),
        Column("dataset", Text, nullable=False),
        Column("version", Integer, nullable=False),
        Column("object", Text, nullable=False),
        Column("attested_by", Text, nullable=False),
        Column("attested_at", Integer, nullable=False),
        PrimaryKeyConstraint("n"),
    )
    op.create_index("schemas_dataset", "schemas", ["dataset", "version"])
    op.create_table(
        "tokens",
        Column("token", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("role", Text, nullable=False),
        Column("digest", LargeBinary, nullable=False),
        Column("holder", Text, nullable=False),
        Column("issued_by", Text, nullable=False),
        Column("issued_at", Integer, nullable=False),
        Column("expires_at", Integer),
        Column("revoked_at", Integer),
        PrimaryKeyConstraint("token"),
        UniqueConstraint("digest"),
    )
    op.create_table(
        "uses",
        Column("dataset", Text, nullable=False),
        Column("job", Text, nullable=False),
        PrimaryKeyConstraint("dataset", "job"),
        sqlite_with_rowid=False,
    )


def _executor() -> None:
    op.create_table(
        "jobs",
        Column("job", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("lost", Integer, nullable=False),
        Column("mechanism_runs", Integer, nullable=False),
        Column("measurements", Text),
        Column("token", Text),
        Column("lease_until", Integer, nullable=False),
        Column("cancel_requested", Boolean, nullable=False),
        PrimaryKeyConstraint("job"),
    )


def _budget_keeper() -> None:
    op.create_table(
        "accounts",
        Column("account", Text, nullable=False),
        Column("entries", Integer, nullable=False),
        Column("limit_rho", BigInteger),
        Column("limit_delta", BigInteger),
        Column("spent_rho", BigInteger, nullable=False),
        Column("spent_delta", BigInteger, nullable=False),
        Column("reserved_rho", BigInteger, nullable=False),
        Column("reserved_delta", BigInteger, nullable=False),
        PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "ended_jobs",
        Column("job", Text, nullable=False),
        PrimaryKeyConstraint("job"),
    )
    op.create_table(
        "ledger",
        Column("account", Text, nullable=False),
        Column("entry", Integer, nullable=False),
        Column("kind", Text, nullable=False),
        Column("job", Text),
        Column("step", Text),
        Column("attempt", Integer),
        Column("rho", BigInteger, nullable=False),
        Column("delta", BigInteger, nullable=False),
        Column("spent_rho", BigInteger, nullable=False),
        Column("spent_delta", BigInteger, nullable=False),
        Column("limit_rho", BigInteger),
        Column("limit_delta", BigInteger),
        Column("principal", Text, nullable=False),
        Column("event", Text, nullable=False),
        Column("made_at", Integer, nullable=False),
        PrimaryKeyConstraint("account", "entry"),
        UniqueConstraint("account", "job", "step", "attempt", "kind"),
        UniqueConstraint("event"),
    )


def _auditor() -> None:
    op.create_table(
        "entries",
        Column("idx", Integer, autoincrement=False, nullable=False),
        Column("event", Text, nullable=False),
        Column("entry", LargeBinary, nullable=False),
        Column("leaf", LargeBinary, nullable=False),
        PrimaryKeyConstraint("idx"),
        UniqueConstraint("event"),
    )
    op.create_table(
        "nodes",
        Column("level", Integer, nullable=False),
        Column("idx", Integer, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        PrimaryKeyConstraint("level", "idx"),
    )
