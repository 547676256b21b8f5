"""Streams, copied out of a broker and put into another by its own snapshots: sequences, times and cursors are as they were."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, BinaryIO

from nats.aio.client import Client
from nats.aio.msg import Msg

CHUNK = 256 * 1024
PATIENCE = 60.0
"""Seconds for the next piece of a snapshot."""


class StreamNotCopied(RuntimeError):
    """The broker refused, or broke off."""


async def save(client: Client, stream: str, directory: Path) -> None:
    """Write a stream, as it is at this moment, with its consumers. Raises StreamNotCopied."""
    inbox, pieces = client.new_inbox(), asyncio.Queue[Msg]()
    subscription = await client.subscribe(inbox, cb=pieces.put)
    try:
        asked = {"deliver_subject": inbox, "chunk_size": CHUNK}
        described = await _ask(client, f"$JS.API.STREAM.SNAPSHOT.{stream}", asked)
        with (directory / f"{stream}.snapshot").open("wb") as file:
            while await _piece(client, pieces, file, stream):
                pass
    finally:
        await subscription.unsubscribe()
    known = {"config": described["config"], "state": described["state"]}
    (directory / f"{stream}.json").write_text(json.dumps(known, indent=1) + "\n")


async def _piece(client: Client, pieces: asyncio.Queue[Msg], file: BinaryIO, stream: str) -> bool:
    """Write the next piece; false if there is none."""
    try:
        async with asyncio.timeout(PATIENCE):
            message = await pieces.get()
    except TimeoutError:
        raise StreamNotCopied(f"{stream}: the broker broke off its snapshot") from None
    status = (message.headers or {}).get("Status", "")
    if status and status != "204":
        raise StreamNotCopied(f"{stream}: {(message.headers or {}).get('Description', status)}")
    if not message.data:
        return False
    file.write(message.data)
    if message.reply:
        # The broker sends a window of pieces ahead, and no more.
        await client.publish(message.reply, b"")
    return True


async def put_back(client: Client, stream: str, directory: Path) -> None:
    """Make a stream, which must not be there, of what was saved. Raises StreamNotCopied."""
    known = json.loads((directory / f"{stream}.json").read_text())
    answered = await _ask(client, f"$JS.API.STREAM.RESTORE.{stream}", known)
    target = str(answered["deliver_subject"])
    with (directory / f"{stream}.snapshot").open("rb") as file:
        while piece := file.read(CHUNK):
            await client.request(target, piece, timeout=PATIENCE)
    done = json.loads((await client.request(target, b"", timeout=PATIENCE)).data or b"{}")
    _require(done, stream)


async def _ask(client: Client, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await client.request(subject, json.dumps(body).encode(), timeout=PATIENCE)).data)
    _require(answer, subject)
    return answer


def _require(answer: dict[str, Any], what: str) -> None:
    if error := answer.get("error"):
        raise StreamNotCopied(f"{what}: {error.get('description', error)}")
