"""Statements that are compiled once: they find, change and refuse what SQLAlchemy's own would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, bindparam, create_engine, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError, OperationalError

from infra.database.prepared import Prepared, PreparedUpdate

WORDS = Table("words", MetaData(), Column("n", Integer, primary_key=True), Column("word", Text, unique=True), Column("uses", Integer))
ADD = Prepared(insert(WORDS).returning(WORDS.c.n), ["word", "uses"])
FIND = Prepared(select(WORDS).where(WORDS.c.word == bindparam("key")))


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    WORDS.metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_rows_are_found_with_their_columns_names(connection: Connection) -> None:
    """One row or all, or none; a column that was not named is empty, and what an insert returns is a row too."""
    assert [ADD.first(connection, word=word, uses=uses).n for word, uses in (("one", 1), ("two", None))] == [1, 2]
    assert FIND.first(connection, key="two")._asdict() == {"n": 2, "word": "two", "uses": None}
    assert FIND.first(connection, key="three") is None
    everything = Prepared(select(WORDS.c.word, func.coalesce(WORDS.c.uses, 7).label("uses")).order_by(WORDS.c.n))
    assert [tuple(row) for row in everything.all(connection)] == [("one", 1), ("two", 7)]


def test_many_rows_are_written_as_one_would_be(connection: Connection) -> None:
    """In order, by column; values of other columns in the same mapping are left out."""
    Prepared(insert(WORDS)).run_many(connection, ({"n": n, "word": str(n), "uses": n * n, "more": "?"} for n in (3, 1, 2)))
    assert connection.execute(select(WORDS.c.n, WORDS.c.uses).order_by(WORDS.c.n)).all() == [(1, 1), (2, 4), (3, 9)]


def test_an_update_sets_the_columns_it_is_given_where_its_condition_holds(connection: Connection) -> None:
    """Different columns from call to call; how many rows were changed is told."""
    for word in ("one", "two"):
        ADD.run(connection, word=word, uses=1)
    change = PreparedUpdate(WORDS, (WORDS.c.word == bindparam("key")) & (WORDS.c.uses == bindparam("held")))
    assert change.run(connection, {"key": "one", "held": 1}, {"uses": 2}) == 1
    assert change.run(connection, {"key": "one", "held": 1}, {"uses": 3}) == 0
    assert change.run(connection, {"key": "two", "held": 1}, {"uses": None, "word": "zwei"}) == 1
    assert connection.execute(select(WORDS.c.word, WORDS.c.uses).order_by(WORDS.c.n)).all() == [("one", 2), ("zwei", None)]


def test_what_the_database_refuses_is_told_as_sqlalchemy_tells_it(connection: Connection) -> None:
    """The kind of error is the same, for one row and for many, and values are not shown."""
    ADD.run(connection, word="secret", uses=1)
    with pytest.raises(IntegrityError) as one:
        ADD.run(connection, word="secret", uses=1)
    with pytest.raises(IntegrityError) as many:
        Prepared(insert(WORDS)).run_many(connection, [{"n": 9, "word": "secret", "uses": 1}])
    assert "secret" not in str(one.value) + str(many.value)
    with pytest.raises(OperationalError, match="no such table"):
        Prepared(select(Table("verbs", MetaData(), Column("n", Integer)))).first(connection)


def test_a_value_that_is_missing_is_an_error() -> None:
    """Nothing is written that nobody gave."""
    with pytest.raises(KeyError, match="uses"):
        ADD._compile("sqlite").bind({"word": "one"})
