"""Databases, copied into SQLite files of the same revision: out of SQLite or Postgres, and back into either."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, MetaData, inspect, make_url, text

from infra.database.engine import begin_writing, reading, schema_of, writing
from infra.database.versions import TABLE, migrate, revision

ROWS = 1000
"""Rows that are copied at a time."""


class DatabaseNotEmpty(RuntimeError):
    """What was saved is put into an empty database, or nowhere."""


def save(url: str, database: str, target: Path) -> str | None:
    """Copy a database as it is at this moment, also while it is written to; its revision, None where there is no such database."""
    if schema_of(url) is None:
        return _save_file(Path(make_url(url).database or ""), database, target)
    engine = reading(url, 1)
    try:
        # One transaction, and so one moment, for all tables.
        with engine.connect() as source:
            held = revision(source, database)
            if held is not None:
                _fill(source, f"sqlite:///{target}", database, held)
            return held
    finally:
        engine.dispose()


def _save_file(path: Path, database: str, target: Path) -> str | None:
    if not path.exists():
        return None
    opened = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    with contextlib.closing(opened) as source, contextlib.closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        # A backup is one file: nothing of it may be in another beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
    engine = reading(f"sqlite:///{target}", 1)
    try:
        with engine.connect() as connection:
            return revision(connection, database)
    finally:
        engine.dispose()


def put_back(saved: Path, database: str, url: str) -> None:
    """Make a database, which must not be there, of what was saved. Raises DatabaseNotEmpty, or DatabaseTooNew."""
    if schema_of(url) is None:
        path = Path(make_url(url).database or "")
        if path.exists():
            raise DatabaseNotEmpty(f"{path} exists: restore into an empty home")
        shutil.copyfile(saved, path)
        path.chmod(0o600)
        return
    engine = reading(f"sqlite:///{saved}", 1)
    try:
        with engine.connect() as source:
            held = revision(source, database)
            if held is not None:
                _fill(source, url, database, held)
    finally:
        engine.dispose()


def _fill(source: Connection, url: str, database: str, held: str) -> None:
    """Make the tables of a revision, and copy every row, all in one transaction."""
    engine = writing(url)
    try:
        with engine.begin() as target:
            begin_writing(target, url)
            schema = schema_of(url)
            if schema is not None:
                target.execute(text(f"CREATE SCHEMA IF NOT EXISTS {target.dialect.identifier_preparer.quote(schema)}"))
            if inspect(target).has_table("outbox"):
                raise DatabaseNotEmpty(f"the database of {database} holds tables: restore into an empty one")
            migrate(target, database, None, held)
            theirs, ours = MetaData(), MetaData()
            theirs.reflect(source)
            ours.reflect(target)
            for name, table in ours.tables.items():
                if name == TABLE:
                    continue
                for rows in source.execute(theirs.tables[name].select()).mappings().partitions(ROWS):
                    target.execute(table.insert(), [dict(row) for row in rows])
                if schema is not None:
                    _advance(target, name, [column.name for column in table.primary_key])
    finally:
        engine.dispose()


def _advance(target: Connection, table: str, key: list[str]) -> None:
    """Have a table's own numbers go on after those that were copied."""
    for column in key:
        quoted = target.dialect.identifier_preparer.quote
        sequence = target.execute(
            text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": quoted(table), "column": column}
        ).scalar()
        if sequence is not None:
            greatest = f"SELECT max({quoted(column)}) FROM {quoted(table)}"  # noqa: S608  # names of our own tables
            target.execute(text(f"SELECT setval(:sequence, ({greatest})) WHERE ({greatest}) IS NOT NULL"), {"sequence": sequence})
