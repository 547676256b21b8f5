"""Tables that every database has: what came in, what failed, what is to go out, how far a stream was read, who does what."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, MetaData, Table, Text

from infra.database.dialect import Integer


def common_tables(metadata: MetaData) -> None:
    """Add inbox, outbox, failures, positions and leases to a database's tables."""
    Table(
        "inbox",
        metadata,
        Column("message_id", Text, primary_key=True, comment="a message that was handled: it is never handled again"),
        Column("handled_at", Integer, nullable=False, comment="ms since 1970"),
    )
    outbox = Table(
        "outbox",
        metadata,
        Column("n", Integer, primary_key=True, autoincrement=True, comment="order of publishing"),
        Column("message_id", Text, nullable=False, unique=True),
        Column("subject", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("made_at", Integer, nullable=False, comment="ms since 1970"),
        Column("sequence", Integer, nullable=True, comment="place in its stream; null: not acknowledged yet; 0: refused for good"),
    )
    Index("outbox_unsent", outbox.c.n, sqlite_where=outbox.c.sequence.is_(None), postgresql_where=outbox.c.sequence.is_(None))
    Table(
        "failures",
        metadata,
        Column("message_id", Text, primary_key=True, comment="a message on which its handler failed"),
        Column("attempts", Integer, nullable=False, comment="how often"),
        Column("last_at", Integer, nullable=False, comment="ms since 1970"),
    )
    Table(
        "positions",
        metadata,
        Column("stream", Text, primary_key=True),
        Column("sequence", Integer, nullable=False, comment="last message whose effect is in this database"),
        Column("message_id", Text, nullable=False, comment="its id: a replaced broker may use a sequence again"),
    )
    Table(
        "leases",
        metadata,
        Column("name", Text, primary_key=True, comment="what one instance alone may do"),
        Column("holder", Text, nullable=False, comment="the instance that does it"),
        Column("fence", Integer, nullable=False, comment="raised whenever the holder changes: who has an older one is fenced off"),
        Column("until", Integer, nullable=False, comment="ms since 1970 by the database's clock; after that, another may take it"),
    )
