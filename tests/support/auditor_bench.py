"""An auditor, fed by hand or by the bus, and what its log should come to."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from sqlalchemy import select

from actors.auditor import Auditor, last_signed, tables
from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted
from contracts.ids import new_id
from contracts.jobs import Actor, NoopSpec
from contracts.records import AuditAppended, AuditEntry, CheckpointSigned
from halftone.merkle import (
    Checkpoint,
    MemoryNodes,
    canonical,
    leaf_hash,
    root,
    verify_checkpoint,
)
from infra.bus.connection import connect
from infra.bus.tail import Stored
from infra.home import BusAccess, Home
from infra.runtime import Runtime, running
from infra.settings import Settings


def event() -> Envelope:
    return Envelope.wrap(JobAccepted(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")


def leaf(envelope: Envelope) -> bytes:
    return leaf_hash(canonical(envelope.model_dump(mode="json", exclude_none=True)))


def root_of(envelopes: list[Envelope]) -> bytes:
    """The root as the library computes it from the leaves alone."""
    return root(len(envelopes), MemoryNodes(map(leaf, envelopes)).get)


class Bench:
    """An auditor, fed by hand or by the bus."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.auditor = runtime, Auditor(runtime)
        self.clients: list[Client] = []
        self.file = runtime.home.audit / "checkpoint"
        self.verifier = (runtime.home.audit / "public-key").read_text().strip()

    async def append(self, *envelopes: Envelope) -> None:
        await self.auditor._append([Stored(n, e.id, e.dump()) for n, e in enumerate(envelopes, start=1)])

    async def sign(self) -> Checkpoint:
        await self.auditor._sign_once()
        return last_signed(self.file, self.auditor._keys.verifying)

    async def sent(self) -> list[Envelope]:
        outbox = self.runtime.store.metadata.tables["outbox"]
        query = select(outbox.c.body).order_by(outbox.c.n)
        return [Envelope.load(body) for body in await self.runtime.store.write(lambda tx: list(tx.connection.execute(query).scalars()))]

    async def signed(self) -> list[Checkpoint]:
        messages = [envelope.message for envelope in await self.sent()]
        return [verify_checkpoint(m.note, self.verifier) for m in messages if isinstance(m, CheckpointSigned)]

    async def notes(self) -> list[str]:
        return [e.message.note for e in await self.sent() if isinstance(e.message, CheckpointSigned)]

    async def bus(self, user: str) -> Client:
        client = await connect(BusAccess.load(self.runtime.home).url(user), user)
        self.clients.append(client)
        return client

    async def entries(self) -> list[AuditEntry]:
        messages = [envelope.message for envelope in await self.sent()]
        return [entry for m in messages if isinstance(m, AuditAppended) for entry in m.entries]


Start = Callable[..., Awaitable[Bench]]


def copy_database(home: Home, target: Path) -> None:
    """A copy as a backup makes it."""
    with (
        contextlib.closing(sqlite3.connect(home.databases / "auditor.sqlite")) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)


def put_back(home: Home, older: Path) -> None:
    for path in home.databases.glob("auditor.sqlite*"):
        path.unlink()
    shutil.copy(older, home.databases / "auditor.sqlite")


@contextlib.asynccontextmanager
async def starting(home: Path) -> AsyncIterator[Start]:
    """Starts the auditor of a home; starting again ends the one before."""
    stack = contextlib.AsyncExitStack()

    async def start(**settings: Any) -> Bench:
        await stack.aclose()
        runtime = await stack.enter_async_context(running(Actor.AUDITOR, Settings(home=home, **settings), tables()))
        bench = Bench(runtime)
        stack.push_async_callback(lambda: asyncio.gather(*(client.close() for client in bench.clients)))
        return bench

    try:
        yield start
    finally:
        await stack.aclose()
