"""Queries to PostgreSQL: in one transaction that may only read, its rows fetched through a cursor."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import asyncpg
from sqlalchemy.engine import URL

from infra.sources.errors import QueryFailed, QueryRefused, QueryTooSlow, SourceDenied, SourceUnreachable
from infra.sources.sql import Deadline, Row

T = TypeVar("T")

CONNECT_SECONDS = 15.0
_DENIED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, asyncpg.InsufficientPrivilegeError)
_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalClientError,  # what the driver raises first when the server went away between two of its answers
)


class _Rows:
    def __init__(self, run: _Run, names: tuple[str, ...], cursor: Any) -> None:
        self._run, self._cursor = run, cursor
        self.names = names

    def fetch(self, count: int) -> Sequence[Row]:
        rows: Sequence[Row] = self._run(self._cursor.fetch(count))
        return rows


class _Run:
    """Runs what the driver awaits, up to the deadline, and says what went wrong in words of our own: the database's may quote a row."""

    def __init__(self, runner: asyncio.Runner, deadline: Deadline) -> None:
        self._runner, self._deadline = runner, deadline

    def __call__(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(self._in_time(work))
        except (TimeoutError, asyncpg.QueryCanceledError):
            limit = int(self._deadline.seconds)
            detail = f"The query takes longer than {limit:,} seconds: select fewer rows, or have HALFTONE_SQL_SECONDS raised."
            raise QueryTooSlow(detail, limit=limit) from None
        except _AWAY:
            raise SourceUnreachable("The connection to the database was lost: try the job again in a while.") from None
        except asyncpg.PostgresError as error:
            name = type(error).__name__.removesuffix("Error")
            detail = f"The query failed while it ran ({name}, SQLSTATE {error.sqlstate}): a row holds what it cannot work with."
            raise QueryFailed(detail, reason=name, sqlstate=error.sqlstate) from None
        except (asyncpg.InterfaceError, ValueError, OverflowError) as error:
            # Such as a moment before our era, which the driver has no value for.
            raise QueryFailed("A row holds what cannot be read: select it as text.", reason=type(error).__name__) from None

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        # Begun in any case: a coroutine that nobody awaits warns.
        return await asyncio.wait_for(work, max(0.001, self._deadline.left))


@contextlib.contextmanager
def reading(url: URL, query: str, deadline: Deadline) -> Iterator[_Rows]:
    """Run a query. Raises SourceUnreachable, SourceDenied, QueryRefused, QueryFailed or QueryTooSlow."""
    with asyncio.Runner() as runner:
        connection = runner.run(_connected(url, deadline))
        run = _Run(runner, deadline)
        try:
            run(connection.transaction(readonly=True).start())
            statement = runner.run(_prepared(connection, query, deadline))
            names = tuple(column.name for column in statement.get_attributes())
            yield _Rows(run, names, run(_opened(statement)))
        finally:
            # Not closed in good order: a statement that is still at work would be waited for.
            connection.terminate()


async def _connected(url: URL, deadline: Deadline) -> Any:
    settings = {"default_transaction_read_only": "on", "statement_timeout": f"{max(1, int(deadline.left * 1000))}"}
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, statement_cache_size=0, server_settings=settings)
    except _DENIED:
        raise SourceDenied from None
    except (*_AWAY, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.ClientConfigurationError, ValueError):
        raise SourceUnreachable("The database does not answer: try the job again in a while, or ask whoever runs it.") from None


async def _prepared(connection: Any, query: str, deadline: Deadline) -> Any:
    """Have the query understood. What is said against it now is of names and words: no row was read yet."""
    try:
        return await connection.prepare(query, timeout=max(0.001, deadline.left))
    except asyncpg.PostgresError as error:
        where = f" (at character {error.position})" if getattr(error, "position", None) else ""
        detail = f"The database does not take the query: {error.message}{where}."
        raise QueryRefused(detail, sqlstate=error.sqlstate) from None
    except (TimeoutError, *_AWAY):
        raise SourceUnreachable("The database does not answer: try the job again in a while, or ask whoever runs it.") from None


async def _opened(statement: Any) -> Any:
    return await statement.cursor()
