"""What SQLite and Postgres do differently, in one place: integers, inserts, and what statements are compiled for."""

from __future__ import annotations

import functools

from sqlalchemy import BigInteger, Connection
from sqlalchemy import Integer as _Integer
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.psycopg import dialect as _postgres
from sqlalchemy.dialects.sqlite.pysqlite import dialect as _sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

__all__ = ["Integer", "can_pass", "dialect_named", "has_passed_away", "insert"]

Integer = _Integer().with_variant(BigInteger(), "postgresql")
"""64 bits on both: Postgres' own INTEGER would end at 2,147,483,647, and milliseconds since 1970 do not fit. ``insert`` above knows
``ON CONFLICT``, which both write alike."""


@functools.cache
def dialect_named(name: str) -> Dialect:
    """The dialect that statements are compiled for ahead of time, with positional parameters."""
    made: Dialect = _sqlite() if name == "sqlite" else _postgres(paramstyle="format")  # type: ignore[no-untyped-call]
    return made


def has_passed_away(connection: Connection, error: Exception) -> bool:
    """Whether a driver's error means that the connection is of no use any more, and not that a statement was wrong."""
    return connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, None)  # type: ignore[arg-type]


def can_pass(error: BaseException) -> bool:
    """Whether the same transaction may do well in a while: the server was away, or another process held the file for too long."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and can_pass(error.orig))
    if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return True
    if not type(error).__module__.startswith("psycopg"):
        return False
    code = getattr(error, "sqlstate", None)
    if code is None:
        # A server that does not answer at all has no code for it.
        return type(error).__name__ == "OperationalError"
    # The connection, a shutdown or a start, too many connections, a lost race, a transaction that stood still for too long.
    return code[:2] in {"08", "57"} or code in {"53300", "40001", "40P01", "25P03"}
