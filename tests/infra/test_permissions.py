"""What each user of the bus may do, tried against a real broker: a user's mistake, or theft, reaches no further than its part."""

from __future__ import annotations

import asyncio
import json

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.jobs import Actor
from infra.bus import connection
from infra.bus.connection import connect, jetstream
from infra.bus.topology import EXECUTORS, inbox_prefix
from infra.home import BUS_USERS
from tests.conftest import PATIENCE, Bus

JOB = "job_" + "0" * 32

PLACES = {
    "run": f"halftone.cmd.synthesizer.run.{JOB}",
    "ingest": f"halftone.cmd.ingestor.run.{JOB}",
    "cancel": "halftone.cmd.synthesizer.ctl.cancel.m",
    "reserve": "halftone.cmd.budget_keeper.ctl.reserve.m",
    "set_limit": "halftone.cmd.budget_keeper.ctl.set_limit.m",
    "job": f"halftone.evt.job.{JOB}.completed",
    "mechanism": f"halftone.evt.mechanism.{JOB}.started",
    "dataset": "halftone.evt.dataset.x.registered",
    "budget": "halftone.evt.budget.x.charged",
    "entries": "halftone.audit.entries.0",
    "dead": "halftone.dead.m",
    "progress": f"halftone.progress.{JOB}",
    "cancel-now": f"halftone.cancel.{JOB}",
    **{f"vitals-{actor}": f"halftone.vitals.{actor}" for actor in Actor},
    "stored": f"halftone.stored.evt.job.{JOB}.completed",
    "create-consumer": "$JS.API.CONSUMER.CREATE.EVENTS.x",
    "create-durable": "$JS.API.CONSUMER.DURABLE.CREATE.EVENTS.x",
    "delete-consumer": "$JS.API.CONSUMER.DELETE.EVENTS.budget_keeper-events",
    "create-stream": "$JS.API.STREAM.CREATE.X",
    "delete-stream": "$JS.API.STREAM.DELETE.EVENTS",
    "purge": "$JS.API.STREAM.PURGE.EVENTS",
    "read-events": "$JS.API.DIRECT.GET.EVENTS",
    "read-audit": "$JS.API.DIRECT.GET.AUDIT",
    "read-dead": "$JS.API.DIRECT.GET.DEAD",
    "see-commands": "$JS.API.STREAM.INFO.COMMANDS",
    "repaired": "halftone.evt.bus.edge.repaired",
    "settled": "halftone.evt.letter.x.settled",
    "read-commands": "$JS.API.STREAM.MSG.GET.COMMANDS",
    "look-queue": "$JS.API.CONSUMER.INFO.COMMANDS.ingestor-ctl",
    "look-subscriber": "$JS.API.CONSUMER.INFO.EVENTS.subscriber-default",
    "look-dead": "$JS.API.STREAM.INFO.DEAD",
    "fetch-keeper": "$JS.API.CONSUMER.MSG.NEXT.EVENTS.budget_keeper-events",
    "fetch-synthesizer": "$JS.API.CONSUMER.MSG.NEXT.COMMANDS.synthesizer-run",
    "fetch-subscriber": "$JS.API.CONSUMER.MSG.NEXT.EVENTS.subscriber-default",
    "fetch-log": "$JS.API.CONSUMER.MSG.NEXT.AUDIT.audit_reader-default",
    "ack-log": "$JS.ACK.AUDIT.audit_reader-default.1.1.1.1.0",
    "request": "halftone.evt.request.x.recorded",
    "erased": "halftone.evt.payload.x.erased",
    "settings": "halftone.evt.settings.edge.changed",
    "key": "halftone.evt.log.x.key_rotated",
    "edge-outbox": "halftone.outbox.edge",
    "ack-keeper": "$JS.ACK.EVENTS.budget_keeper-events.1.1.1.1.0",
    "ack-subscriber": "$JS.ACK.EVENTS.subscriber-default.1.1.1.1.0",
}
"""Somewhere to publish, for each right that there is, and for each that nobody has."""

READ_BACK = {"read-events", "read-dead", "see-commands", "repaired", "dead"}
READ_LOG = {"read-audit"} | READ_BACK
EXECUTES = {"job", "dataset", "progress", "cancel-now", "reserve"} | READ_BACK
MAY_PUBLISH: dict[str, set[str]] = {
    "edge": {"edge-outbox", "run", "ingest", "cancel", "reserve", "set_limit", "job", "dataset", "settled", "look-queue"}
    | {"request", "erased", "settings"}
    | READ_LOG,
    "subscriber": {"fetch-subscriber", "ack-subscriber", "look-subscriber"},
    "audit_reader": {"fetch-log", "ack-log"},
    "budget_keeper": {"budget", "run", "ingest", "fetch-keeper", "ack-keeper", "vitals-budget_keeper"} | READ_BACK,
    "auditor": {"entries", "key", "vitals-auditor"} | READ_LOG,
    "ingestor": EXECUTES | {"vitals-ingestor", "look-queue"},
    "synthesizer": EXECUTES | {"mechanism", "fetch-synthesizer", "vitals-synthesizer"},
    "evaluator": EXECUTES | {"vitals-evaluator"},
}
HEARS = {
    "stored-events": "halftone.stored.evt.>",
    "stored-audit": "halftone.stored.audit.>",
    "stored-dead": "halftone.stored.dead.>",
    "progress": "halftone.progress.*",
    "cancel-now": "halftone.cancel.*",
    "vitals": "halftone.vitals.*",
    "events": "halftone.evt.>",
    "log": "halftone.audit.>",
    "edge-outbox": "halftone.outbox.edge",
    "commands": "halftone.cmd.>",
    "everything": ">",
    "the library's own inboxes": "_INBOX.>",
    "the broker's advice": "$JS.EVENT.>",
}
MAY_HEAR: dict[str, set[str]] = {
    "edge": {"edge-outbox", "stored-events", "stored-audit", "stored-dead", "progress", "vitals"},
    "subscriber": {"events", "stored-events"},
    "audit_reader": {"log", "stored-audit"},
    "budget_keeper": set(),
    "auditor": {"stored-events"},
    **{str(actor): {"cancel-now"} for actor in EXECUTORS},
}


