"""The composition root: starts the broker, the actors and the edge, watches over them, and stops them in order.

Run as ``python -m infra``; settings come from the environment.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

import structlog
import uvloop
from nats.errors import Error as NatsError

from contracts.jobs import Actor
from infra import logs, tracing
from infra.bus.connection import connect, jetstream
from infra.bus.provision import provision
from infra.bus.server import BrokerFailed, NatsServer
from infra.home import BusAccess, Home, HomeInUse
from infra.hosting import READY, READY_DESCRIPTOR
from infra.parts import ENTRIES, GRACE_SECONDS, READY_SECONDS, SLOWEST_RESTART, Part, StartFailed, entry, pause_after
from infra.process import exit_with_parent
from infra.refusal import StartRefused
from infra.settings import Settings
from infra.tracing import TracingNotInstalled

log = structlog.get_logger()

SINGLE = "--single-process"
MOST_SAID = 4096
"""Bytes of a reason why a process does not start: a pipe takes so many at once."""


class Child:
    """One actor or the edge, started again with growing pauses when it ends by itself."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self._settings = name, settings
        self.process: ForkServerProcess | None = None
        self.stopping = False

    async def start(self) -> None:
        """Start, and wait until it serves. Raises StartFailed."""
        context = multiprocessing.get_context("forkserver")
        ours, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=serve, args=(self.name, self._settings, theirs), name=self.name)
        await asyncio.to_thread(self.process.start)
        theirs.close()
        try:
            await asyncio.wait_for(_readable(ours.fileno()), READY_SECONDS)
            said = os.read(ours.fileno(), MOST_SAID)
            if said != READY:
                why = said.decode() or f"ended while starting: see {log_file(self._settings, self.name)}"
                raise StartFailed(f"{self.name}: {why}")
        except TimeoutError:
            raise StartFailed(f"{self.name} is not ready after {READY_SECONDS:g} s") from None
        finally:
            ours.close()

    def keep_port(self, port: int) -> None:
        """Have the edge listen, when it is started again, where its clients know it."""
        self._settings = self._settings.model_copy(update={"port": port})

    async def watch(self) -> None:
        """Start it again whenever it ends."""
        failures = 0
        while not self.stopping:
            began = time.monotonic()
            assert self.process is not None  # noqa: S101  # watched only once started
            await _readable(self.process.sentinel)
            if self.stopping:
                return
            failures = failures + 1 if time.monotonic() - began < SLOWEST_RESTART else 1
            log.error("process.ended", process=self.name, code=self.process.exitcode, failures=failures)
            await asyncio.sleep(pause_after(failures))
            await self._start_again()

    async def _start_again(self) -> None:
        try:
            await self.start()
        except (StartFailed, OSError) as error:
            log.error("process.not_started", process=self.name, reason=str(error))  # noqa: TRY400  # the reason says it

    async def stop(self) -> None:
        """Ask it to finish; end it when it does not."""
        self.stopping = True
        if self.process is None or self.process.exitcode is not None:
            return
        self.process.terminate()
        await asyncio.to_thread(self.process.join, GRACE_SECONDS)
        if self.process.exitcode is None:
            log.warning("process.killed", process=self.name)
            self.process.kill()
            await asyncio.to_thread(self.process.join)


