"""Which shape a database's tables have: made new, brought up to date, or refused where they are of a later Halftone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, inspect, select, text

from contracts.jobs import Actor
from infra.database.engine import begin_writing, schema_of
from infra.refusal import StartRefused

log = structlog.get_logger()

DIRECTORY = Path(__file__).parents[1] / "migrations"
REVISIONS = tuple(sorted(path.stem[1:5] for path in (DIRECTORY / "versions").glob("v[0-9]*.py")))
"""Every revision, the oldest first: the number in its file's name."""
FIRST, HEAD = REVISIONS[0], REVISIONS[-1]
TABLE = "schema_version"
_VERSION = Table(TABLE, MetaData(), Column("version_num", String(32), primary_key=True))
KINDS = {
    "edge": "edge",
    **{str(actor): "executor" for actor in (Actor.INGESTOR, Actor.SYNTHESIZER, Actor.EVALUATOR)},
    str(Actor.BUDGET_KEEPER): "budget_keeper",
    str(Actor.AUDITOR): "auditor",
}
"""Every database that migrations know, and which tables it has."""


class DatabaseTooNew(StartRefused):
    """The database was written by a later Halftone."""

    def __init__(self, database: str, held: str) -> None:
        super().__init__(
            f"the database of {database} has the tables of revision {held}, this Halftone knows them up to {HEAD}: "
            "install the Halftone that wrote it, or restore a backup made before that"
        )


def prepare(engine: Engine, url: str, metadata: MetaData, database: str | None) -> None:
    """Make the tables, or bring them up to date, in one transaction. Raises DatabaseTooNew."""
    with engine.begin() as connection:
        begin_writing(connection, url)
        schema = schema_of(url)
        if schema is not None:
            quoted = connection.dialect.identifier_preparer.quote(schema)
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quoted}"))
        held = None if database is None else revision(connection, database)
        if held is None:
            metadata.create_all(connection)
            if database is not None:
                _mark(connection)
        elif held != HEAD and database is not None:
            migrate(connection, database, held)
            log.warning("database.migrated", database=database, before=held, now=HEAD)


def revision(connection: Connection, database: str) -> str | None:
    """The revision of the tables that are there; None where there are none. Raises DatabaseTooNew."""
    found = inspect(connection)
    if found.has_table(TABLE):
        held = connection.execute(select(_VERSION.c.version_num)).scalar()
        if held is not None and held not in REVISIONS:
            raise DatabaseTooNew(database, held)
        return held
    # Before there were revisions, there were these tables.
    return FIRST if found.has_table("outbox") else None


def migrate(connection: Connection, database: str, held: str | None, to: str = HEAD) -> None:
    """Take the tables from one revision to a later one, within the transaction; None makes them."""
    # A tenth of a second that only a migration needs to wait for.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)

    def steps(current: Any, _context: Any) -> Any:
        return script._upgrade_revs(to, current)  # noqa: SLF001  # what its own command calls

    with EnvironmentContext(config, script, fn=steps, destination_rev=to) as environment:
        environment.configure(connection=connection, version_table=TABLE, transactional_ddl=True)
        if held is not None:
            environment.get_context().stamp(script, held)
        environment.run_migrations(kind=KINDS[database])


def _mark(connection: Connection) -> None:
    _VERSION.create(connection)
    connection.execute(_VERSION.insert().values(version_num=HEAD))
