"""The database with one writer: what is kept, in which order, and what a failure leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text, event, insert, select
from sqlalchemy.exc import IntegrityError

from contracts.commands import SetBudget
from contracts.envelope import Context, Envelope
from contracts.ids import new_id
from infra.database.engine import DatabaseUnknown, reading
from infra.database.positions import read_position, write_position
from infra.database.store import Store, StoreClosed, Transaction
from infra.database.writer import GROUP
from tests.conftest import PATIENCE, Databases, OpenStore


def shelf() -> MetaData:
    """A table of words, and one whose rows must refer to them by the time of the commit."""
    metadata = MetaData()
    Table("words", metadata, Column("n", Integer, primary_key=True), Column("word", Text, unique=True))
    Table(
        "uses",
        metadata,
        Column("n", Integer, primary_key=True),
        Column("word", ForeignKey("words.word", deferrable=True, initially="DEFERRED")),
    )
    return metadata


def put(word: str) -> Callable[[Transaction], str]:
    def change(tx: Transaction) -> str:
        tx.connection.execute(insert(tx.tables["words"]).values(word=word))
        return word

    return change


@pytest.fixture
def databases(both_databases: Databases) -> Databases:
    """All of this holds on SQLite and on Postgres."""
    return both_databases


def seen(store: Store) -> list[str]:
    """The words that another connection sees, in the order they were put: what is committed, and nothing else."""
    engine = reading(store.url, 1)
    words = store.metadata.tables["words"]
    with engine.connect() as connection:
        found = list(connection.execute(select(words.c.word).order_by(words.c.n)).scalars())
    engine.dispose()
    return found


def message() -> Envelope:
    return Envelope.wrap(SetBudget(account=new_id("acc"), epsilon=1, delta=1), Context.new(), source="/edge")


class Gate:
    """A change that holds the writer until it is let go: what is written meanwhile waits together."""

    def __init__(self) -> None:
        self.reached, self._go = threading.Event(), threading.Event()

    def __call__(self, _tx: Transaction) -> None:
        self.reached.set()
        assert self._go.wait(PATIENCE)

    async def hold(self, store: Store) -> asyncio.Task[None]:
        task = asyncio.create_task(store.write(self))
        await asyncio.to_thread(self.reached.wait, PATIENCE)
        return task

    def release(self) -> None:
        self._go.set()


async def queued(*writes: asyncio.Task[str]) -> None:
    """Let each task put its change into the queue."""
    await asyncio.sleep(0)
    assert not any(write.done() for write in writes)


async def test_a_result_is_given_once_others_can_see_the_change(open_store: OpenStore) -> None:
    """Whoever has the answer may act on it: it is on disk. Before that, nobody sees anything."""
    store = await open_store(metadata=shelf())
    gate = Gate()

    def change(tx: Transaction) -> None:
        put("early")(tx)
        gate(tx)

    writing = asyncio.create_task(store.write(change))
    await asyncio.to_thread(gate.reached.wait, PATIENCE)
    assert seen(store) == []
    assert not writing.done()
    gate.release()
    await writing
    assert seen(store) == ["early"]


async def test_a_change_that_raises_leaves_no_trace_and_disturbs_no_other(open_store: OpenStore) -> None:
    """Its neighbours in the group are kept, its own rows, inbox and outbox are not, and its caller alone hears of it."""
    store = await open_store(metadata=shelf())
    gate, lost = Gate(), message()
    held = await gate.hold(store)

    def failing(tx: Transaction) -> str:
        put("lost")(tx)
        assert tx.first_time(lost.id)
        tx.send(lost)
        raise LookupError("no such thing")

    before, broken, after = (asyncio.create_task(store.write(change)) for change in (put("before"), failing, put("after")))
    await queued(before, broken, after)
    gate.release()
    await held
    assert await before == "before"
    with pytest.raises(LookupError, match="no such thing"):
        await broken
    assert await after == "after"
    assert seen(store) == ["before", "after"]
    assert await store.write(lambda tx: (tx.has_sent(lost.id), tx.first_time(lost.id))) == (False, True)
    assert not store.outgoing.is_set()


async def test_a_statement_that_the_database_refuses_is_one_changes_own_problem(open_store: OpenStore) -> None:
    """A violated constraint rolls back to where its change began, not further."""
    store = await open_store(metadata=shelf())
    gate = Gate()
    held = await gate.hold(store)
    writes = [asyncio.create_task(store.write(put(word))) for word in ("one", "one", "two")]
    await queued(*writes)
    gate.release()
    await held
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert results[0] == "one"
    assert isinstance(results[1], IntegrityError)
    assert results[2] == "two"
    assert seen(store) == ["one", "two"]


async def test_a_commit_that_fails_is_heard_by_everyone_who_shared_it(open_store: OpenStore) -> None:
    """No caller is told that something was kept when nothing was, and the writer goes on."""
    store = await open_store(metadata=shelf())
    gate = Gate()
    held = await gate.hold(store)

    def orphan(tx: Transaction) -> str:
        tx.connection.execute(insert(tx.tables["uses"]).values(word="unknown"))
        return "orphan"

    writes = [asyncio.create_task(store.write(change)) for change in (put("innocent"), orphan)]
    await queued(*writes)
    gate.release()
    await held
    assert [type(error) for error in await asyncio.gather(*writes, return_exceptions=True)] == [IntegrityError, IntegrityError]
    assert seen(store) == []
    assert await store.write(put("next")) == "next"
    assert seen(store) == ["next"]


async def test_changes_that_wait_together_share_a_commit(open_store: OpenStore) -> None:
    """One fsync serves them all, up to the size of a group, and they are applied in the order they came."""
    store = await open_store(metadata=shelf())
    commits: list[int] = []
    event.listen(store._writer.engine, "commit", lambda _connection: commits.append(1))
    gate = Gate()
    held = await gate.hold(store)
    words = [f"word {n:03}" for n in range(GROUP + 1)]
    writes = [asyncio.create_task(store.write(put(word))) for word in words]
    await queued(*writes)
    gate.release()
    await held
    assert await asyncio.gather(*writes) == words
    assert seen(store) == words
    assert len(commits) == 3


async def test_a_message_is_handled_the_first_time_only(open_store: OpenStore) -> None:
    """The inbox remembers across commits and across a restart; another message is another one."""
    store = await open_store()
    assert await store.write(lambda tx: (tx.first_time("one"), tx.first_time("one"))) == (True, False)
    assert await store.write(lambda tx: (tx.first_time("one"), tx.first_time("two"))) == (False, True)
    await store.close()
    again = await open_store()
    assert await again.write(lambda tx: (tx.first_time("one"), tx.first_time("three"))) == (False, True)


async def test_the_outbox_keeps_the_order_and_takes_an_id_once(open_store: OpenStore) -> None:
    """Messages stand in the order they were sent, across changes; a second of the same id undoes its change."""
    store = await open_store()
    messages = [message() for _ in range(5)]
    await store.write(lambda tx: tx.send(*messages[:3]))
    await store.write(lambda tx: tx.send(*messages[3:]))
    with pytest.raises(IntegrityError):
        await store.write(lambda tx: tx.send(message(), messages[0]))
    outbox = store.metadata.tables["outbox"]
    held = await store.write(lambda tx: list(tx.connection.execute(outbox.select().order_by(outbox.c.n))))
    assert [row.message_id for row in held] == [m.id for m in messages]
    assert [Envelope.load(row.body) for row in held] == messages
    assert [row.sequence for row in held] == [None] * 5
    assert store.outgoing.is_set()


async def test_close_finishes_what_is_queued(open_store: OpenStore) -> None:
    """What was accepted before the end is written; what comes after is refused, not left waiting for ever."""
    store = await open_store(metadata=shelf())
    gate = Gate()
    held = await gate.hold(store)
    writes = [asyncio.create_task(store.write(put(str(n)))) for n in range(GROUP + 5)]
    await queued(*writes)
    closing = asyncio.create_task(store.close())
    gate.release()
    await held
    assert await asyncio.gather(*writes) == [str(n) for n in range(GROUP + 5)]
    await closing
    assert len(seen(store)) == GROUP + 5
    with pytest.raises(StoreClosed):
        await store.write(put("late"))


async def test_a_caller_that_goes_away_does_not_break_the_writer(open_store: OpenStore) -> None:
    """A change that is queued is made, whether or not anyone still waits for it; so is what follows."""
    store = await open_store(metadata=shelf())
    gate = Gate()
    held = await gate.hold(store)
    gone, stays = asyncio.create_task(store.write(put("gone"))), asyncio.create_task(store.write(put("stays")))
    await queued(gone, stays)
    gone.cancel()
    gate.release()
    await held
    assert await stays == "stays"
    assert gone.cancelled()
    assert seen(store) == ["gone", "stays"]


def test_a_loop_that_ended_does_not_break_the_writer(databases: Databases) -> None:
    """A process that stops in the middle of a write keeps what was committed."""
    url, gate = databases("x"), Gate()
    left: list[Store] = []

    async def leave() -> None:
        store = Store(url, shelf())
        left.append(store)
        await store.open()
        await gate.hold(store)
        last = asyncio.create_task(store.write(put("last words")))
        await queued(last)

    asyncio.run(leave())
    gate.release()
    asyncio.run(left[0].close())
    assert seen(left[0]) == ["last words"]


async def test_positions_are_kept_per_stream_with_their_message(open_store: OpenStore) -> None:
    """A position is a sequence and whose it was; one that was never written is the beginning."""
    store = await open_store()
    assert await store.write(lambda tx: read_position("EVENTS", tx)) == (0, None)
    await store.write(lambda tx: write_position("EVENTS", 7, "a", tx))
    await store.write(lambda tx: write_position("AUDIT", 2, "b", tx))
    await store.write(lambda tx: write_position("EVENTS", 9, "c", tx))
    assert await store.write(lambda tx: (read_position("EVENTS", tx), read_position("AUDIT", tx))) == ((9, "c"), (2, "b"))


def test_another_database_than_the_two_is_refused_by_name() -> None:
    """What is not supported is said, not tried."""
    with pytest.raises(DatabaseUnknown, match="not mysql"):
        Store("mysql://nowhere/x", MetaData())
