"""Readers beside the writer: they see what is committed, many at a time, and change nothing."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from infra.database.readers import READERS, Readers
from tests.conftest import PATIENCE, OpenStore

WRITE = text("INSERT INTO inbox VALUES ('one', 1)")
COUNT = text("SELECT count(*) FROM inbox")


async def test_readers_see_what_is_committed_and_cannot_write(open_store: OpenStore) -> None:
    """A message that was noted is there for every reader; a reader that would note one is refused."""
    store = await open_store()
    readers = Readers(store.url)
    assert (await readers.first(COUNT)) == (0,)
    await store.write(lambda tx: tx.first_time("one"))
    assert await readers.all(COUNT) == [(1,)]
    with pytest.raises(OperationalError, match="readonly"):
        await readers.ask(lambda connection: connection.execute(WRITE))
    await readers.close()


async def test_questions_are_answered_side_by_side(open_store: OpenStore) -> None:
    """As many as there are readers are under way at once: none of these ends before all have begun."""
    readers = Readers((await open_store()).url)
    together = threading.Barrier(READERS)

    def look(connection: Connection) -> int:
        together.wait(PATIENCE)
        return int(connection.execute(COUNT).scalar_one())

    assert await asyncio.gather(*(readers.ask(look) for _ in range(READERS))) == [0] * READERS
    await readers.close()
