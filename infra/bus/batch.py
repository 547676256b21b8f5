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
    for number, (subject, message_id, body) in enumerate(messages[:-1], start=1):
        headers = _headers(batch, number, message_id)
        if number == 1:
            # The first is answered, so that a stream which takes no batches says so before the rest is sent.
            reply = await client.request(subject, body, timeout=PUBLISH_TIMEOUT, headers=headers)
            _refusal(reply.data)
        else:
            await client.publish(subject, body, headers=headers)
    subject, message_id, body = messages[-1]
    headers = {**_headers(batch, len(messages), message_id), "Nats-Batch-Commit": "1"}
    reply = await client.request(subject, body, timeout=PUBLISH_TIMEOUT, headers=headers)
    _refusal(reply.data)
    return int(json.loads(reply.data)["seq"]) - len(messages) + 1


def _headers(batch: str, number: int, message_id: str) -> dict[str, str]:
    return {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number), "Nats-Msg-Id": message_id, "Content-Type": CONTENT_TYPE}


def _refusal(body: bytes) -> None:
    error = json.loads(body).get("error") if body else None
    if error:
        raise BatchRefused(int(error.get("err_code", error.get("code", 0))))
