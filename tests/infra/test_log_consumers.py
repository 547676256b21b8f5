"""The log on the bus: each entry with its index, at least once and in order, for whoever reads it durably, and for nobody else."""

from __future__ import annotations

import json

from contracts.envelope import Context, Envelope
from contracts.ids import SYSTEM
from contracts.records import AuditAppended, AuditEntry
from halftone.merkle import leaf_hash
from infra.bus.connection import jetstream
from infra.bus.topology import audit_durable
from infra.home import BusAccess
from log_fixture import body, event
from tests.conftest import Bus


def appended(first: int, count: int) -> Envelope:
    """What the auditor announces of some entries."""
    made = [event() for _ in range(count)]
    entries = [
        AuditEntry(index=first + n, event=e.id, leaf=leaf_hash(body(e)).hex(), entry=e.model_dump(mode="json", exclude_none=True))
        for n, e in enumerate(made)
    ]
    return Envelope.wrap(AuditAppended(entries=tuple(entries)), Context.new(SYSTEM), source="/actors/auditor")


async def test_entries_come_in_order_at_least_once_and_from_the_first(bus: Bus) -> None:
    """What is not acknowledged comes again before anything that follows it; another connection goes on where the last one stopped."""
    auditor = jetstream(await bus.connect("auditor"))
    for first in range(0, 60, 3):
        told = appended(first, 3)
        await auditor.publish(told.subject, told.dump(), headers={"Nats-Msg-Id": told.id})
    durable, seen = audit_durable("default"), []
    for turn in range(2):
        client = await bus.connect("audit_reader")
        log = await jetstream(client).pull_subscribe_bind(durable.name, durable.stream)
        for n in range(13):
            if len(seen) == 60:
                break
            (message,) = await log.fetch(1, timeout=10)
            indexes = [entry["index"] for entry in json.loads(message.data)["data"]["entries"]]
            if n % 3 == turn:
                await message.nak()
                continue
            seen += indexes
            await message.ack_sync(timeout=10)
        await client.close()
    client = await bus.connect("audit_reader")
    log = await jetstream(client).pull_subscribe_bind(durable.name, durable.stream)
    while len(seen) < 60:
        (message,) = await log.fetch(1, timeout=10)
        seen += [entry["index"] for entry in json.loads(message.data)["data"]["entries"]]
        await message.ack_sync(timeout=10)
    assert seen == list(range(60))


async def test_a_home_of_an_older_version_gets_the_user_that_it_lacks(bus: Bus) -> None:
    """And keeps the passwords that others were given."""
    before = dict(bus.access.passwords)
    del bus.access.passwords["audit_reader"]
    bus.access.save(bus.home)
    after = BusAccess.ensure(bus.home, 0).passwords
    assert after.keys() == before.keys()
    assert {user: word for user, word in after.items() if user != "audit_reader"} == {
        user: word for user, word in before.items() if user != "audit_reader"
    }
