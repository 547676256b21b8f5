"""A running system to measure, and an HTTP client that costs next to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Running:
    """A system on a home of its own."""

    home: Path
    pid: int
    host: str
    port: int
    token: str
    ready_seconds: float


@contextlib.asynccontextmanager
async def system(home: Path | None = None) -> AsyncIterator[Running]:
    """Start everything as ``halftone up`` does, on free ports; stop it at the end."""
    with tempfile.TemporaryDirectory() as temporary:
        home = home or Path(temporary)
        began = time.monotonic()
        environment = os.environ | {"HALFTONE_HOME": str(home), "HALFTONE_PORT": "0", "HALFTONE_NATS_PORT": "0"}
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "infra", env=environment, stdout=asyncio.subprocess.PIPE)
        try:
            assert process.stdout is not None
            line = ""
            while " is ready at " not in line:
                line = (await process.stdout.readline()).decode()
                if not line:
                    raise RuntimeError("the system did not start")
            ready = time.monotonic() - began
            edge = json.loads((home / "run" / "edge.json").read_text())
            token = (home / "admin-token").read_text().strip()
            yield Running(home, process.pid, edge["host"], edge["port"], token, ready)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


class Http:
    """One connection, kept open: requests go out and answers come back without a library in between."""

    def __init__(self, running: Running) -> None:
        self._running = running

    async def open(self) -> Http:
        self._reader, self._writer = await asyncio.open_connection(self._running.host, self._running.port)
        return self

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self._running.host}",
            f"Authorization: Bearer {self._running.token}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head.split(" ", 2)[1]), json.loads(await self._reader.readexactly(length))
