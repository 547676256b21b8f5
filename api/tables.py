"""The edge's own tables: what it promised under which key, names and ends of datasets, who may come in. No view: nothing else knows it."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text

from infra.database.dialect import Integer
from infra.database.tables import common_tables


def edge_tables() -> MetaData:
    """The tables of the edge's database."""
    metadata = MetaData()
    common_tables(metadata)
    Table(
        "requests",
        metadata,
        Column("principal", Text, nullable=False),
        Column("key", Text, nullable=False, comment="Idempotency-Key"),
        Column("request", Text, nullable=False, comment="SHA-256 of what was asked for, hex"),
        Column("job", Text, nullable=False, comment="what was promised"),
        Column("dataset", Text, comment="the dataset that was registered with it"),
        Column("made_at", Integer, nullable=False, comment="ms since 1970"),
        PrimaryKeyConstraint("principal", "key"),
    )
    Table(
        "datasets",
        metadata,
        Column("dataset", Text, primary_key=True),
        Column("name", Text, nullable=False),
        Column("filename", Text, comment="of the upload, as the client called it"),
        Column("source", Text, comment="object that holds the upload"),
        Column("origin", Text, nullable=False),
        Column("account", Text, nullable=False, comment="budget account of its lineage"),
        Column("project", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("job", Text, nullable=False, comment="the job that brings its rows"),
        Column("made_at", Integer, nullable=False, comment="ms since 1970"),
    )
    schemas = Table(
        "schemas",
        metadata,
        Column("n", Integer, primary_key=True, autoincrement=True, comment="the highest of a version holds"),
        Column("dataset", Text, nullable=False),
        Column("version", Integer, nullable=False),
        Column("object", Text, nullable=False, comment="object that holds the declared schema"),
        Column("attested_by", Text, nullable=False),
        Column("attested_at", Integer, nullable=False, comment="ms since 1970"),
    )
    Index("schemas_dataset", schemas.c.dataset, schemas.c.version)
    Table(
        "contents",
        metadata,
        Column("sha256", Text, primary_key=True, comment="of an upload, hex"),
        Column("account", Text, nullable=False, comment="the same content again falls under the same budget"),
    )
    Table(
        "units",
        metadata,
        Column("account", Text, primary_key=True),
        Column("column", Text, nullable=False, comment="names a row's user, where the privacy unit of the account is a user"),
    )
    Table(
        "uses",
        metadata,
        Column("dataset", Text, primary_key=True),
        Column("job", Text, primary_key=True, comment="a job that was promised, which reads or makes it"),
        sqlite_with_rowid=False,
    )
    Table(
        "retention",
        metadata,
        Column("dataset", Text, primary_key=True),
        Column("days", Integer, nullable=False, comment="after which it is deleted, counted from its registration"),
    )
    Table(
        "deletions",
        metadata,
        Column("dataset", Text, primary_key=True),
        Column("cascade", Integer, nullable=False, comment="1 if what was made from it goes with it"),
        Column("asked_at", Integer, nullable=False, comment="ms since 1970"),
        Column("done_at", Integer, comment="when the last of its objects was removed; null until then"),
    )
    Table(
        "tokens",
        metadata,
        Column("token", Text, primary_key=True),
        Column("name", Text, nullable=False),
        Column("role", Text, nullable=False),
        Column("digest", LargeBinary, nullable=False, unique=True, comment="keyed hash of the token, which is kept nowhere"),
        Column("holder", Text, nullable=False, comment="the principal that acts with it"),
        Column("issued_by", Text, nullable=False),
        Column("issued_at", Integer, nullable=False, comment="ms since 1970, as are all times"),
        Column("expires_at", Integer),
        Column("revoked_at", Integer),
    )
    Table(
        "settings",
        metadata,
        Column("name", Text, primary_key=True),
        Column("value", Text, comment="as the log was told; null where it was told a hash"),
        Column("hash", Text),
    )
    return metadata
