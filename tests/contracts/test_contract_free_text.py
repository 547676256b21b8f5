"""No free text on the bus or in the log: ids, codes and numbers, but for what is listed here with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import Field, create_model

from contracts.base import Contract, Message
from contracts.envelope import MESSAGES, Envelope
from contracts.records import Progress, Vitals

FREE = {
    "AuditEntry.entry": "the envelope of an event, which is itself held to this rule",
    "CheckpointSigned.note": "a signed note: its own format, of the log's name, numbers and a signature",
    "KeyRotated.note": "a signed note: its own format, of keys, numbers and signatures",
    "DeadLetter.body": "what could not be read, in base64, for operators alone",
    "DeadLetter.stream_subject": "the subject it came in on, as it was",
}
FREE_IN_ENVELOPE = {
    "Envelope.data": "one of the messages, each of which is held to this rule",
}
NAME = "Jane Doe, 12 High Street"


def free(model: type[Contract]) -> Iterator[str]:
    """Fields that could hold any text, as Model.field."""
    schema = model.model_json_schema()
    for owner in (schema, *schema.get("$defs", {}).values()):
        for name, field in owner.get("properties", {}).items():
            if any(_open(node) for node in _nodes(field)):
                yield f"{owner['title']}.{name}"


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for keyword in ("items", "additionalProperties"):
            yield from _nodes(node.get(keyword))
        for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
            for child in node.get(keyword, ()):
                yield from _nodes(child)


def _open(node: dict[str, Any]) -> bool:
    """Whether the node itself takes a person's name and address."""
    if node.keys() & {"$ref", "anyOf", "oneOf", "allOf", "const", "enum", "format"}:
        return False
    match node.get("type"):
        case "string":
            return "pattern" not in node or re.search(node["pattern"], NAME) is not None
        case "object":
            return "properties" not in node
        case kind:
            return kind is None


@pytest.mark.parametrize("kind", [*MESSAGES.values(), Progress, Vitals], ids=lambda kind: kind.__name__)
def test_a_message_holds_no_free_text(kind: type[Contract]) -> None:
    """Each string has a pattern that no name fits, or a closed list of values, unless it is listed here."""
    assert set(free(kind)) <= FREE.keys()


def test_every_exception_is_one() -> None:
    """A field that was tightened, or is gone, leaves the lists."""
    assert {field for kind in MESSAGES.values() for field in free(kind)} == FREE.keys()
    assert set(free(Envelope)) == FREE_IN_ENVELOPE.keys()


@pytest.mark.parametrize(
    ("annotation", "field"),
    [
        (str, Field()),
        (str | None, Field(default=None)),
        (tuple[str, ...], Field(default=())),
        (dict[str, str], Field()),
        (dict[str, Any], Field()),
        (Any, Field()),
        (str, Field(pattern=r".*")),
        (str, Field(pattern=r"[a-z]+")),
        (str, Field(max_length=64)),
    ],
)
def test_free_text_is_seen_wherever_it_hides(annotation: Any, field: Any) -> None:
    """In lists, maps, options and under patterns that let anything through or are not anchored."""
    inner = create_model("Inner", __base__=Contract, note=(annotation, field))
    assert list(free(inner)) == ["Inner.note"]
    assert list(free(create_model("Outer", __base__=Message, inner=(tuple[inner, ...], ())))) == ["Inner.note"]  # type: ignore[valid-type]
