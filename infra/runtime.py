"""What an actor runs on: its settings, connection, database, relay and background tasks, watched over."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from nats.errors import Error as NatsError
from sqlalchemy import MetaData

from contracts import subjects
from contracts.jobs import Actor
from contracts.records import Vitals
from infra.bus.connection import Connection, connect
from infra.bus.relay import Relay
from infra.database.pruning import prune
from infra.database.store import Store
from infra.home import BusAccess, Home
from infra.hosting import HOST
from infra.instance import Instance
from infra.objects import Objects
from infra.settings import Settings

log = structlog.get_logger()

EDGE = "edge"
VITALS_SECONDS = 5.0
"""How often an actor says how it does."""
FAILURES = 5
"""Failures of one task within a minute after which the process gives up: the supervisor starts it anew."""


class TaskGivenUp(RuntimeError):
    """A background task failed again and again."""


@dataclass
class Tally:
    """What a process counts of itself, for whoever watches the system."""

    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    workers_started: int = 0
    workers_lost: int = 0
    behind: Callable[[], int] | None = None
    """Messages that are still to be taken in, where somebody waits for that."""


class Runtime:
    """One actor's surroundings, made once by ``running`` and handed to whoever needs a part of it."""

    def __init__(self, name: str, settings: Settings, client: Connection, store: Store) -> None:
        self.name, self.settings, self.client, self.store = name, settings, client, store
        self.home = Home(settings.home)
        self.host = HOST.get()
        self.objects = Objects(self.home.objects)
        self.source = "/edge" if name == EDGE else f"/actors/{name}"
        self.instance = Instance(self.home)
        self.relay = Relay(store, client, self.source, self.instance)
        self.stopping = asyncio.Event()
        self.tally = Tally()
        self.failing: set[str] = set()
        """Tasks that are down right now: while there are any, the process is not ready."""
        self._group: set[asyncio.Task[None]] = set()
        self._ended = False
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ready(self, where: str = "") -> None:
        """Tell whoever started it that this part of the system serves, the edge at some address."""
        self.host.ready(where)

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run a task until the actor stops, and again, after a while, when it fails."""
        task = asyncio.create_task(self._supervise(name, work), name=name)
        self._group.add(task)

    async def _supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        failures: list[float] = []
        loop = asyncio.get_running_loop()
        while not self.stopping.is_set():
            try:
                await work()
            except Exception:
                log.exception("task.failed", task=name)
            else:
                return
            self.failing.add(name)
            failures = [t for t in failures if t > loop.time() - 60] + [loop.time()]
            if len(failures) >= FAILURES:
                if not self._failure.done():
                    self._failure.set_exception(TaskGivenUp(name))
                return
            await asyncio.sleep(0.2 * 2 ** len(failures))
            self.failing.discard(name)

    async def tell_vitals(self, actor: Actor) -> None:
        """Say for ever how this process does. It is said on core NATS, and not kept for a broker that is away."""
        while True:
            if self.client.is_connected:
                with contextlib.suppress(NatsError, OSError):
                    await self.client.publish(subjects.vitals(actor), self._vitals(actor).model_dump_json().encode())
            await asyncio.sleep(VITALS_SECONDS)

    def _vitals(self, actor: Actor) -> Vitals:
        tally = self.tally
        return Vitals(
            actor=actor,
            instance=tally.instance,
            outbox_waiting=self.relay.backlog,
            tasks_failing=len(self.failing),
            behind=None if tally.behind is None else tally.behind(),
            workers_started=tally.workers_started,
            workers_lost=tally.workers_lost,
        )

    async def until_stopped(self) -> None:
        """Wait for the end of the actor. Raises TaskGivenUp."""
        stop = asyncio.create_task(self.stopping.wait())
        futures: set[asyncio.Future[Any]] = {stop, self._failure}
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if self._failure.done():
            self._failure.result()

    async def end(self) -> None:
        """Stop the tasks and close what is open, the database last."""
        self.stopping.set()
        running: set[asyncio.Task[None]] = self._group
        while running:
            # Again and again: in Python 3.11 a cancellation that meets a result is lost (asyncio.wait_for).
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=1)
        self._failure.cancel()
        if not self._ended:
            # Once: the descriptor's number may be somebody else's by the second time.
            self._ended = True
            self.instance.close()
        with contextlib.suppress(Exception):
            await self.client.close()
        await self.store.close()


@contextlib.asynccontextmanager
async def running(name: str, settings: Settings, metadata: MetaData) -> AsyncIterator[Runtime]:
    """Connect an actor as its own user and open its own database; SIGTERM and SIGINT stop it."""
    client = await connect(BusAccess.of(settings).url(name), name)
    store = Store(settings.database_of(name), metadata, database=name)
    await store.open()
    runtime = Runtime(name, settings, client, store)
    runtime.host.on_stop(runtime.stopping.set)
    runtime.keep("relay", runtime.relay.run)
    if name != EDGE:
        runtime.keep("vitals", partial(runtime.tell_vitals, Actor(name)))
    runtime.keep("prune", partial(prune, store, settings.inbox_days, settings.outbox_days))
    try:
        yield runtime
    finally:
        await runtime.end()
