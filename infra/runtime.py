"""What an actor runs on: its settings, connection, database, relay and background tasks, watched over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import structlog
from nats.aio.client import Client
from sqlalchemy import MetaData

from infra.bus.connection import connect
from infra.bus.relay import Relay
from infra.database.store import Store
from infra.home import BusAccess, Home
from infra.objects import Objects
from infra.settings import Settings

log = structlog.get_logger()

READY_DESCRIPTOR = "HALFTONE_READY_DESCRIPTOR"
"""Environment variable with the descriptor of a pipe: one byte on it says that the process serves."""
FAILURES = 5
"""Failures of one task within a minute after which the process gives up: the supervisor starts it anew."""


class TaskGivenUp(RuntimeError):
    """A background task failed again and again."""


class Runtime:
    """One actor's surroundings, made once by ``running`` and handed to whoever needs a part of it."""

    def __init__(self, name: str, settings: Settings, client: Client, store: Store) -> None:
        self.name, self.settings, self.client, self.store = name, settings, client, store
        self.home = Home(settings.home)
        self.objects = Objects(self.home.objects)
        self.source = "/edge" if name == "edge" else f"/actors/{name}"
        self.relay = Relay(store, client, self.source)
        self.stopping = asyncio.Event()
        self.failing: set[str] = set()
        """Tasks that are down right now: while there are any, the process is not ready."""
        self.afterwards: list[Callable[[], None]] = []
        """What is to be closed once no task runs any more."""
        self._group: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ready(self) -> None:
        """Tell the supervisor, if there is one, that this process serves."""
        descriptor = os.environ.get(READY_DESCRIPTOR)
        if descriptor is not None:
            os.write(int(descriptor), b"+")

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
        for close in self.afterwards:
            close()
        with contextlib.suppress(Exception):
            await self.client.close()
        await self.store.close()


@contextlib.asynccontextmanager
async def running(name: str, settings: Settings, metadata: MetaData) -> AsyncIterator[Runtime]:
    """Connect an actor as its own user and open its own database; SIGTERM and SIGINT stop it."""
    home = Home(settings.home)
    access = BusAccess.load(home)
    client = await connect(access.url(name), name)
    store = Store(home.database_url(name), metadata)
    await store.open()
    runtime = Runtime(name, settings, client, store)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runtime.stopping.set)
    runtime.keep("relay", runtime.relay.run)
    try:
        yield runtime
    finally:
        await runtime.end()
