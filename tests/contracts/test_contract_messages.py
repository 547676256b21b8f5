"""Laws of every message there can be: it survives its envelope, and its subject is safe and in exactly one stream."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import subjects
from contracts.base import Event, Message
from contracts.commands import Command
from contracts.envelope import MESSAGES, Context, Envelope, UnknownMessage, subject_of
from contracts.events import EVENTS
from contracts.ids import new_id, new_message_id
from contracts.jobs import EXECUTOR, Actor
from contracts.records import DeadLetter
from infra.bus.topology import STREAMS

TOKEN = re.compile(r"[a-z0-9_-]+")
text = st.text(st.characters(codec="utf-8"), max_size=40)
scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | text
every_message = pytest.mark.parametrize("kind", MESSAGES.values(), ids=MESSAGES.keys())
few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def valid(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a model's JSON Schema allows."""
    match schema:
        case {"$ref": reference}:
            return valid(definitions[reference.rsplit("/", 1)[1]], definitions)
        case {"const": value}:
            return st.just(value)
        case {"enum": values}:
            return st.sampled_from(values)
        case {"anyOf": branches} | {"oneOf": branches}:
            return st.one_of(*(valid(branch, definitions) for branch in branches))
        case {"type": "object", "properties": fields}:
            return st.fixed_dictionaries({name: valid(field, definitions) for name, field in fields.items()})
        case {"type": "array", "items": item}:
            return st.lists(valid(item, definitions), min_size=schema.get("minItems", 0), max_size=3)
        case {"type": "integer"}:
            low = schema.get("minimum", schema.get("exclusiveMinimum", -(2**70)) + 1)
            return st.integers(low, schema.get("maximum", schema.get("exclusiveMaximum", 2**70) - 1))
        case {"type": "number"}:
            low = schema.get("minimum", schema.get("exclusiveMinimum"))
            return st.floats(low, allow_nan=False, allow_infinity=False, exclude_min="exclusiveMinimum" in schema)
        case {"type": "string"}:
            return st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else text
    return {"object": st.dictionaries(text, scalars, max_size=3), "boolean": st.booleans(), "null": st.none()}[schema["type"]]


def message_of(kind: type[Message]) -> st.SearchStrategy[Message]:
    schema = kind.model_json_schema()
    return valid(schema, schema.get("$defs", {})).map(kind.model_validate)


MESSAGE_OF = {kind: message_of(kind) for kind in MESSAGES.values()}


def matches(subject: str, wildcard: str) -> bool:
    """NATS's rule: ``*`` is one token, ``>`` is one or more at the end."""
    pattern = re.escape(wildcard).replace(r"\*", r"[^.]+").replace(">", ".+")
    return re.fullmatch(pattern, subject) is not None


@every_message
@few
@given(st.data())
def test_a_message_survives_its_envelope(kind: type[Message], data: st.DataObject) -> None:
    """Wrapped, dumped and loaded, it is the same message of the same type, with the same context."""
    message = data.draw(MESSAGE_OF[kind])
    context = Context.new(principal=new_id("prn"), project=new_id("prj"))
    wrapped = Envelope.wrap(message, context, source="/edge")
    loaded = Envelope.load(wrapped.dump())
    assert loaded == wrapped
    assert type(loaded.message) is kind
    assert loaded.message == message
    assert loaded.context == context


@every_message
@few
@given(st.data())
def test_a_subject_is_safe_and_in_exactly_one_stream(kind: type[Message], data: st.DataObject) -> None:
    """At most 16 tokens and 255 characters, nothing but safe ones; one stream stores it, the one that ``stream_of`` names.

    An event's matches the wildcard of its own class and of no other one, and names the entity that it is about.
    """
    message = data.draw(MESSAGE_OF[kind])
    subject = subject_of(message, new_message_id())
    tokens = subject.split(".")
    assert len(tokens) <= 16
    assert len(subject) < 256
    assert all(TOKEN.fullmatch(token) for token in tokens)
    keeping = [stream.name for stream in STREAMS if any(matches(subject, wildcard) for wildcard in stream.subjects or ())]
    assert keeping == [subjects.stream_of(subject)]
    if isinstance(message, Event):
        assert [other for other in EVENTS if matches(subject, subjects.events_of(other))] == [kind]
        assert tokens[3] == message.entity_id == getattr(message, type(message).KEY)


@every_message
def test_a_type_says_what_it_is_about_and_its_version(kind: type[Message]) -> None:
    """``halftone.<entity>.<what>.v<n>``; an event's is made of the same words as its subject."""
    assert re.fullmatch(r"halftone\.[a-z]+\.[a-z_]+\.v[1-9][0-9]*", kind.TYPE)
    if issubclass(kind, Event):
        assert kind.TYPE.startswith(f"halftone.{kind.ENTITY}.{kind.VERB}.v")


