"""The AsyncAPI document: whole, true to the messages, and true to what the bus allows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from contracts.commands import COMMANDS
from contracts.envelope import MESSAGES, Envelope
from contracts.events import EVENTS
from contracts.generate import PROGRESS, asyncapi
from contracts.jobs import Actor
from contracts.records import Progress
from infra.bus.topology import DURABLES, PUBLISH, STREAMS, SUBSCRIBE

DOCUMENT = asyncapi()
OPERATIONS = DOCUMENT["operations"]
USERS = {"edge", "subscriber", "audit_reader", *Actor}


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def at(reference: str) -> Any:
    """What a reference within the document points to."""
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def fits(message: str, instance: Any) -> bool:
    """Whether the payload of a message of the document allows a value."""
    schema = {"$ref": f"#/components/messages/{message}/payload", "components": DOCUMENT["components"]}
    return bool(jsonschema.Draft7Validator(schema).is_valid(instance))


def covers(wildcard: str, pattern: str) -> bool:
    """Whether a NATS wildcard matches all that another one matches."""
    have, want = wildcard.split("."), pattern.split(".")
    if have[-1] == ">":
        return len(want) >= len(have) and covers(".".join(have[:-1]), ".".join(want[: len(have) - 1]))
    return len(have) == len(want) and all(a in ("*", b) and b != ">" for a, b in zip(have, want, strict=True))


def wildcard_of(operation: dict[str, Any], field: str = "address") -> str | None:
    address = at(operation["channel"]["$ref"]).get(field)
    return address and re.sub(r"\{\w+\}", "*", address)


def by(action: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for operation in OPERATIONS.values():
        if operation["action"] == action:
            yield operation["tags"][0]["name"], operation


def test_every_reference_leads_somewhere() -> None:
    """The document is whole by itself."""
    references = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}
    assert len(references) > 100
    for reference in references:
        assert at(reference)


def test_every_message_is_on_a_channel_with_its_own_type() -> None:
    """Nothing is declared that cannot travel, nothing travels that is not declared; an operation's message is its channel's."""
    travelling = {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]}
    assert travelling == set(DOCUMENT["components"]["messages"]) >= set(MESSAGES)
    for operation in OPERATIONS.values():
        assert [at(message["$ref"]) for message in operation["messages"]] == list(at(operation["channel"]["$ref"])["messages"].values())


def test_every_parameter_of_an_address_is_explained() -> None:
    """And none is explained that the address does not have."""
    for channel in DOCUMENT["channels"].values():
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == set(channel["parameters"])


def test_a_golden_message_fits_its_payload_and_an_address(golden: bytes) -> None:
    """What is really sent is what the document says, also when a later release has added fields; with other data it is not."""
    document = json.loads(golden)
    assert fits(document["type"], document)
    assert not fits(document["type"], {**document, "data": {}})
    assert not fits(document["type"], {**document, "type": "halftone.job.unheard_of.v1"})
    channels = [channel for channel in DOCUMENT["channels"].values() if document["type"] in channel["messages"]]
    found = [
        channel for channel in channels if re.fullmatch(re.sub(r"\\{\w+\\}", "[^.]+", re.escape(channel["address"])), document["subject"])
    ]
    assert [channel["x-halftone-stream"] for channel in found] == [kept_in(document["subject"])]


def kept_in(subject: str) -> str:
    (name,) = (stream.name for stream in STREAMS if covers((stream.subjects or [""])[0], subject))
    return str(name)


def test_progress_travels_without_an_envelope() -> None:
    """Its payload is the plain model."""
    progress = Progress(job="job_" + "0" * 32, attempt=1, step="fit", fraction=0.5).model_dump(mode="json")
    assert fits(PROGRESS, progress)
    assert not fits(PROGRESS, {**progress, "fraction": 2})


def test_a_payload_lacks_no_attribute_that_the_envelope_requires(goldens: dict[str, dict[str, Any]]) -> None:
    """Take one away, and it does not fit; only a trace and an address may be absent, and what never varies."""
    golden = goldens["halftone.request.recorded.v1"]
    optional = {name for name in golden if fits(golden["type"], {key: value for key, value in golden.items() if key != name})}
    assert optional == {name for name, field in Envelope.model_fields.items() if not field.is_required()}
    assert optional == {"specversion", "datacontenttype", "traceparent", "clientaddress"}


def test_streams_are_those_of_the_bus() -> None:
    """Name, subjects, retention, and where stored messages are repeated."""
    declared = [
        (stream["name"], stream["subjects"], stream["retention"], stream.get("repeated-on")) for stream in DOCUMENT["x-halftone-streams"]
    ]
    assert declared == [
        (stream.name, stream.subjects, stream.retention and stream.retention.value, stream.republish and stream.republish.dest)
        for stream in STREAMS
    ]


def test_who_sends_may_publish() -> None:
    """Each sender of the document is a user of the bus with the right to that subject."""
    for user, operation in by("send"):
        assert any(covers(allowed, str(wildcard_of(operation))) for allowed in PUBLISH[user]), operation


def test_who_receives_has_a_durable_or_may_listen() -> None:
    """On the subject itself, or on the one where the broker repeats what it has stored."""
    for user, operation in by("receive"):
        heard = [
            *SUBSCRIBE.get(user, []),
            *(wildcard for durable in DURABLES if durable.user == user for wildcard in durable.filters),
        ]
        wanted = [wildcard_of(operation), wildcard_of(operation, "x-halftone-repeated-on")]
        assert any(covers(allowed, pattern) for allowed in heard for pattern in wanted if pattern), operation


@pytest.mark.parametrize("durable", DURABLES, ids=lambda durable: durable.name)
def test_what_a_durable_delivers_is_received(durable: Any) -> None:
    """No actor is sent what the document does not say it handles."""
    received = [str(wildcard_of(operation)) for user, operation in by("receive") if user == durable.user]
    for wildcard in durable.filters:
        assert any(covers(wildcard, pattern) or covers(pattern, wildcard) for pattern in received), wildcard


def test_a_command_has_one_handler_and_an_event_many_readers() -> None:
    """Per channel: one receiver of a command; of an event the edge, the auditor and subscribers at least."""
    for name, channel in DOCUMENT["channels"].items():
        readers = [user for user, operation in by("receive") if operation["channel"]["$ref"] == f"#/channels/{name}"]
        (message,) = channel["messages"]
        if message in {kind.TYPE for kind in COMMANDS}:
            assert len(readers) == 1, name
        if message in {kind.TYPE for kind in EVENTS}:
            assert {"edge", "auditor", "subscriber"} <= set(readers), name


def test_every_actor_of_the_document_is_one() -> None:
    """The edge, the actors and the subscriber, all of them, and nobody else."""
    assert {operation["tags"][0]["name"] for operation in OPERATIONS.values()} == USERS
