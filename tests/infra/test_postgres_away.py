"""A Postgres that ends and comes back: what was being written is written once, and readers go on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest
from sqlalchemy import Column, MetaData, Table, Text, select

from infra.database.dialect import Integer
from infra.database.engine import schema_url
from infra.database.readers import Readers
from infra.database.store import Store, Transaction
from postgres_server import NoPostgres, PostgresServer


def shelf() -> MetaData:
    metadata = MetaData()
    Table("words", metadata, Column("n", Integer, primary_key=True), Column("word", Text, nullable=False))
    return metadata


def put(word: str, tx: Transaction) -> str:
    tx.connection.execute(tx.tables["words"].insert().values(word=word))
    return word


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One of the test's own: it pulls its plug."""
    try:
        server = PostgresServer()
    except NoPostgres as error:
        pytest.skip(str(error))
    server.start()
    yield server
    server.remove()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
async def test_changes_survive_a_restart_once_each(server: PostgresServer, number: signal.Signals) -> None:
    """Nobody hears an error, nothing is lost, nothing is there twice; who reads goes on too."""
    url = schema_url(server.database(), "edge")
    store = Store(url, shelf())
    await store.open()
    readers = Readers(url)
    words = store.metadata.tables["words"]
    assert await readers.all(select(words)) == []
    wanted = [f"word {n:03}" for n in range(120)]
    writing = [asyncio.create_task(store.write(lambda tx, w=word: put(w, tx))) for word in wanted]  # type: ignore[misc]
    await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(server.stop, number)
    more = asyncio.create_task(store.write(lambda tx: put("last", tx)))
    await asyncio.to_thread(server.start)
    assert await asyncio.gather(*writing) == wanted
    assert await more == "last"
    found = [row.word for row in await readers.all(select(words).order_by(words.c.n))]
    await readers.close()
    await store.close()
    assert found == [*wanted, "last"]


async def test_a_commit_whose_answer_was_lost_is_not_made_again(server: PostgresServer) -> None:
    """The server has committed, and the connection breaks before it says so: it is asked what became of it."""
    database = server.database()
    store = Store(schema_url(database, "edge"), shelf())
    await store.open()
    await store.write(lambda tx: put("first", tx))
    lost: list[int] = []
    commit = store._writer.engine.dialect.do_commit

    def committed(connection: object) -> None:
        commit(connection)  # type: ignore[arg-type]
        if not lost:
            lost.append(1)
            connection.dbapi_connection.close()  # type: ignore[attr-defined]
            raise store._writer.engine.dialect.loaded_dbapi.OperationalError("the connection is lost")

    store._writer.engine.dialect.do_commit = committed  # type: ignore[method-assign]
    applied: list[str] = []

    def change(tx: Transaction) -> str:
        applied.append("once")
        return put("second", tx)

    assert await store.write(change) == "second"
    words = store.metadata.tables["words"]
    found = await store.write(lambda tx: list(tx.connection.execute(select(words.c.word).order_by(words.c.n)).scalars()))
    await store.close()
    assert lost == [1]
    assert applied == ["once"]
    assert found == ["first", "second"]
