"""Checkpoints put where this system cannot take them back: a file, a directory or an address that somebody else looks after.

Whoever holds them can tell whether the history of today is the history of then, whatever was done to the home meanwhile.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import structlog

from infra.settings import Settings

log = structlog.get_logger()

TIMEOUT = 10.0
"""Seconds for which an address may take its time."""
LONGEST_PAUSE = 300.0
"""Seconds between two attempts, at most."""


class NotDelivered(RuntimeError):
    """The checkpoint did not arrive."""


class Witness:
    """Writes the newest checkpoint, every so many seconds, to where the settings say."""

    def __init__(self, settings: Settings, newest: Callable[[], tuple[int, str] | None]) -> None:
        """``newest`` gives the size and the note of what was signed last."""
        self._target, self._every, self._newest = settings.checkpoint_to, settings.checkpoint_every, newest
        self._trusted = frozenset(settings.checkpoint_hosts.split(","))
        self._delivered = -1

    def kept(self) -> list[str]:
        """Notes that were written to a file or directory before: what was signed, by another's word than the home's."""
        if not self._target or "://" in self._target:
            return []
        path = Path(self._target)
        files = sorted(path.glob("checkpoint-*"))[-1:] if path.is_dir() else [path]
        return [file.read_text() for file in files if file.exists()]

    async def run(self) -> None:
        """Deliver for ever; again, with growing pauses, what did not arrive."""
        pause = self._every
        while self._target:
            await asyncio.sleep(pause)
            try:
                await self.deliver()
            except NotDelivered as error:
                log.warning("audit.checkpoint_not_delivered", reason=str(error), again_in=pause)
                pause = min(LONGEST_PAUSE, max(pause, 1.0) * 2)
            else:
                pause = self._every

    async def deliver(self) -> None:
        """Deliver what was signed last, unless it was before. Raises NotDelivered."""
        newest = self._newest()
        if not self._target or newest is None or newest[0] == self._delivered:
            return
        size, note = newest
        if "://" in self._target:
            await self._post(note)
        else:
            await asyncio.to_thread(self._write, size, note)
        self._delivered = size

    def _write(self, size: int, note: str) -> None:
        path = Path(self._target)
        try:
            if path.is_dir():
                target = path / f"checkpoint-{size:019d}"
                if not target.exists():
                    _replace(target, note)
            else:
                _replace(path, note)
        except OSError as error:
            raise NotDelivered(f"{path}: {error}") from error

    async def _post(self, note: str) -> None:
        host = urlsplit(self._target).hostname or ""
        if host not in self._trusted:
            await _require_public(host)
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as client:
                answer = await client.post(self._target, content=note.encode(), headers=headers)
        except httpx.HTTPError as error:
            raise NotDelivered(f"{host}: {type(error).__name__}") from error
        if not answer.is_success:
            raise NotDelivered(f"{host} answers {answer.status_code}")


async def _require_public(host: str) -> None:
    """Refuse addresses of a private network, unless the settings name the host. Raises NotDelivered."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NotDelivered(f"{host} is not found: {error}") from error
    for *_, address in found:
        if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global:
            raise NotDelivered(f"{host} is an address of a private network: name it in HALFTONE_CHECKPOINT_HOSTS if it is meant")


def _replace(path: Path, note: str) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(note)
    draft.replace(path)
