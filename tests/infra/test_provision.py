"""Streams and durables as declared: made once, never at the cost of a message."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nats.js.api import RetentionPolicy, StorageType
from nats.js.errors import APIError

from contracts import subjects
from infra.bus import provision as provision_module
from infra.bus.connection import jetstream
from infra.bus.provision import DestructiveChange, provision
from infra.bus.topology import DURABLES, STREAMS
from tests.conftest import Bus


async def test_doing_it_twice_changes_nothing(bus: Bus) -> None:
    """Every stream and durable is there as declared, and stays the one it was."""
    js = await bus.provisioner()
    before = [await js.stream_info(str(stream.name)) for stream in STREAMS]
    cursors = [await js.consumer_info(durable.stream, durable.name) for durable in DURABLES]
    await provision(js)
    assert [(await js.stream_info(str(stream.name))).config for stream in STREAMS] == [info.config for info in before]
    assert [(await js.stream_info(str(stream.name))).created for stream in STREAMS] == [info.created for info in before]
    again = [await js.consumer_info(durable.stream, durable.name) for durable in DURABLES]
    assert [(info.created, info.config) for info in again] == [(info.created, info.config) for info in cursors]
    assert len(await js.streams_info()) == len(STREAMS)


async def test_cursors_and_messages_survive_it(bus: Bus) -> None:
    """A second start loses neither what is stored nor how far it was read."""
    js = await bus.provisioner()
    await js.publish("halftone.cmd.ingestor.run.x", b"1", headers={"Nats-Msg-Id": "1"})
    await js.publish("halftone.evt.job.x.completed", b"2", headers={"Nats-Msg-Id": "2"})
    keeper = await jetstream(await bus.connect("budget_keeper")).pull_subscribe_bind("budget_keeper-events", subjects.EVENTS)
    await (await keeper.fetch(1))[0].ack_sync()
    await provision(js)
    assert (await js.stream_info(subjects.COMMANDS)).state.messages == 1
    assert (await js.consumer_info(subjects.EVENTS, "budget_keeper-events")).num_pending == 0


@pytest.mark.parametrize(
    "change",
    [{"retention": RetentionPolicy.LIMITS}, {"storage": StorageType.MEMORY}, {"subjects": ["halftone.other.>"]}],
    ids=lambda change: next(iter(change)),
)
async def test_what_would_lose_messages_is_refused_by_name(bus: Bus, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]) -> None:
    """The error names stream and setting, and nothing was changed."""
    js = await bus.provisioner()
    declared = tuple(stream.evolve(**change) if stream.name == subjects.COMMANDS else stream for stream in STREAMS)
    monkeypatch.setattr(provision_module, "STREAMS", declared)
    with pytest.raises(DestructiveChange, match=f"COMMANDS: {next(iter(change))}"):
        await provision(js)
    held = (await js.stream_info(subjects.COMMANDS)).config
    assert (held.retention, held.storage, held.subjects) == (RetentionPolicy.WORK_QUEUE, StorageType.FILE, [subjects.COMMANDS_ALL])


async def test_a_harmless_change_is_made(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger limit reaches a stream that is there, with its messages."""
    js = await bus.provisioner()
    declared = tuple(stream.evolve(max_msgs=200_000) if stream.name == subjects.COMMANDS else stream for stream in STREAMS)
    monkeypatch.setattr(provision_module, "STREAMS", declared)
    await provision(js)
    assert (await js.stream_info(subjects.COMMANDS)).config.max_msgs == 200_000


async def test_a_durable_that_is_there_keeps_its_settings(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cursor is worth more than a changed setting."""
    js = await bus.provisioner()
    changed = tuple(replace(durable, filters=("halftone.cmd.other.>",)) for durable in DURABLES if durable.name == "ingestor-run")
    monkeypatch.setattr(provision_module, "DURABLES", changed)
    await provision(js)
    assert (await js.consumer_info(subjects.COMMANDS, "ingestor-run")).config.filter_subject == "halftone.cmd.ingestor.run.*"


@pytest.mark.parametrize("stream", [subjects.EVENTS, subjects.AUDIT, subjects.DEAD])
async def test_history_cannot_be_deleted(bus: Bus, stream: str) -> None:
    """Not even by the provisioner: no message is removed, no stream emptied, and neither rule can be lifted."""
    js = await bus.provisioner()
    subject = next(str(s.subjects[0]) for s in STREAMS if s.name == stream and s.subjects).replace(">", "x.y.z")
    await js.publish(subject, b"1")
    with pytest.raises(APIError):
        await js.delete_msg(stream, 1)
    with pytest.raises(APIError):
        await js.purge_stream(stream)
    with pytest.raises(APIError):
        await js.update_stream((await js.stream_info(stream)).config.evolve(deny_delete=False, deny_purge=False))
    assert (await js.stream_info(stream)).state.messages == 1
