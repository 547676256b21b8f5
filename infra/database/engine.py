"""Connections to SQLite and Postgres, set up so that both keep the same promises: one writer at a time, and a commit is on disk."""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import StaticPool

from infra.refusal import StartRefused

BUSY_SECONDS = 30
"""How long SQLite waits for another process that writes."""
LOCKS = 0x48545F57
"""The family of our advisory locks in Postgres."""
_SCHEMA = "schema"
# A server that does not answer is given up in seconds, on its side too: whoever stops in the middle of a transaction holds up all others.
_PATIENCE = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
_SERVER_PATIENCE = "SET idle_in_transaction_session_timeout = '10s'"


class DatabaseUnknown(ValueError):
    """The database is neither SQLite nor Postgres."""


class DriverMissing(StartRefused):
    """HALFTONE_DATABASE_URL names a Postgres, and its driver is not installed: pip install 'halftone-data[postgres]'."""


def schema_url(url: str, schema: str) -> str:
    """The address of one actor's schema in a Postgres database."""
    made = make_url(url).set(drivername="postgresql+psycopg")
    return made.update_query_dict({_SCHEMA: schema}).render_as_string(hide_password=False)


def schema_of(url: str) -> str | None:
    """The schema that an address names; None for SQLite."""
    parsed = make_url(url)
    return None if _backend(parsed) == "sqlite" else str(parsed.query.get(_SCHEMA, "public"))


def writing(url: str, synchronous: str = "FULL") -> Engine:
    """An engine with the one connection that a process writes with.

    ``synchronous`` is SQLite's word: with FULL, a commit that is answered survives a power cut; with NORMAL it may be undone by one, whole.
    Raises DatabaseUnknown or DriverMissing.
    """
    parsed = make_url(url)
    if _backend(parsed) == "sqlite":
        return _sqlite_writing(url, parsed, synchronous)
    schema, parsed = _postgres(parsed)
    engine = create_engine(parsed, poolclass=StaticPool, connect_args=_PATIENCE)
    commit = "on" if synchronous == "FULL" else "off"
    _on_connect(engine, f"SET search_path = {_quoted(schema)}", f"SET synchronous_commit = {commit}", _SERVER_PATIENCE)
    return engine


def reading(url: str, connections: int) -> Engine:
    """An engine whose connections cannot write; what one transaction reads is of one moment. Raises DatabaseUnknown or DriverMissing."""
    parsed = make_url(url)
    if _backend(parsed) == "sqlite":
        given = {"check_same_thread": False, "timeout": BUSY_SECONDS}
        engine = create_engine(url, pool_size=connections, max_overflow=0, connect_args=given)
        event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA query_only=ON"))
        return engine
    schema, parsed = _postgres(parsed)
    engine = create_engine(
        parsed, pool_size=connections, max_overflow=0, connect_args=_PATIENCE, isolation_level="REPEATABLE READ", pool_recycle=300
    )
    _on_connect(engine, f"SET search_path = {_quoted(schema)}", "SET default_transaction_read_only = on", _SERVER_PATIENCE)
    return engine


def begin_writing(connection: Connection, url: str) -> str | None:
    """Make this transaction the only one that writes to its schema.

    Returns, on Postgres, the transaction's number: what became of it can be asked for when its commit was not answered. SQLite needs
    neither: there, transactions of this engine begin IMMEDIATE, and a commit is answered.
    """
    schema = schema_of(url)
    if schema is None:
        return None
    # The lock is held until the commit can be seen by others; whoever gets it next sees all that came before (READ COMMITTED).
    key = zlib.crc32(schema.encode()) - (1 << 31)
    asked = f"SELECT pg_advisory_xact_lock({LOCKS}, {key}), pg_current_xact_id()::text"
    number: str = connection.exec_driver_sql(asked).one()[1]
    return number


def was_committed(connection: Connection, number: str) -> bool:
    """What became of an earlier transaction. Ask within one that holds the schema's lock: then the earlier one has ended."""
    status = connection.execute(text("SELECT pg_xact_status(CAST(:number AS xid8))"), {"number": number}).scalar()
    return status == "committed"


def _sqlite_writing(url: str, parsed: URL, synchronous: str) -> Engine:
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # SQLAlchemy begins transactions below: the driver's own implicit ones would start too late for savepoints.
        connection.isolation_level = None
        for pragma in (f"busy_timeout={BUSY_SECONDS * 1000}", "journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.connection.cursor().execute("BEGIN IMMEDIATE")

    return engine


def _backend(url: URL) -> str:
    name = url.get_backend_name()
    if name not in {"sqlite", "postgresql"}:
        raise DatabaseUnknown(f"SQLite and Postgres are supported, not {name}")
    return name


def _postgres(url: URL) -> tuple[str, URL]:
    """The schema, and the address as the driver takes it. Raises DriverMissing."""
    if importlib.util.find_spec("psycopg") is None:
        raise DriverMissing(DriverMissing.__doc__)
    return str(url.query.get(_SCHEMA, "public")), url.difference_update_query([_SCHEMA]).set(drivername="postgresql+psycopg")


def _on_connect(engine: Engine, *statements: str) -> None:
    def configure(connection: Any, _record: Any) -> None:
        for statement in statements:
            connection.execute(statement)
        connection.commit()

    listener: Callable[[Any, Any], None] = configure
    event.listen(engine, "connect", listener)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
