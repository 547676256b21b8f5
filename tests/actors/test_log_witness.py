"""Checkpoints out of the house: over HTTP to those whom the settings trust, again until they arrive, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.log_witness import NotDelivered, Witness
from halftone.merkle import EMPTY_ROOT, Checkpoint, sign_checkpoint
from infra.settings import Settings
from log_fixture import KEY, NAME

NOTE = sign_checkpoint(Checkpoint(NAME, 0, EMPTY_ROOT), KEY, NAME)


class Listener:
    """An HTTP server of a few lines, which answers as it is told to."""

    def __init__(self) -> None:
        self.status, self.location = 204, ""
        self.bodies: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length"))
        await self.bodies.put((head, await reader.readexactly(length)))
        writer.write(f"HTTP/1.1 {self.status} X\r\nLocation: {self.location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[tuple[Listener, str]]:
    listening = Listener()
    async with await asyncio.start_server(listening.serve, "127.0.0.1", 0) as server:
        yield listening, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/log"


def witness(to: str, notes: list[tuple[int, str]], hosts: str = "127.0.0.1") -> Witness:
    return Witness(Settings(checkpoint_to=to, checkpoint_hosts=hosts, checkpoint_every=0.05), lambda: notes[-1] if notes else None)


async def test_a_checkpoint_is_posted_once(listener: tuple[Listener, str]) -> None:
    """As it was signed; nothing while there is none, and nothing again until there is another."""
    listening, address = listener
    notes: list[tuple[int, str]] = []
    one = witness(address, notes)
    await one.deliver()
    notes.append((3, NOTE))
    await one.deliver()
    await one.deliver()
    head, body = await listening.bodies.get()
    assert (head.split()[:2], body, listening.bodies.empty()) == (["POST", "/log"], NOTE.encode(), True)


@pytest.mark.parametrize("status", [302, 307, 400, 409, 503])
async def test_what_did_not_arrive_is_sent_again(listener: tuple[Listener, str], status: int) -> None:
    """Any answer but yes is no, and a redirect is not followed."""
    listening, address = listener
    listening.status, listening.location = status, address + "/elsewhere"
    one = witness(address, [(3, NOTE)])
    with pytest.raises(NotDelivered, match=str(status)):
        await one.deliver()
    listening.status = 200
    running = asyncio.create_task(one.run())
    first, again = await listening.bodies.get(), await listening.bodies.get()
    running.cancel()
    assert [head.split()[1] for head, _ in (first, again)] == ["/log", "/log"]


async def test_private_addresses_are_refused_unless_they_are_named() -> None:
    """What a name stands for is looked at, not the name."""
    with pytest.raises(NotDelivered, match="private network"):
        await witness("https://localhost:1/log", [(3, NOTE)], hosts="").deliver()
    with pytest.raises(NotDelivered, match="ConnectError"):
        await witness("http://127.0.0.1:1/log", [(3, NOTE)]).deliver()


async def test_a_directory_keeps_each_and_a_file_the_last(tmp_path: Path) -> None:
    """None that was written is ever written over; what cannot be written is told."""
    notes = [(3, NOTE)]
    (tmp_path / "all").mkdir()
    targets = [witness(str(tmp_path / name), notes, "") for name in ("all", "last")]
    for size in (3, 12, 100):
        notes.append((size, NOTE + f"{size}"))
        for one in targets:
            await one.deliver()
    assert [path.name[-3:] for path in sorted((tmp_path / "all").iterdir())] == ["003", "012", "100"]
    assert targets[0].kept() == targets[1].kept() == [NOTE + "100"]
    with pytest.raises(NotDelivered, match="No such file"):
        await witness(str(tmp_path / "none" / "last"), notes, "").deliver()
