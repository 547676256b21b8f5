"""Queries to real databases: what they give, and what is said when they do not; never a row's value, an address or a password."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
import threading
import traceback
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from contracts.problems import ProblemError
from infra.sources import errors
from infra.sources.sql import querying
from real_postgres import started

SECRET = "Jane-Doe-1983"
ROWS = [(n, SECRET, 20 + n % 60) for n in range(1000)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL with a table of people."""
    for url in started():
        asyncio.run(fill(url))
        yield url


async def fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    rows = [(*row, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), Decimal("70.5")) for row in ROWS]
    await connection.execute("CREATE TABLE people (id int, name text, age int, seen timestamptz, weight numeric(5,1))")
    await connection.execute("CREATE ROLE reader LOGIN")
    await connection.copy_records_to_table("people", records=rows)
    await connection.execute("CREATE TABLE secrets (a int)")
    await connection.close()


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite file with the same table."""
    path = tmp_path_factory.mktemp("sqlite") / "people db.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (id int, name text, age int, seen text, weight real)")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, '2024-01-01', 70.5)", ROWS)
    connection.close()
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """Each of the databases."""
    return str(request.getfixturevalue(request.param))


def asked(url: str, query: str, seconds: float = 60.0) -> tuple[tuple[str, ...], list[Any]]:
    with querying(url, query, seconds=seconds) as result:
        rows: list[Any] = []
        while some := result.fetch(300):
            assert len(some) <= 300
            rows += map(tuple, some)
        return result.names, rows


def refused(url: str, query: str, seconds: float = 60.0) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        asked(url, query, seconds)
    # What is written to a job's log is the traceback.
    told = f"{caught.value} {caught.value.document().model_dump_json()} {''.join(traceback.format_exception(caught.value))}"
    assert SECRET not in told
    assert "hunter2" not in told
    return caught.value


def test_rows_come_in_order_some_at_a_time(database: str) -> None:
    """Under the names that the query gives them."""
    names, rows = asked(database, "SELECT id, name AS who, age FROM people ORDER BY id")
    assert names == ("id", "who", "age")
    assert rows == ROWS


def test_a_query_without_rows_has_names(database: str) -> None:
    """Whether that is enough is for the reader of the rows to say."""
    assert asked(database, "SELECT id FROM people WHERE false") == (("id",), [])


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO people (id) VALUES (1)",
        "DELETE FROM people",
        "CREATE TABLE stolen (a int)",
        "DROP TABLE people",
        "WITH gone AS (DELETE FROM people RETURNING *) SELECT * FROM gone",
    ],
)
def test_nothing_is_written_even_if_a_query_that_writes_comes_so_far(database: str, query: str) -> None:
    """The database itself refuses: that the statement was looked at before is not relied on."""
    assert isinstance(refused(database, query), errors.QueryRefused | errors.QueryFailed)
    assert asked(database, "SELECT count(*) FROM people")[1] == [(1000,)]


@pytest.mark.parametrize(
    ("query", "says"),
    [("SELECT nosuch FROM people", "nosuch"), ("SELECT 1 FROM elsewhere", "elsewhere"), ("SELEC 1", "SELEC"), ("SELECT 1 1 1", "1")],
)
def test_a_query_that_is_wrong_is_refused_in_the_words_of_the_database(database: str, query: str, says: str) -> None:
    """They are about names in the query: no row was read when they were said."""
    problem = refused(database, query)
    assert (problem.code, says in str(problem)) == ("query-refused", True)


def test_a_query_that_fails_on_a_row_is_told_without_it(sqlite: str, postgres: str) -> None:
    """A database quotes the value that it stumbled over; we do not."""
    assert "SQLSTATE 22P02" in str(refused(postgres, "SELECT name::int FROM people"))
    assert refused(postgres, "SELECT name::int FROM people").code == "query-failed"
    assert refused(sqlite, "SELECT json_extract(name, '$.x') FROM people").code == "query-failed"


def test_a_query_that_takes_too_long_is_ended(sqlite: str, postgres: str) -> None:
    """Whether it works on, or gives rows for ever."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"
    for url in (sqlite, postgres):
        for what in ("count(*)", "i"):
            problem = refused(url, endless.format(what), seconds=1)
            assert (problem.code, problem.fields["limit"]) == ("query-too-slow", 1)
    assert refused(postgres, "SELECT pg_sleep(60)", seconds=1).code == "query-too-slow"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://jane:hunter2@127.0.0.1:1/people",
        "postgresql://jane:hunter2@no-such-host.invalid/people",
        "postgresql+asyncpg:///people?host=/nowhere&password=hunter2",
        "sqlite:////nowhere/hunter2.db",
    ],
)
def test_a_database_that_does_not_answer_can_be_tried_again(url: str) -> None:
    """503, without its address."""
    problem = refused(url, "SELECT 1")
    assert (problem.code, problem.status) == ("source-unreachable", 503)
    assert "127.0.0.1" not in str(problem)


def test_a_file_that_is_no_database_and_one_that_is_locked_do_not_answer_either(tmp_path: Path) -> None:
    """As far as a reader can tell."""
    path = tmp_path / "x.db"
    path.write_bytes(b"no database, but for " + SECRET.encode() * 100)
    assert refused(f"sqlite:///{path}", "SELECT 1").code == "source-unreachable"


def test_whom_the_database_does_not_know_is_denied(postgres: str) -> None:
    """By a code that names no role."""
    problem = refused(postgres.replace("postgres:@", "nobody-hunter2:hunter2@"), "SELECT 1")
    assert (problem.code, problem.status) == ("source-denied", 502)


def test_a_role_reads_what_it_may(postgres: str) -> None:
    """What an account may read is the database's to say."""
    reader = postgres.replace("postgres:@", "reader:@")
    problem = refused(reader, "SELECT * FROM secrets")
    assert (problem.code, "secrets" in str(problem)) in {("query-refused", True), ("query-failed", False)}


def test_a_connection_that_is_lost_half_way_can_be_tried_again(postgres: str) -> None:
    """Its server process is ended while rows are read."""
    query = "SELECT pg_backend_pid(), generate_series(1, 1000000)"
    with querying(postgres, query, seconds=60) as result:
        (pid, _) = result.fetch(1)[0]
        ended = threading.Thread(target=lambda: asyncio.run(end(postgres, pid)))
        ended.start()
        ended.join()
        with pytest.raises(errors.SourceUnreachable):
            all(iter(lambda: result.fetch(8192), []))


async def end(url: str, pid: int) -> None:
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await connection.close()


def test_types_of_postgres_come_as_values_of_python(postgres: str) -> None:
    """Numbers exact, moments with their zone."""
    _, rows = asked(postgres, "SELECT seen, weight, 'infinity'::float8, null::int FROM people LIMIT 1")
    assert rows == [(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), Decimal("70.5"), float("inf"), None)]
