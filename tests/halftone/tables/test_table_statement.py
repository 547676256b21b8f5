"""One SELECT is let through, and nothing else."""

from __future__ import annotations

import pytest

from halftone.tables.errors import StatementRefused
from halftone.tables.statement import MOST_CHARACTERS, check_statement


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        " select a, count(*) from people where city = 'Bern; DROP TABLE people' group by a order by 1 limit 5 ;\n",
        "WITH adults AS (SELECT * FROM people WHERE age > 17) SELECT * FROM adults JOIN cities USING (city)",
        "SELECT a FROM x UNION ALL (SELECT b FROM y)",
        "SELECT a, row_number() OVER (PARTITION BY b ORDER BY c) FROM t",
        "SELECT 1; -- a note",
        'SELECT "update", created FROM "delete" -- ; DROP TABLE people',
    ],
)
@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
def test_a_select_is_let_through(query: str, dialect: str) -> None:
    """As it is, without the semicolon at its end; words in quotes and comments are no statements."""
    assert check_statement(query, dialect) == query.strip().rstrip(";").rstrip()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT 1; DROP TABLE people", "2 statements"),
        ("", "0 statements"),
        (" ; -- nothing", "0 statements"),
        ("INSERT INTO people VALUES (1)", "no SELECT"),
        ("UPDATE people SET age = 1", "no SELECT"),
        ("DELETE FROM people", "no SELECT"),
        ("DROP TABLE people", "no SELECT"),
        ("CREATE TABLE x AS SELECT * FROM people", "no SELECT"),
        ("PRAGMA query_only = 0", "no SELECT"),
        ("ATTACH DATABASE '/x' AS x", "SELECT"),
        ("COPY people TO '/tmp/x'", "no SELECT"),
        ("CALL f()", "no SELECT"),
        ("DO $$ BEGIN DELETE FROM people; END $$", "SELECT"),
        ("SET transaction_read_only = off", "no SELECT"),
        ("WITH gone AS (DELETE FROM people RETURNING *) SELECT * FROM gone", "DELETE"),
        ("WITH new AS (INSERT INTO people VALUES (1) RETURNING *) SELECT * FROM new", "INSERT"),
        ("SELECT * INTO copy FROM people", "SELECT INTO"),
        ("SELECT * FROM people FOR UPDATE", "FOR UPDATE"),
        ("SELECT * FORM people WHERE", "no SQL"),
        ("SELECT (((", "no SQL"),
        ("SELECT 'Jane Doe", "no SQL"),
        ("SELECT 1\0", "zero character"),
        ("SELECT " + "(" * 9000 + "1" + ")" * 9000, "SELECT"),
        ("SELECT '" + "x" * MOST_CHARACTERS + "'", "characters"),
    ],
)
def test_anything_else_is_refused_with_the_reason(query: str, says: str) -> None:
    """Two statements, one that writes, one that locks, none, nonsense."""
    with pytest.raises(StatementRefused) as refused:
        check_statement(query, "postgres")
    assert says in str(refused.value)
    assert "Jane" not in str(refused.value)