def serve(name: str, settings: Settings, ready: Connection) -> None:
    """Run one process of the system: its entry is found by name. Never outlives the supervisor."""
    # Ctrl-C on the terminal reaches every process of the group; the supervisor says who stops when.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_with_parent()
    output = os.open(log_file(settings, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    logs.configure(settings.log_level)
    tracing.configure(settings.otlp_endpoint, name)
    os.environ[READY_DESCRIPTOR] = str(ready.fileno())
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(entry(name)(settings))
    except StartRefused as refusal:
        log.error("process.refused", process=name, reason=str(refusal))  # noqa: TRY400  # the reason says it
        os.write(ready.fileno(), str(refusal).encode()[:MOST_SAID])
        raise SystemExit(1) from None
    except Exception:
        # In a line as all others are, where multiprocessing would print what the exception says.
        log.critical("process.broke", exc_info=True)
        raise SystemExit(1) from None
    finally:
        tracing.finish()


def log_file(settings: Settings, name: str) -> str:
    return str(Home(settings.home).logs / f"{name}.log")


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class System:
    """Everything on one home: broker, actors, edge."""

    def __init__(self, settings: Settings, *, single: bool) -> None:
        """``single``: all of it in this process, the broker and workers apart."""
        self.settings = settings
        self.home = Home(settings.home)
        # The key that signs the log is for the one process that signs.
        keyless = settings.model_copy(update={"signing_key": None})
        kind = Part if single else Child
        self.children: list[Part | Child] = [kind(name, settings if name == Actor.AUDITOR else keyless) for name in ENTRIES]
        self._broker: NatsServer | None = None
        self._watches: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all of it, and wait until it serves. Raises BrokerFailed or StartFailed."""
        self._access = BusAccess.ensure(self.home, self.settings.nats_port)
        if self.settings.nats_url:
            self._access = BusAccess.of(self.settings)
        else:
            self._broker = NatsServer(self.home, self._access)
            await self._broker.start()
        await self._provision()
        await asyncio.gather(*(child.start() for child in self.children))
        for child in self.children:
            if child.name == "edge":
                child.keep_port(self.home.edge_address()[1])
        self._watches = [asyncio.create_task(child.watch()) for child in self.children]
        if self._broker is not None:
            self._watches.append(asyncio.create_task(self._watch_broker(self._broker)))

    async def _provision(self) -> None:
        client = await connect(self._access.url("provisioner"), "provisioner")
        try:
            await provision(jetstream(client))
        finally:
            await client.close()

    async def _watch_broker(self, broker: NatsServer) -> None:
        """Start the broker again whenever it ends: all else waits for it."""
        failures = 0
        while True:
            began = time.monotonic()
            code = await broker.ended()
            failures = failures + 1 if time.monotonic() - began < SLOWEST_RESTART else 1
            log.error("broker.ended", code=code, failures=failures)
            await asyncio.sleep(pause_after(failures))
            try:
                await broker.start()
                # Its store may have been replaced, or be gone.
                await self._provision()
            except (BrokerFailed, NatsError, OSError) as error:
                log.error("broker.not_started", reason=str(error))  # noqa: TRY400  # the reason says it

    async def stop(self) -> None:
        """Stop the edge, so that nothing new comes in, then the actors, then the broker."""
        for watch in self._watches:
            watch.cancel()
        edge = [child for child in self.children if child.name == "edge"]
        actors = [child for child in self.children if child.name != "edge"]
        for group in (edge, actors):
            await asyncio.gather(*(child.stop() for child in group))
        if self._broker is not None:
            await self._broker.stop()


async def up(settings: Settings, *, single: bool) -> None:
    """Run everything until SIGINT or SIGTERM. Raises HomeInUse, BrokerFailed, StartFailed or TracingNotInstalled."""
    began = time.monotonic()
    if settings.otlp_endpoint:
        # Asked here, once: in the processes, what is missing would only be in their logs.
        tracing.exporter(settings.otlp_endpoint)
    home = Home(settings.home).prepare()
    home.lock()
    token, made = home.token(settings.admin_token)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    system = System(settings, single=single)
    try:
        await system.start()
        url = home.edge_url()
        say(f"halftone is ready at {url} after {time.monotonic() - began:.1f} s; its state is in {home.path}")
        if made:
            say(f"administrator's token (shown once, kept in {home.admin_token}): {token}")
        say("Ctrl-C stops it")
        await stop.wait()
        say("stopping")
    finally:
        await system.stop()
        await _end_tasks()


async def _end_tasks() -> None:
    """End what libraries have left running in this process: it would wait for that for ever."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    while left:
        # Again and again: in Python 3.11 a cancellation that meets a result is lost (asyncio.wait_for).
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1)


def say(line: str) -> None:
    """Tell whoever started the system."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(signing_key: str | None = None) -> int:
    """Run the system with settings from the environment; the exit code says how it ended."""
    settings = Settings.load(signing_key=signing_key)
    logs.configure(settings.log_level)
    try:
        single = SINGLE in sys.argv
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if single else None) as runner:
            runner.run(up(settings, single=single))
    except (HomeInUse, BrokerFailed, StartFailed, TracingNotInstalled) as error:
        sys.stderr.write(f"halftone: {error}\n")
        return 1
    return 0