SENTINEL = "forbidden.to.all"


class Refused:
    """What the broker told a client that it may not do."""

    def __init__(self) -> None:
        self._errors: list[str] = []
        self._all = asyncio.Event()

    async def hear(self, _user: str, error: Exception) -> None:
        self._errors.append(str(error).lower())
        if SENTINEL in str(error):
            self._all.set()

    async def of(self, client: Client, subjects: dict[str, str]) -> set[str]:
        """Names of the subjects that were refused. The broker answers in order: what nobody may do is refused last."""
        await client.publish(SENTINEL, b"")
        await asyncio.wait_for(self._all.wait(), PATIENCE)
        return {name for name, subject in subjects.items() if any(f'"{subject.lower()}"' in error for error in self._errors)}


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Refused:
    refused = Refused()
    monkeypatch.setattr(connection, "on_error", refused.hear)
    return refused


def test_the_table_knows_every_user() -> None:
    """A user that is added is tried as well."""
    assert MAY_PUBLISH.keys() == MAY_HEAR.keys() == set(BUS_USERS) - {"provisioner"}


@pytest.mark.parametrize("user", MAY_PUBLISH)
async def test_a_user_may_publish_what_is_its_part_and_nothing_else(bare_bus: Bus, refused: Refused, user: str) -> None:
    """Every place is tried; the broker says no to exactly those that are not the user's."""
    client = await bare_bus.connect(user)
    for subject in PLACES.values():
        await client.publish(subject, b"")
    assert PLACES.keys() - await refused.of(client, PLACES) == MAY_PUBLISH[user]


@pytest.mark.parametrize("user", MAY_HEAR)
async def test_a_user_may_hear_what_is_its_part_and_nothing_else(bare_bus: Bus, refused: Refused, user: str) -> None:
    """No other's replies, no commands, and not everything at once."""
    client = await bare_bus.connect(user)
    hears = {**HEARS, **{f"inbox of {other}": f"{inbox_prefix(other)}.>" for other in BUS_USERS}}
    for subject in hears.values():
        await client.subscribe(subject)
    assert hears.keys() - await refused.of(client, hears) == MAY_HEAR[user] | {f"inbox of {user}"}


@pytest.mark.parametrize("given", [{}, {"user": "edge", "pass": "wrong"}, {"user": "nobody", "pass": "x"}], ids=len)
async def test_a_wrong_password_is_no_user(bare_bus: Bus, given: dict[str, str]) -> None:
    """Nor is no password, nor a user that is not there."""
    reader, writer = await asyncio.open_connection(bare_bus.access.host, bare_bus.access.port)
    writer.write(f"CONNECT {json.dumps({'verbose': False, **given})}\r\nPING\r\n".encode())
    said = (await asyncio.wait_for(reader.read(), PATIENCE)).decode()
    writer.close()
    await writer.wait_closed()
    assert "Authorization Violation" in said
    assert "PONG" not in said


async def test_rights_are_enough_for_a_users_work(bus: Bus) -> None:
    """A subscriber fetches a completion from its durable, and acknowledges it, with nothing else but its rights."""
    executor, subscriber = await bus.connect("synthesizer"), await bus.connect("subscriber")
    await executor.publish(f"halftone.evt.job.{JOB}.completed", b"done")
    await executor.publish(f"halftone.evt.job.{JOB}.failed", b"not for it")
    replies: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = subscriber.new_inbox()
    await subscriber.subscribe(inbox, cb=replies.put)
    await subscriber.publish(PLACES["fetch-subscriber"], json.dumps({"batch": 1, "expires": 10**10}).encode(), reply=inbox)
    message = await asyncio.wait_for(replies.get(), PATIENCE)
    assert message.data == b"done"
    await message.ack_sync(timeout=5)
    info = await (await bus.provisioner()).consumer_info("EVENTS", "subscriber-default")
    assert (info.num_pending, info.num_ack_pending) == (0, 0)


async def test_a_connection_is_a_users_own(bare_bus: Bus) -> None:
    """Requests are answered in the user's own inbox."""
    client = await connect(bare_bus.access.url("edge"), "edge")
    assert client.new_inbox().startswith("_INBOX_edge.")
    await client.close()


async def test_an_outsider_cannot_have_an_answer_written_into_a_stream(bus: Bus) -> None:
    """The broker checks no right to the subject of an answer: a reply addressed to a stream of ours must not reach it."""
    js = await bus.provisioner()
    outsider = await bus.connect("subscriber")
    held = (await js.stream_info("EVENTS")).state.messages
    for request in ("$JS.API.CONSUMER.INFO.EVENTS.subscriber-default", "$JS.API.CONSUMER.MSG.NEXT.EVENTS.subscriber-default"):
        await outsider.publish(request, b"", reply=f"halftone.evt.job.{JOB}.completed")
    await outsider.flush()
    # What is asked for by fetching is answered, to the inbox that asked: the request above was heard and its answer went nowhere.
    subscription = await jetstream(outsider).pull_subscribe_bind("subscriber-default", "EVENTS")
    for _ in range(2):
        await js.publish(f"halftone.evt.job.{JOB}.completed", b"{}")
    (message,) = await subscription.fetch(1, timeout=PATIENCE)
    await message.ack_sync()
    assert (await js.stream_info("EVENTS")).state.messages == held + 2
