"""The auditor: every event a leaf, once, in an order of the log's own; and what was signed cannot be taken back."""

from __future__ import annotations

import asyncio
import base64
import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from sqlalchemy import select

from actors.auditor import Entry, Log, LogRolledBack, last_signed, tables
from actors.log_keys import ORIGIN
from auditor_bench import Bench, Start, copy_database, event, leaf, put_back, root_of, starting
from contracts import subjects
from contracts.envelope import Envelope
from contracts.ids import new_message_id
from contracts.jobs import Actor
from contracts.records import AuditAppended, AuditEntry, CheckpointSigned
from halftone.merkle import (
    Checkpoint,
    MemoryNodes,
    canonical,
    consistency_proof,
    root,
    verify_consistency,
)
from infra.bus.connection import jetstream
from infra.bus.provision import provision
from infra.database.positions import read_position
from infra.database.store import Store
from infra.runtime import Runtime
from memory_database import MemoryDatabase
from tests.conftest import Bus, Heard, Keep


def test_events_become_leaves_once_in_the_order_they_came() -> None:
    """Told again, within a batch or later, an event adds nothing; the tree is the library's own for the same leaves."""
    metadata = tables()
    database, events = MemoryDatabase(metadata), [event() for _ in range(11)]

    def append(*envelopes: Envelope) -> list[AuditEntry]:
        return database.do(lambda tx: Log(tx).append([Entry.of(e) for e in envelopes]))

    entries = append(*events[:4], events[2]) + append(*events[1:3]) + append(events[0], *events[4:], events[4]) + append()
    assert [(entry.index, entry.event, entry.leaf) for entry in entries] == [(i, e.id, leaf(e).hex()) for i, e in enumerate(events)]
    for size in range(1, len(events) + 1):
        assert database.peek(lambda tx, n=size: root(n, Log(tx).node)) == root_of(events[:size])  # type: ignore[misc]
    held = database.peek(lambda tx: list(tx.connection.execute(select(metadata.tables["entries"]).order_by("idx"))))
    assert [row.entry for row in held] == [canonical(e.model_dump(mode="json", exclude_none=True)) for e in events]
    assert database.peek(lambda tx: Log(tx).size()) == len(events)
    database.close()


@pytest.fixture
async def start(bus: Bus) -> AsyncIterator[Start]:
    """Starts the auditor of the home; starting again ends the one before."""
    async with starting(bus.home.path) as start_:
        yield start_


async def test_checkpoints_are_of_the_log_and_consistent_with_each_other(start: Start) -> None:
    """Each is signed by the log's key over the root of what it holds, and proves to be a continuation of the one before."""
    bench, events = await start(), [event() for _ in range(20)]
    for end in (1, 2, 7, 7, 20):
        await bench.append(*events[:end])
        assert await bench.sign() == Checkpoint(ORIGIN, end, root_of(events[:end]))
    signed = await bench.signed()
    assert [c.size for c in signed] == [1, 2, 7, 20]
    nodes = MemoryNodes(map(leaf, events))
    for old, new in itertools.pairwise(signed):
        verify_consistency(old.size, new.size, old.root, new.root, consistency_proof(old.size, new.size, nodes.get))


async def test_announcements_carry_the_right_indexes(start: Start) -> None:
    """In messages that stay small, under ids and subjects that say which entries they hold."""
    bench, events = await start(), [event() for _ in range(250)]
    await bench.append(*events)
    await bench.append(*events[200:], event())
    assert [entry.index for entry in await bench.entries()] == list(range(251))
    assert [entry.event for entry in await bench.entries()][:250] == [e.id for e in events]
    assert [e.subject for e in await bench.sent()] == [f"halftone.audit.entries.{n}" for n in (0, 100, 200, 250)]
    assert max(len(e.dump()) for e in await bench.sent()) < 2**20


