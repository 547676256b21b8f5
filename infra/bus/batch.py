"""Atomic batches (ADR-50): all messages of one stream are stored, in order, with one fsync, or none is."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

from nats.aio.client import Client

from contracts.envelope import CONTENT_TYPE
from infra.bus.connection import PUBLISH_TIMEOUT

LARGEST_BATCH = 512
"""Half of what the broker allows."""


class BatchRefused(RuntimeError):
    """The broker stored nothing of the batch: publish singly."""

    def __init__(self, code: int) -> None:
        super().__init__(f"batch refused: {code}")
        self.code = code


async def publish_batch(client: Client, messages: Sequence[tuple[str, str, bytes]]) -> int:
    """Publish (subject, message id, body) of one stream together.

    Returns the sequence of the first. Raises BatchRefused, or what the connection raises when the broker is away.
    """
    batch = uuid.uuid4().hex
    # Only the last is answered: a stream that refuses an earlier one knows no such batch when it is to be committed.
    for number, (subject, message_id, body) in enumerate(messages[:-1], start=1):
        await client.publish(subject, body, headers=_headers(batch, number, message_id))
    subject, message_id, body = messages[-1]
    headers = {**_headers(batch, len(messages), message_id), "Nats-Batch-Commit": "1"}
    reply = await client.request(subject, body, timeout=PUBLISH_TIMEOUT, headers=headers)
    answer = json.loads(reply.data)
    if error := answer.get("error"):
        raise BatchRefused(int(error.get("err_code", error.get("code", 0))))
    return int(answer["seq"]) - len(messages) + 1


def _headers(batch: str, number: int, message_id: str) -> dict[str, str]:
    return {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number), "Nats-Msg-Id": message_id, "Content-Type": CONTENT_TYPE}
