"""Backups: made while everything is written to, whole or not at all, closed to others, and put back as they were."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from sqlalchemy import func, select

from api.tables import edge_tables
from contracts import subjects
from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted
from contracts.ids import new_id
from contracts.jobs import NoopSpec
from infra.backup import databases as copies
from infra.backup.archive import BackupRefused, back_up, put_back
from infra.backup.databases import DatabaseNotEmpty
from infra.bus.connection import connect, jetstream
from infra.bus.relay import Relay
from infra.bus.server import NatsServer
from infra.database.engine import schema_url
from infra.database.store import Store
from infra.database.versions import HEAD
from infra.home import BusAccess, Home
from infra.objects import Objects
from infra.settings import Settings
from tests.conftest import Bus, PostgresServer

ReadStream = Callable[[JetStreamContext, str], Awaitable[list[tuple[int, str]]]]
Relayed = Callable[..., Awaitable[tuple[Store, Relay]]]


class Only:
    """The one instance."""

    id = "only"

    def is_gone(self, other: str | None) -> bool:
        return other is not None


@pytest.fixture(autouse=True)
def runs(home: Home) -> Iterator[None]:
    """A Halftone that runs holds its home; its broker is asked then, none is started."""
    lock = home.lock()
    yield
    os.close(lock)


def accepted() -> Envelope:
    return Envelope.wrap(JobAccepted(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")


async def send(store: Store, relay: Relay, count: int) -> list[str]:
    rows = [accepted() for _ in range(count)]
    asked = [asyncio.ensure_future(relay.published(row.id)) for row in rows]
    await asyncio.sleep(0)
    await store.write(lambda tx: tx.send(*rows))
    await asyncio.gather(*asked)
    return [row.id for row in rows]


@pytest.mark.parametrize("name", ["copy", "copy.tar"])
async def test_what_was_there_is_there_again(bus: Bus, home: Home, tmp_path: Path, read_stream: ReadStream, name: str) -> None:
    """Sequences and ids of the streams, rows and revision of databases, objects, keys and tokens; a directory or one file."""
    store = Store(home.database_url("edge"), edge_tables(), database="edge")
    await store.open()
    relay = Relay(store, await bus.connect("edge"), "/edge", Only())
    running = asyncio.create_task(relay.run())
    sent = await send(store, relay, 40)
    objects = Objects(home.objects)
    kept = objects.put(new_id("obj"), b"{}")
    token, _ = home.token(None)
    settings = Settings(home=home.path)
    made = await back_up(settings, tmp_path / name)
    later = await send(store, relay, 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await store.close()

    assert made.databases == {"edge": HEAD}
    again = Home(tmp_path / "again")
    await put_back(Settings(home=again.path), tmp_path / name)
    assert again.token(None) == (token, False)
    assert Objects(again.objects).read(kept) == b"{}"
    server = NatsServer(again, BusAccess.ensure(again, 0))
    await server.start()
    client = await connect(server.access.url("provisioner"), "provisioner")
    held = await read_stream(jetstream(client), subjects.EVENTS)
    consumers = [c.name for c in await jetstream(client).consumers_info(subjects.EVENTS)]
    await client.close()
    await server.stop()
    assert [message for _, message in held] == sent
    assert [sequence for sequence, _ in held] == list(range(1, 41))
    assert "budget_keeper-events" in consumers
    restored = Store(again.database_url("edge"), edge_tables(), database="edge")
    await restored.open()
    outbox = restored.metadata.tables["outbox"]
    ids = await restored.write(lambda tx: list(tx.connection.execute(select(outbox.c.message_id).order_by(outbox.c.n)).scalars()))
    await restored.close()
    assert ids == sent
    assert later[0] not in ids


async def test_it_is_closed_to_others_and_replaces_nothing(bus: Bus, home: Home, tmp_path: Path) -> None:
    """It holds keys, tokens and tables: mode 0600; what has its name stays; a home that is not empty is not restored into."""
    settings, target = Settings(home=home.path), tmp_path / "copy"
    await back_up(settings, target)
    assert all(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) == 0 for path in (target, *target.rglob("*")))
    with pytest.raises(BackupRefused, match="exists"):
        await back_up(settings, target)
    with pytest.raises(BackupRefused, match="not empty"):
        await put_back(settings, target)


@pytest.mark.parametrize("harm", ["changed", "missing", "added", "newer"])
async def test_a_damaged_backup_is_refused_before_anything_is_put_back(bus: Bus, home: Home, tmp_path: Path, harm: str) -> None:
    """A file that is not as it was saved, is gone or was not saved; tables of a later Halftone."""
    target = tmp_path / "copy"
    await back_up(Settings(home=home.path), target)
    snapshot, manifest = target / "streams" / "EVENTS.snapshot", target / "manifest.json"
    if harm == "changed":
        snapshot.write_bytes(b"?" + snapshot.read_bytes()[1:])
    elif harm == "missing":
        snapshot.unlink()
    elif harm == "added":
        (target / "db" / "more.sqlite").write_bytes(b"")
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"databases": {"edge": "9999"}}))
    with pytest.raises(BackupRefused, match="newer" if harm == "newer" else "damaged"):
        await put_back(Settings(home=tmp_path / "again"), target)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("way", ["sqlite to postgres", "postgres to sqlite", "postgres to postgres"])
async def test_a_database_moves_from_one_kind_to_the_other(tmp_path: Path, home: Home, postgres: PostgresServer, way: str) -> None:
    """Through the same file, and its own numbers go on after those that were copied; a database with tables is not written over."""
    theirs = schema_url(postgres.shared, postgres.prefix())
    source = home.database_url("edge") if way.startswith("sqlite") else theirs
    target = home.database_url("edge") if way.endswith("sqlite") else schema_url(postgres.shared, postgres.prefix())
    store = Store(source, edge_tables(), database="edge")
    await store.open()
    rows = [accepted() for _ in range(3)]
    await store.write(lambda tx: tx.send(*rows))
    assert copies.save(source, "edge", tmp_path / "edge.sqlite") == HEAD
    await store.close()
    copies.put_back(tmp_path / "edge.sqlite", "edge", target)
    with pytest.raises(DatabaseNotEmpty):
        copies.put_back(tmp_path / "edge.sqlite", "edge", target)
    moved = Store(target, edge_tables(), database="edge")
    await moved.open()
    await moved.write(lambda tx: tx.send(accepted()))
    outbox = moved.metadata.tables["outbox"]
    found = await moved.write(lambda tx: list(tx.connection.execute(outbox.select().order_by(outbox.c.n))))
    count = await moved.write(lambda tx: tx.connection.execute(select(func.count()).select_from(outbox)).scalar_one())
    await moved.close()
    assert [(row.message_id, bytes(row.body)) for row in found[:3]] == [(row.id, row.dump()) for row in rows]
    assert count == 4
