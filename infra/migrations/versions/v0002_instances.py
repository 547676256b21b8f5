"""Several instances on one database, what is counted before a message is given up, and what the log was told."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, PrimaryKeyConstraint, Text

from infra.database.dialect import Integer

revision = "0002"
down_revision = "0001"


def upgrade(kind: str) -> None:
    """Add leases and failures; checkpoints of the log; settings it was told; who has a job's lease, and what was granted for it."""
    op.create_table(
        "failures",
        Column("message_id", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("last_at", Integer, nullable=False),
        PrimaryKeyConstraint("message_id"),
    )
    op.create_table(
        "leases",
        Column("name", Text, nullable=False),
        Column("holder", Text, nullable=False),
        Column("fence", Integer, nullable=False),
        Column("until", Integer, nullable=False),
        PrimaryKeyConstraint("name"),
    )
    if kind == "auditor":
        op.create_table(
            "checkpoints",
            Column("size", Integer, nullable=False, autoincrement=False),
            Column("note", Text, nullable=False),
            PrimaryKeyConstraint("size"),
        )
    if kind == "edge":
        op.create_table(
            "settings",
            Column("name", Text, nullable=False),
            Column("value", Text),
            Column("hash", Text),
            PrimaryKeyConstraint("name"),
        )
    if kind == "executor":
        op.add_column("jobs", Column("granted", Integer, nullable=False, server_default="0"))
        op.add_column("jobs", Column("owner", Text))
        op.execute("UPDATE jobs SET granted = mechanism_runs")
