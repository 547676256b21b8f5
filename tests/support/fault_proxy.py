"""A proxy between the broker and its clients that can hold, cut, refuse, delay, repeat and shuffle what passes. It runs in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
CHUNK = 1 << 16
OURS = b"halftone."
"""Subjects of the project's own messages; what answers a request has another."""


class _Link:
    """One client's connection, with the user that it says it is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.user = ""
        self.tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.writer.close()


class Proxy:
    """Clients come to ``port``; the broker is at another. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._links: set[_Link] = set()
        self._held: set[str] = set()
        self._flowing = asyncio.Condition()
        self._upstream = 0
        self._delay = 0.0
        self._times = 1
        self._within = 0.0
        self._about = b""
        self._rng = random.Random(0)
        self.port = 0
        self.refused = 0
        """Connections that were turned away."""
        self._refuses = False

    def start(self, upstream: int) -> None:
        """Listen, on the same port each time, and pass on to a broker's."""
        self._upstream = upstream
        self._do(self._listen())

    def stop(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hold(self, *users: str) -> None:
        """Let nothing pass, either way, as a network does that is parted: of some users, or of all. Nothing is lost."""
        self._set(lambda: self._held.update(users or {"*"}))

    def release(self) -> None:
        """Let pass again, first what was held."""
        self._set(self._held.clear)

    def cut(self, *users: str) -> None:
        """End connections, in the middle of whatever passes."""
        self._set(lambda: self._close(users))

    def refuse(self) -> None:
        """End all connections, and take none, as if there were no broker."""

        def change() -> None:
            self._refuses, self.refused = True, 0
            self._close(())

        self._set(change)

    def accept(self) -> None:
        """Take connections again."""
        self._set(lambda: setattr(self, "_refuses", False))

    def delay(self, seconds: float) -> None:
        """Have every chunk wait for so long."""
        self._set(lambda: setattr(self, "_delay", seconds))

    def repeat(self, times: int) -> None:
        """Hand every message of ours to its client so many times."""
        self._set(lambda: (setattr(self, "_times", times), self._close(())))

    def shuffle(self, within: float, seed: int, *, about: str = "") -> None:
        """Keep messages of ours back for a random while each, so that their order is another: all, or those with this in their subject."""

        def change() -> None:
            self._within, self._rng, self._about = within, random.Random(seed), about.encode()
            self._close(())

        self._set(change)

    def calm(self) -> None:
        """No faults any more. Connections on which messages were repeated or shuffled are made anew."""

        def change() -> None:
            touched = self._times > 1 or self._within > 0
            self._held.clear()
            self._refuses, self._delay, self._times, self._within = False, 0.0, 1, 0.0
            if touched:
                self._close(())

        self._set(change)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _set(self, change: Callable[[], object]) -> None:
        async def work() -> None:
            async with self._flowing:
                change()
                self._flowing.notify_all()

        self._do(work())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 22)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        self._close(())
        for link in list(self._links):
            await asyncio.wait(link.tasks) if link.tasks else None

    def _close(self, users: tuple[str, ...]) -> None:
        for link in self._links:
            if not users or link.user in users:
                link.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            self.refused += 1
            writer.close()
            return
        link = _Link(reader, writer)
        self._links.add(link)
        server_writer: asyncio.StreamWriter | None = None
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._upstream, limit=1 << 22)
            out = asyncio.create_task(self._up(link, server_writer))
            back = asyncio.create_task(self._down(link, server_reader))
            link.tasks |= {out, back}
            await asyncio.wait({out, back}, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            self.refused += 1
        finally:
            link.close()
            if server_writer is not None:
                server_writer.close()
            self._links.discard(link)

    async def _pass(self, link: _Link) -> None:
        async with self._flowing:
            await self._flowing.wait_for(lambda: not self._held & {link.user, "*"})
        if self._delay:
            await asyncio.sleep(self._delay)

    async def _up(self, link: _Link, server: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await link.reader.read(CHUNK):
                if not link.user and b"CONNECT {" in chunk:
                    said, _ = json.JSONDecoder().raw_decode(chunk[chunk.index(b"CONNECT {") + 8 :].decode())
                    link.user = said.get("user", "?")
                await self._pass(link)
                server.write(chunk)
                await server.drain()

    async def _down(self, link: _Link, server: asyncio.StreamReader) -> None:
        plain = self._times == 1 and not self._within
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async for piece, subject in _chunks(server) if plain else _frames(server):
                await self._pass(link)
                ours = subject.startswith(OURS)
                if ours and self._within and self._about in subject:
                    link.tasks.add(task := asyncio.create_task(self._later(link, piece * self._times)))
                    task.add_done_callback(link.tasks.discard)
                    continue
                link.writer.write(piece * self._times if ours else piece)
                await link.writer.drain()

    async def _later(self, link: _Link, piece: bytes) -> None:
        await asyncio.sleep(self._rng.uniform(0, self._within))
        with contextlib.suppress(OSError):
            link.writer.write(piece)


async def _chunks(server: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    while chunk := await server.read(CHUNK):
        yield chunk, b""


async def _frames(server: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    """The server's protocol, a message or a line at a time, and the subject if it is a message."""
    while True:
        line = await server.readuntil(b"\r\n")
        verb, *words = line.split()
        if verb.upper() not in {b"MSG", b"HMSG"}:
            yield line, b""
            continue
        body = await server.readexactly(int(words[-1]) + 2)
        yield line + body, words[0]
