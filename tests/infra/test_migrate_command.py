"""``halftone migrate``: what it finds, what it does, and what it leaves alone."""

from __future__ import annotations

import json
import os

from sqlalchemy import text
from typer.testing import CliRunner, Result

from infra.cli import app
from infra.database.engine import begin_writing, writing
from infra.database.versions import FIRST, HEAD, KINDS, TABLE, migrate
from infra.home import Home


def run(home: Home, *options: str) -> Result:
    return CliRunner().invoke(app, ["migrate", "--json", "--home", str(home.path), *options])


def older(home: Home, database: str) -> None:
    """A database as the first Halftone left it."""
    url = home.database_url(database)
    engine = writing(url)
    with engine.begin() as connection:
        begin_writing(connection, url)
        migrate(connection, database, None, FIRST)
        connection.execute(text(f"DROP TABLE {TABLE}"))
    engine.dispose()


def test_databases_are_brought_up_to_date_and_those_that_are_not_there_are_not_made(home: Home) -> None:
    """What is behind is told by --check, which changes nothing and ends with 1; after migrate, nothing is."""
    older(home, "edge")
    looked = run(home, "--check")
    assert looked.exit_code == 1
    assert "edge not of revision" in looked.stderr
    done = run(home)
    assert done.exit_code == 0
    assert json.loads(done.stdout)[0] == {"database": "edge", "before": FIRST, "now": HEAD}
    again = run(home, "--check")
    assert again.exit_code == 0
    assert {each["database"]: each["now"] for each in json.loads(again.stdout)} == {**dict.fromkeys(KINDS), "edge": HEAD}
    assert [path.name for path in home.databases.glob("*.sqlite")] == ["edge.sqlite"]


def test_a_running_halftone_is_left_alone(home: Home) -> None:
    """Its home is locked; to look is allowed."""
    descriptor = home.lock()
    refused = run(home)
    assert refused.exit_code == 1
    assert "another halftone runs" in refused.stderr
    assert run(home, "--check").exit_code == 0

    os.close(descriptor)


def test_a_database_of_a_later_halftone_stays_as_it_is(home: Home) -> None:
    """It is named, with what to do."""
    older(home, "budget_keeper")
    assert run(home).exit_code == 0
    engine = writing(home.database_url("budget_keeper"))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {TABLE} SET version_num = '9999'"))
    engine.dispose()
    refused = run(home)
    assert refused.exit_code == 1
    assert "budget_keeper has the tables of revision 9999" in refused.stderr
