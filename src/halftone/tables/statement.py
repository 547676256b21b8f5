"""Whether a query may be run: one statement, which reads and does nothing else."""

from __future__ import annotations

import logging

from halftone.tables.errors import StatementRefused

MOST_CHARACTERS = 20_000


def check_statement(query: str, dialect: str) -> str:
    """The statement, without a semicolon behind it. Raises StatementRefused.

    This tells a person early what is wrong. That nothing is written is seen to by the database as well, where the query runs in a
    transaction that may only read.
    """
    import sqlglot  # noqa: PLC0415  # loaded by whoever asks for a query
    from sqlglot import exp  # noqa: PLC0415
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    if len(query) > MOST_CHARACTERS:
        raise StatementRefused(f"the query has {len(query):,} characters; {MOST_CHARACTERS:,} is the most: make a view of it")
    if "\0" in query:
        raise StatementRefused("the query holds a zero character, which no database takes")
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # what it does not know it quotes in a warning
    try:
        found = [statement for statement in sqlglot.parse(query, dialect=dialect) if statement and statement.key != "semicolon"]
    except (SqlglotError, RecursionError) as error:
        raise StatementRefused(f"the query is no SQL that can be read{_where(error)}: give one SELECT statement") from None
    if len(found) != 1:
        raise StatementRefused(f"the query is {len(found):,} statements: give one SELECT statement")
    (statement,) = found
    if not isinstance(statement, exp.Query):
        raise StatementRefused("the query is no SELECT statement: give one, which reads and does nothing else")
    for node in statement.walk():
        if isinstance(node, exp.DML | exp.DDL | exp.Command | exp.Into | exp.Lock):
            what = {"into": "SELECT INTO", "lock": "FOR UPDATE"}.get(node.key, node.key.upper())
            raise StatementRefused(f"the query writes or locks ({what}): give one SELECT statement, which reads and does nothing else")
    return query.strip().rstrip(";").rstrip()


def _where(error: Exception) -> str:
    told = getattr(error, "errors", None) or [{}]
    line, column = told[0].get("line"), told[0].get("col")
    return f" (line {line}, column {column})" if line else ""
