"""What tests of running parts share: a home, a real broker with every user, databases, and ways to wait that never sleep."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from sqlalchemy import MetaData, select

from contracts.envelope import Envelope
from infra.bus.connection import Connection, connect, jetstream
from infra.bus.provision import provision
from infra.bus.relay import Relay
from infra.bus.server import NatsServer
from infra.database.engine import schema_url
from infra.database.store import Store, Transaction
from infra.home import BusAccess, Home
from infra.instance import Instance
from postgres_server import NoPostgres, PostgresServer

PATIENCE = 30.0
"""Seconds after which a test gives up: far above what anything takes, so that only what never comes fails."""


class Bus:
    """A real broker on a home of its own. Ending and starting it again is part of what is tested."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.access = BusAccess.ensure(home, 0)
        self.server = NatsServer(home, self.access)
        self._clients: list[Client] = []

    async def start(self) -> None:
        await self.server.start()

    async def kill(self) -> None:
        """End it as a power cut would."""
        assert self.server.process is not None
        self.server.process.kill()
        await self.server.process.wait()

    async def connect(self, user: str) -> Connection:
        """A connection as a user, closed when the test ends."""
        client = await connect(self.access.url(user), user)
        self._clients.append(client)
        return client

    async def provisioner(self) -> JetStreamContext:
        return jetstream(await self.connect("provisioner"))

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        await self.server.stop()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home directory."""
    return Home(tmp_path / "home").prepare()


@pytest.fixture
async def bare_bus(home: Home) -> AsyncIterator[Bus]:
    """A running broker without streams."""
    bus = Bus(home)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


@pytest.fixture
async def bus(bare_bus: Bus) -> Bus:
    """A running broker with every stream and durable."""
    await provision(await bare_bus.provisioner())
    return bare_bus


OpenStore = Callable[..., Awaitable[Store]]
Databases = Callable[[str], str]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A Postgres that runs for the whole session; without binaries of one, what needs it is skipped."""
    try:
        server = PostgresServer()
    except NoPostgres as error:
        pytest.skip(str(error))
    server.start()
    yield server
    server.remove()


@pytest.fixture
def databases(home: Home) -> Databases:
    """Addresses of databases by name: files of the home. A module of tests that hold for Postgres too has ``both_databases`` instead."""
    return home.database_url


@pytest.fixture(params=["sqlite", "postgres"])
def both_databases(request: pytest.FixtureRequest, home: Home) -> Databases:
    """Addresses of databases by name: once on SQLite, once on Postgres."""
    if request.param == "sqlite":
        return home.database_url
    server: PostgresServer = request.getfixturevalue("postgres")
    prefix = server.prefix()
    return lambda name: schema_url(server.shared, f"{prefix}_{name}")


@pytest.fixture
async def open_store(databases: Databases) -> AsyncIterator[OpenStore]:
    """Opens databases by name, and closes them."""
    opened: list[Store] = []

    async def open_(name: str = "edge", metadata: MetaData | None = None) -> Store:
        store = Store(databases(name), metadata or MetaData())
        opened.append(store)
        await store.open()
        return store

    yield open_
    for store in opened:
        await store.close()


@pytest.fixture
async def keep() -> AsyncIterator[Callable[[Awaitable[Any]], asyncio.Task[Any]]]:
    """Runs something until the test ends; whatever it raised fails the test."""
    tasks: list[asyncio.Task[Any]] = []

    async def run(work: Awaitable[Any]) -> Any:
        return await work

    def start(work: Awaitable[Any]) -> asyncio.Task[Any]:
        tasks.append(asyncio.create_task(run(work)))
        return tasks[-1]

    yield start
    running = set(tasks)
    while running:
        # A cancellation that meets a result may get lost in Python 3.11 (asyncio.wait_for, in the client).
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=1)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [result for result in results if isinstance(result, Exception)]
    assert not errors, errors


Keep = Callable[[Awaitable[Any]], asyncio.Task[Any]]


class Heard:
    """What the broker repeats of a stream, as it is stored: a test waits for what it needs."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self._news = asyncio.Event()

    async def hear(self, message: Msg) -> None:
        self.envelopes.append(Envelope.load(message.data))
        self._news.set()

    def of(self, *kinds: type[Any], **fields: Any) -> list[Any]:
        """Messages of some kinds whose fields have these values."""
        messages = [envelope.message for envelope in self.envelopes]
        return [m for m in messages if isinstance(m, kinds) and all(getattr(m, name) == value for name, value in fields.items())]

    async def until(self, *kinds: type[Any], count: int = 1, **fields: Any) -> list[Any]:
        """Wait for so many."""
        async with asyncio.timeout(PATIENCE):
            while len(found := self.of(*kinds, **fields)) < count:
                self._news.clear()
                await self._news.wait()
            return found


@pytest.fixture
async def heard(bus: Bus) -> Heard:
    """Everything that is stored from now on in EVENTS and AUDIT."""
    heard = Heard()
    client = await bus.connect("provisioner")
    await client.subscribe("halftone.stored.>", cb=heard.hear)
    await client.flush()
    return heard


async def stream_of(js: JetStreamContext, name: str) -> list[tuple[int, str]]:
    """A stream's sequences and message ids, in order."""
    state = (await js.stream_info(name)).state
    held = []
    for sequence in range(state.first_seq, state.last_seq + 1):
        with contextlib.suppress(NotFoundError):
            message = await js.get_msg(name, sequence)
            held.append((sequence, (message.headers or {})["Nats-Msg-Id"]))
    return held


@pytest.fixture
def read_stream() -> Callable[[JetStreamContext, str], Awaitable[list[tuple[int, str]]]]:
    """Reads a stream's sequences and message ids, in order."""
    return stream_of


def outbox(store: Store, tx: Transaction) -> list[Envelope]:
    """What a database has sent, or is about to send, in order."""
    table = store.metadata.tables["outbox"]
    return [Envelope.load(body) for body in tx.connection.execute(select(table.c.body).order_by(table.c.n)).scalars()]


@pytest.fixture
def relayed(bus: Bus, open_store: OpenStore, keep: Keep) -> Callable[..., Awaitable[tuple[Store, Relay]]]:
    """Opens a database as a user and publishes what goes into its outbox."""

    async def open_(user: str = "edge", metadata: MetaData | None = None) -> tuple[Store, Relay]:
        store = await open_store(user, metadata)
        relay = Relay(store, await bus.connect(user), f"/actors/{user}", Instance(bus.home))
        keep(relay.run())
        return store, relay

    return open_