async def test_a_crash_between_commit_and_file_is_survived(start: Start) -> None:
    """The checkpoint was announced and not yet written down: it is signed again, is the same, and is announced once."""
    bench, events = await start(), [event() for _ in range(5)]
    await bench.append(*events[:3])
    before = bench.file.read_text() if bench.file.exists() else None
    assert before is None
    await bench.sign()
    note = bench.file.read_text()
    bench.file.unlink()
    again = await start()
    assert (await again.sign()).size == 3
    assert again.file.read_text() == note
    assert [c.size for c in await again.signed()] == [3]
    await again.append(*events)
    assert (await again.sign()).root == root_of(events)


async def test_a_log_that_was_put_back_is_found_out(start: Start, tmp_path: Path) -> None:
    """Shorter than what was signed, or grown again with other entries: nothing is signed, and the last note stands."""
    bench, events = await start(), [event() for _ in range(6)]
    await bench.append(*events[:3])
    await bench.sign()
    home, older = bench.runtime.home, tmp_path / "older"
    copy_database(home, older)
    await bench.append(*events)
    await bench.sign()
    note = bench.file.read_text()
    await bench.runtime.store.close()
    put_back(home, older)
    again = await start()
    with pytest.raises(LogRolledBack, match="6 entries was signed, the log holds 3"):
        await again.auditor.sign()
    await again.append(*(event() for _ in range(5)))
    with pytest.raises(LogRolledBack, match="first 6 entries"):
        await again.auditor.sign()
    assert again.file.read_text() == note


async def test_the_key_is_made_once_and_kept_from_others(start: Start) -> None:
    """The same key signs after a restart; the private part is for its owner alone, the public one lies beside the log."""
    first = await start()
    secret = first.runtime.home.audit / "signing-key"
    kept, verifier = secret.read_text(), first.verifier
    assert secret.stat().st_mode & 0o777 == 0o600
    again = await start()
    assert (secret.read_text(), again.verifier) == (kept, verifier)
    assert (again.runtime.home.audit / "public-key").read_text().strip() == verifier


async def test_two_auditors_make_one_log(start: Start, tmp_path: Path) -> None:
    """On the same tables, told the same events in other orders and batches: each event once, in one order, announced once, one tree."""
    bench, events = await start(), [event() for _ in range(120)]
    other = Bench(Runtime(Actor.AUDITOR, bench.runtime.settings, bench.runtime.client, Store(bench.runtime.store.url, tables())))
    await other.runtime.store.open()

    async def work(one: Bench, seed: int) -> None:
        random_ = random.Random(seed)
        for begin in range(0, 120, 10):
            batch = events[max(0, begin - 7) : begin + 10]
            random_.shuffle(batch)
            await one.append(*batch)
            await one.auditor._sign_once()

    await asyncio.gather(work(bench, 1), work(other, 2))
    signed, entries = await bench.sign(), await bench.entries()
    await other.runtime.store.close()
    assert sorted(entry.index for entry in entries) == list(range(120))
    assert {entry.event for entry in entries} == {e.id for e in events}
    order = {e.id: e for e in events}
    assert signed == Checkpoint(ORIGIN, 120, root_of([order[e.event] for e in sorted(entries, key=lambda e: e.index)]))
    sizes = [checkpoint.size for checkpoint in await bench.signed()]
    assert len(set(sizes)) == len(sizes)


async def test_what_is_too_long_for_an_entry_is_one_all_the_same(start: Start) -> None:
    """Under its own id, as a letter with its beginning: tiles hold entries of 64 KiB."""
    bench, long = await start(), event()
    long = long.model_copy(update={"data": {**long.data, "more": "x" * 70_000}})
    await bench.append(long, event())
    entries = await bench.entries()
    assert [entry.index for entry in entries] == [0, 1]
    assert (entries[0].event, entries[0].entry["data"]["reason"]) == (long.id, "too-long")
    assert base64.b64decode(entries[0].entry["data"]["body"]) == long.dump()[: 32 * 1024]
    assert max(len(canonical(entry.entry)) for entry in entries) < 2**16


