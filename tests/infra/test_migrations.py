"""Revisions: they make what the models say, keep what is there, and refuse what a later Halftone wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import BigInteger, Engine, Integer, MetaData, inspect, select, text
from sqlalchemy.dialects.postgresql.psycopg import dialect as postgres
from sqlalchemy.exc import DBAPIError

import actors.auditor
import actors.ledger
from api.tables import edge_tables
from contracts.jobs import Actor
from infra.database.engine import begin_writing, writing
from infra.database.store import Store
from infra.database.tables import common_tables
from infra.database.versions import FIRST, HEAD, KINDS, REVISIONS, TABLE, DatabaseTooNew, migrate, prepare, revision
from infra.work.jobs import job_table
from tests.conftest import Databases

ROWS = {
    "edge": "INSERT INTO datasets VALUES ('ds_1', 'people', NULL, NULL, 'real', 'acc_1', 'p', 'o', 'job_1', 1700000000000)",
    "executor": "INSERT INTO jobs VALUES ('job_1', 'running', 2, 1, 1, 'obj_1', 't', 1700000000000, false)",
    "budget_keeper": "INSERT INTO accounts VALUES ('acc_1', 3, 10, 20, 1, 2, 3, 4)",
    "auditor": "INSERT INTO positions VALUES ('EVENTS', 7, 'm')",
}
"""Something that each kind of database of the first revision holds."""


def executor_tables() -> MetaData:
    metadata = MetaData()
    job_table(metadata)
    return metadata


TABLES: dict[str, Callable[[], MetaData]] = {
    "edge": edge_tables,
    "executor": executor_tables,
    "budget_keeper": actors.ledger.tables,
    "auditor": actors.auditor.tables,
}


def model(database: str) -> MetaData:
    metadata = TABLES[KINDS[database]]()
    if "outbox" not in metadata.tables:
        common_tables(metadata)
    return metadata


@pytest.fixture(params=["edge", Actor.SYNTHESIZER, Actor.BUDGET_KEEPER, Actor.AUDITOR])
def database(request: pytest.FixtureRequest) -> str:
    """One database of each kind."""
    return str(request.param)


@pytest.fixture
def url(both_databases: Databases, database: str) -> str:
    return both_databases(database)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """An engine on the empty database."""
    engine = writing(url)
    prepare(engine, url, MetaData(), None)
    yield engine
    engine.dispose()


def to(engine: Engine, url: str, database: str, wanted: str) -> None:
    """Make tables as an older Halftone had them."""
    with engine.begin() as connection:
        begin_writing(connection, url)
        migrate(connection, database, None, wanted)


def test_revisions_make_what_the_models_say(engine: Engine, url: str, database: str) -> None:
    """Tables, columns, types, keys and indices: a database that was migrated is one that was made today."""
    to(engine, url, database, HEAD)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": TABLE, "compare_type": True})
        # Comments are for who reads the tables; a revision need not repeat them.
        differences = [each for each in compare_metadata(context, model(database)) if "comment" not in str(each[0])]
        assert differences == []
        made = inspect(connection)
        for name, table in model(database).tables.items():
            assert made.get_pk_constraint(name)["constrained_columns"] == [column.name for column in table.primary_key]


def test_what_an_older_halftone_wrote_is_kept(engine: Engine, url: str, database: str) -> None:
    """From the first revision, with and without a note of which it is: opened, the database is of today, and its rows are there."""
    to(engine, url, database, FIRST)
    with engine.begin() as connection:
        connection.execute(text(ROWS[KINDS[database]]))
        # The first Halftone wrote no revision down.
        connection.execute(text(f"DROP TABLE {TABLE}"))
    metadata = model(database)
    prepare(engine, url, metadata, database)
    with engine.connect() as connection:
        assert revision(connection, database) == HEAD
        assert sum(len(connection.execute(select(table)).all()) for table in metadata.tables.values()) == 1
    prepare(engine, url, metadata, database)


def test_a_new_database_is_of_today(engine: Engine, url: str, database: str) -> None:
    """It is made from the models, without any revision being run, and made once."""
    for _ in range(2):
        prepare(engine, url, model(database), database)
    with engine.connect() as connection:
        assert revision(connection, database) == HEAD


def test_a_database_of_a_later_halftone_is_refused(engine: Engine, url: str, database: str) -> None:
    """Before anything is read or written, naming the database, what it has, what is known here, and what to do."""
    prepare(engine, url, model(database), database)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {TABLE} SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match=f"{database} has the tables of revision 9999.*up to {HEAD}.*install the Halftone"):
        prepare(engine, url, model(database), database)


def test_a_migration_that_fails_leaves_the_database_as_it_was(engine: Engine, url: str, database: str) -> None:
    """Also what an earlier revision of the same run did is undone: there is no half-way."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE leases (something_else INTEGER)"))
    with pytest.raises(DBAPIError, match="leases"):
        to(engine, url, database, HEAD)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["leases"]


def test_revisions_follow_one_another() -> None:
    """Numbered without gaps; a file's name begins with its number."""
    assert [int(number) for number in REVISIONS] == list(range(1, len(REVISIONS) + 1))


@pytest.mark.parametrize("database", KINDS)
def test_every_integer_is_of_64_bits_on_postgres(database: str) -> None:
    """Milliseconds since 1970 would not fit into fewer."""
    for table in model(database).tables.values():
        for column in table.columns:
            if isinstance(column.type, Integer):
                assert isinstance(column.type.dialect_impl(postgres()), BigInteger), column


async def test_a_store_refuses_to_open_a_later_database(both_databases: Databases) -> None:
    """Nothing is written to it: the process that wants it ends instead."""
    url = both_databases("edge")
    engine = writing(url)
    prepare(engine, url, edge_tables(), "edge")
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {TABLE} SET version_num = '9999'"))
    engine.dispose()
    store = Store(url, edge_tables(), database="edge")
    with pytest.raises(DatabaseTooNew):
        await store.open()
    await store.close()