def test_a_retry_makes_the_same_messages() -> None:
    """What a handler makes of a message has the same id each time; each handler and each number has its own."""
    letter = DeadLetter(reason="unreadable", attempts=1, stream_subject="halftone.cmd.x", body="")
    cause = Envelope.wrap(letter, Context.new(), source="/edge")
    first = cause.caused(letter, source="/actors/auditor", handler="h", n=0)
    assert first.id == cause.caused(letter, source="/actors/auditor", handler="h", n=0).id
    others = {cause.caused(letter, source="/actors/auditor", handler=handler, n=n).id for handler, n in (("h", 1), ("g", 0))}
    assert len({cause.id, first.id, *others}) == 4
    assert first.causationid == cause.causationid == cause.id
    assert (first.context, first.correlationid) == (cause.context, cause.correlationid)


def test_a_traceparent_may_be_absent() -> None:
    """An envelope without one is dumped without the attribute, as CloudEvents asks, and read again."""
    letter = DeadLetter(reason="unreadable", attempts=1, stream_subject="halftone.cmd.x", body="")
    envelope = Envelope.wrap(letter, Context(correlation=new_message_id()), source="/edge")
    assert "traceparent" not in json.loads(envelope.dump())
    assert Envelope.load(envelope.dump()) == envelope


def test_the_time_of_an_envelope_is_now_in_utc() -> None:
    """RFC 3339 with milliseconds and a Z."""
    letter = DeadLetter(reason="unreadable", attempts=1, stream_subject="halftone.cmd.x", body="")
    before = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
    made = Envelope.wrap(letter, Context.new(), source="/edge").time
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made)
    assert before <= dt.datetime.fromisoformat(made) <= dt.datetime.now(dt.UTC)


def test_a_type_that_is_not_known_is_said_to_be_unknown(goldens: dict[str, dict[str, Any]]) -> None:
    """The envelope loads, so that it can be kept; its message cannot be had."""
    later = Envelope.load(json.dumps({**goldens["halftone.job.started.v1"], "type": "halftone.job.started.v2"}).encode())
    with pytest.raises(UnknownMessage, match=r"halftone\.job\.started\.v2"):
        _ = later.message


def test_a_base_class_has_no_subject() -> None:
    """Only what is declared in a module of messages can be sent."""
    for stranger in (Message(), Command(), Event()):
        with pytest.raises((TypeError, AttributeError)):
            Envelope.wrap(stranger, Context.new(), source="/edge")


@pytest.mark.parametrize(
    "subject", ["halftone.progress.job_1", "halftone.cancel.job_1", "halftone", "", "halftone.stored.evt.job.x.failed"]
)
def test_what_no_stream_stores_has_no_stream(subject: str) -> None:
    """Progress, cancel signals and the broker's repeats are core NATS."""
    with pytest.raises(ValueError, match="no stream stores"):
        subjects.stream_of(subject)


def test_a_job_is_read_off_its_subjects() -> None:
    """Building and parsing are inverse, and both subjects match their wildcard."""
    job = new_id("job")
    assert subjects.job_of(subjects.progress(job)) == job == subjects.job_of(subjects.cancel(job))
    assert matches(subjects.progress(job), subjects.PROGRESS_ALL)
    assert matches(subjects.cancel(job), subjects.CANCEL_ALL)


@pytest.mark.parametrize("actor", sorted(set(EXECUTOR.values())))
def test_the_two_durables_of_an_actor_share_no_command(actor: Actor) -> None:
    """A cancel never waits behind work: what takes a slot and what does not are disjoint, and no other actor gets either."""
    job, message = new_id("job"), new_message_id()
    sent = {subjects.run(actor, job): subjects.run_all, subjects.ctl(actor, "cancel", message): subjects.ctl_all}
    for subject, wildcard in sent.items():
        found = [each(other) for other in Actor for each in (subjects.run_all, subjects.ctl_all) if matches(subject, each(other))]
        assert found == [wildcard(actor)]


def test_a_stored_message_is_repeated_under_its_own_wildcard() -> None:
    """The repeat of a subject matches the repeat of its stream's wildcard, and neither matches the other's original."""
    subject = "halftone.evt.job.job_1.completed"
    assert matches(subjects.stored(subject), subjects.STORED_EVENTS_ALL)
    assert not matches(subjects.stored(subject), subjects.EVENTS_ALL)
    assert not matches(subject, subjects.STORED_EVENTS_ALL)
    assert subjects.stored(subjects.AUDIT_ALL) == subjects.STORED_AUDIT_ALL


def test_every_number_that_a_client_chooses_can_be_in_a_leaf_of_the_log() -> None:
    """RFC 8785 knows integers up to 2^53 - 1: an event with a larger one could never be passed by the auditor."""
    chosen = {"rho", "delta", "epsilon", "seed", "rows"}
    too_large = set()
    for kind in MESSAGES.values():
        schema = kind.model_json_schema()
        for owner in (schema, *schema.get("$defs", {}).values()):
            for name in chosen & owner.get("properties", {}).keys():
                field = owner["properties"][name]
                for node in field.get("anyOf", [field]):
                    largest = node.get("maximum", node.get("exclusiveMaximum", 2**64) - 1)
                    if node["type"] == "integer" and largest > 2**53 - 1:
                        too_large.add(f"{owner['title']}.{name}")
    assert too_large == set()