async def test_what_came_in_last_is_signed_when_the_auditor_stops(start: Start, tmp_path: Path) -> None:
    """And delivered: a checkpoint of everything is out of the house."""
    bench = await start(checkpoint_to=str(tmp_path / "kept"))
    await bench.append(*(event() for _ in range(3)))
    await bench.auditor.finish()
    assert last_signed(bench.file, bench.auditor._keys.verifying).size == 3
    assert (tmp_path / "kept").read_text() == bench.file.read_text()


async def test_clock_jumps_change_nothing(start: Start) -> None:
    """An hour forth and back: the log's order is that in which events came."""
    bench, events = await start(), [event() for _ in range(9)]
    hours = [f"2026-03-01T{10 + (n % 3):02d}:00:00.000Z" for n in range(9)]
    events = [e.model_copy(update={"time": hour}) for e, hour in zip(events, hours, strict=True)]
    for n, e in enumerate(events):
        await bench.append(e)
        assert (await bench.sign()).size == n + 1
    assert [entry.event for entry in await bench.entries()] == [e.id for e in events]


async def publish(client: Client, *envelopes: Envelope) -> None:
    for envelope in envelopes:
        await jetstream(client).publish(envelope.subject, envelope.dump(), headers={"Nats-Msg-Id": envelope.id})


async def test_over_the_bus_events_are_logged_signed_and_announced(bus: Bus, start: Start, heard: Heard, keep: Keep) -> None:
    """What is published before and while the auditor runs, in the stream's order."""
    edge, events = await bus.connect("edge"), [event() for _ in range(8)]
    await publish(edge, *events[:5])
    bench = await start()
    keep(bench.auditor.take_in())
    keep(bench.auditor.sign())
    await publish(edge, *events[5:])
    await heard.until(CheckpointSigned, size=8)
    entries = [entry for message in heard.of(AuditAppended) for entry in message.entries]
    assert [(entry.index, entry.event) for entry in entries] == [(i, e.id) for i, e in enumerate(events)]
    assert (await bench.sign()).root == root_of(events)


async def test_what_is_no_event_has_a_leaf_too_and_does_not_stop_the_log(bus: Bus, start: Start, heard: Heard, keep: Keep) -> None:
    """Nothing that gets into the stream can be kept out of the log, or keep what follows out of it."""
    edge, events = await bus.connect("edge"), [event() for _ in range(2)]
    bench = await start()
    keep(bench.auditor.take_in())
    keep(bench.auditor.sign())
    await publish(edge, events[0])
    beyond = events[0].model_copy(update={"id": new_message_id(), "data": {**events[0].data, "rho": 2**60}})
    for body in (b"not an envelope", b'{"specversion": "1.0"}', beyond.dump()):
        await jetstream(edge).publish(events[0].subject, body)
    await publish(edge, events[1])
    await heard.until(CheckpointSigned, size=5)
    entries = [entry for message in heard.of(AuditAppended) for entry in message.entries]
    letters = [base64.b64decode(entry.entry["data"]["body"]) for entry in entries[1:4]]
    assert letters == [b"not an envelope", b'{"specversion": "1.0"}', beyond.dump()]
    assert entries[4].event == events[1].id


async def test_a_replaced_broker_adds_nothing_twice(bus: Bus, start: Start, heard: Heard, keep: Keep) -> None:
    """Its stream starts anew, with old events and new ones: what the log knows, it keeps; what it does not, it adds."""
    edge, events = await bus.connect("edge"), [event() for _ in range(6)]
    bench = await start()
    keep(bench.auditor.take_in())
    keep(bench.auditor.sign())
    await publish(edge, *events[:4])
    await heard.until(CheckpointSigned, size=4)
    js = await bus.provisioner()
    await js.delete_stream(subjects.EVENTS)
    await provision(js)
    await publish(edge, events[2], events[4], events[0], events[5])
    await heard.until(CheckpointSigned, size=6)
    assert [(entry.index, entry.event) for entry in await bench.entries()] == [(i, e.id) for i, e in enumerate(events)]
    assert await bench.runtime.store.write(lambda tx: read_position(subjects.EVENTS, tx)) == (4, events[5].id)
    assert [c.root for c in await bench.signed()][-1] == root_of(events)
