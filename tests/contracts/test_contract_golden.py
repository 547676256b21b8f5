"""Golden messages: what was once written is read for ever, to the same values."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from contracts import subjects
from contracts.base import Message
from contracts.envelope import MESSAGES, Envelope
from contracts.jobs import JobKind

LATER = "x_later"
"""The name, in golden messages and here, of a field that no version knows."""


def known(value: Any) -> Any:
    """The value without the fields that nobody knows."""
    if isinstance(value, dict):
        return {key: known(child) for key, child in value.items() if key != LATER}
    return [known(child) for child in value] if isinstance(value, list) else value


def kept(old: Any, new: Any) -> bool:
    """Whether all of the old is in the new, which may say more."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and kept(child, new[key]) for key, child in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(kept(*pair) for pair in zip(old, new, strict=True))
    return type(old) is type(new) and old == new


def with_unknown_field(node: Any) -> Iterator[Any]:
    """Copies of a message's data with one more field: one for each object of it, but for envelopes that it quotes."""
    if isinstance(node, dict):
        yield {**node, LATER: "?"}
        for key, child in node.items():
            if key != "entry":
                yield from ({**node, key: changed} for changed in with_unknown_field(child))
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from ([*node[:number], changed, *node[number + 1 :]] for changed in with_unknown_field(child))


def test_a_golden_message_is_read_to_the_same_values(golden: bytes) -> None:
    """The envelope loads, its message is of the type it names, and each value that was written comes out again."""
    written = json.loads(golden)
    envelope = Envelope.load(golden)
    assert type(envelope.message) is MESSAGES[written["type"]]
    assert kept(known(written["data"]), envelope.message.model_dump(mode="json"))
    assert kept(known({**written, "data": {}}), json.loads(envelope.dump()))


def test_what_is_read_and_written_again_is_the_same_message(golden: bytes) -> None:
    """A second trip changes nothing: the message of what was dumped equals the message of what was read."""
    envelope = Envelope.load(golden)
    assert Envelope.load(envelope.dump()) == envelope
    assert Envelope.load(envelope.dump()).message == envelope.message


def test_a_golden_message_keeps_its_subject_and_stream(golden: bytes) -> None:
    """Today's code would publish it where it was published: subjects are part of what others rely on."""
    envelope = Envelope.load(golden)
    again = Envelope.wrap(envelope.message, envelope.context, source=envelope.source, message_id=envelope.id)
    assert (again.subject, again.dataschema) == (envelope.subject, envelope.dataschema)
    assert subjects.stream_of(again.subject) == subjects.stream_of(envelope.subject)


def test_a_reader_ignores_what_it_does_not_know(golden: bytes) -> None:
    """A field more, in the envelope or in any object of the data, changes nothing that is read."""
    envelope = Envelope.load(golden)
    document = json.loads(golden)
    assert Envelope.load(json.dumps({**document, LATER: [1]}).encode()) == envelope
    for data in with_unknown_field(document["data"]):
        assert Envelope.load(json.dumps({**document, "data": data}).encode()).message == envelope.message


def test_a_producer_refuses_what_it_does_not_know(golden: bytes) -> None:
    """The same fields, when a message or an envelope is built, are an error: a misspelt field is never sent."""
    document = known(json.loads(golden))
    kind = MESSAGES[document["type"]]
    for data in with_unknown_field(document["data"]):
        with pytest.raises(ValidationError, match=LATER):
            kind.model_validate(data)
    with pytest.raises(ValidationError, match=LATER):
        Envelope.model_validate({**document, LATER: 1})


def test_a_reader_still_checks_what_it_knows(golden: bytes) -> None:
    """Tolerance is for unknown fields alone: a known one that is missing, or of another type, is refused."""
    document = json.loads(golden)
    kind = MESSAGES[document["type"]]
    for name, field in kind.model_fields.items():
        broken = copy.deepcopy(document["data"])
        broken[name] = {"neither": "here nor there"}
        with pytest.raises(ValidationError, match=name):
            kind.read(broken)
        if field.is_required():
            del broken[name]
            with pytest.raises(ValidationError, match=name):
                kind.read(broken)


@pytest.mark.parametrize("kind", MESSAGES.values(), ids=MESSAGES.keys())
def test_each_field_of_each_message_is_in_a_golden_one(kind: type[Message], goldens: dict[str, dict[str, Any]]) -> None:
    """A message without an example, or a field that no example fills, is not kept by these tests: add one."""
    examples = [golden["data"] for golden in goldens.values() if golden["type"] == kind.TYPE]
    assert examples
    filled = {name for data in examples for name, value in data.items() if value not in (None, [], "")}
    assert set(kind.model_fields) <= filled


def test_each_kind_of_job_is_in_a_golden_message(goldens: dict[str, dict[str, Any]]) -> None:
    """Specifications are read for ever as well."""
    kinds = {golden["data"]["spec"]["kind"] for golden in goldens.values() if golden["type"] == "halftone.job.accepted.v1"}
    assert kinds == set(JobKind)


def test_a_golden_message_is_named_after_its_type(goldens: dict[str, dict[str, Any]]) -> None:
    """``<type>.json`` or ``<type>.<case>.json``, with an id that no other one has."""
    for name, golden in goldens.items():
        assert name == golden["type"] or name.removeprefix(golden["type"] + ".").isalpha(), name
    assert len({golden["id"] for golden in goldens.values()}) == len(goldens)
