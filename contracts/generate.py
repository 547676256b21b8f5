"""Writes down what others may rely on: a JSON Schema for each message, and the AsyncAPI document of the bus.

``python -m contracts.generate`` writes them beside this file; with ``--check`` it writes nothing and fails where they differ. Both
refuse a change that breaks a version which is checked in: a new meaning is a new version. (One that was never released may be
changed: delete its schema first.)
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from contracts import events, recorded, subjects, views
from contracts.base import Event
from contracts.breaking import breaking
from contracts.commands import (
    CancelJob,
    Command,
    DecideBudget,
    EnterRelease,
    ObserveBudget,
    ReserveBudget,
    RunJob,
    SetBudget,
    SetQuota,
)
from contracts.envelope import CONTENT_TYPE, MESSAGES, Envelope
from contracts.events import EVENTS
from contracts.jobs import EXECUTOR, Actor
from contracts.records import AuditAppended, CheckpointSigned, DeadLetter, Progress, Vitals

FOLDER = Path(__file__).parent
EXCERPT = 16
"""Lines of a difference that are shown."""
ENVELOPE, PROGRESS, VITALS, SIGNAL = "halftone.envelope.v1", "halftone.progress.v1", "halftone.vitals.v1", "halftone.cancel.v1"
"""What is no message in an envelope: the envelope, a job's progress, how a process does, and the empty signal that ends a job at once."""
JsonObject = dict[str, Any]


# --- JSON Schemas ---


class _Untitled(GenerateJsonSchema):
    """A field's name needs no second spelling."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # the signature is pydantic's
        return False


def models() -> dict[str, type[BaseModel]]:
    """Everything that has a published schema, by the name it is published under."""
    shown = (kind for kind in vars(views).values() if isinstance(kind, type) and kind.__module__ == views.__name__)
    named = {f"halftone.view.{_snake(kind.__name__)}.v1": kind for kind in shown if issubclass(kind, BaseModel)}
    return {**MESSAGES, ENVELOPE: Envelope, PROGRESS: Progress, VITALS: Vitals, **named}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("View")).lower()


def schema(name: str, kind: type[BaseModel]) -> JsonObject:
    """What a reader may rely on, in JSON Schema 2020-12: later releases may add fields, so unknown ones are allowed."""
    body = kind.model_json_schema(schema_generator=_Untitled)
    _for_readers(body, body.get("$defs", {}))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:halftone:schema:{name}", **body}


def _for_readers(node: Any, definitions: JsonObject) -> None:
    """Allow unknown fields, and ask for the tag of a tagged union in plain JSON Schema instead of OpenAPI's ``discriminator``."""
    if isinstance(node, dict):
        if node.get("additionalProperties") is False:
            del node["additionalProperties"]
        if "mapping" in node.get("discriminator", ()):
            tag = node.pop("discriminator")
            for reference in tag["mapping"].values():
                member = definitions[_last(reference)]
                member["required"] = sorted({*member.get("required", ()), tag["propertyName"]})
    for child in list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else ():
        _for_readers(child, definitions)


def _last(reference: str) -> str:
    return reference.rsplit("/", 1)[1]


# --- AsyncAPI ---

EDGE, SUBSCRIBER, READER = "edge", "subscriber", "audit_reader"
EXECUTORS = tuple(sorted(set(EXECUTOR.values())))
_PAYING = (Actor.SYNTHESIZER, Actor.EVALUATOR)
_ENDS = (events.JobCompleted, events.JobFailed, events.JobCancelled, events.JobRefused)

SENDERS: dict[type[Event], tuple[str, ...]] = {
    events.JobAccepted: (EDGE,),
    **dict.fromkeys((events.JobStarted, *_ENDS), EXECUTORS),
    **dict.fromkeys((events.MechanismStarted, events.MechanismsRun), (Actor.SYNTHESIZER,)),
    events.DatasetRegistered: (EDGE,),
    events.DatasetVersionAdded: (Actor.INGESTOR, Actor.SYNTHESIZER),
    events.DatasetProfiled: (Actor.INGESTOR,),
    **dict.fromkeys((events.SchemaAttested, events.DatasetDeleted, events.TokenIssued, events.TokenRevoked, events.LetterSettled), (EDGE,)),
    events.BusRepaired: (EDGE, *Actor),
    **dict.fromkeys((recorded.RequestRecorded, recorded.SettingsChanged, recorded.PayloadErased), (EDGE,)),
    recorded.KeyRotated: (Actor.AUDITOR,),
    **{kind: (Actor.BUDGET_KEEPER,) for kind in EVENTS if kind.ENTITY == events.LedgerEvent.ENTITY},
}
"""Who makes an event."""
SETTLING = (events.MechanismStarted, *_ENDS)
"""What the budget keeper acts on."""
RETENTION = {
    subjects.COMMANDS: (subjects.COMMANDS_ALL, "workqueue"),
    subjects.EVENTS: (subjects.EVENTS_ALL, "limits"),
    subjects.AUDIT: (subjects.AUDIT_ALL, "limits"),
    subjects.DEAD: (subjects.DEAD_ALL, "limits"),
    subjects.TIMERS: (subjects.TIMERS_ALL, "limits"),
}
REPEATED = (subjects.EVENTS, subjects.AUDIT, subjects.DEAD)
"""Streams whose messages the broker publishes again, with their sequence, once they are stored."""


@dataclass(frozen=True)
class Channel:
    """A pattern of subjects: what travels on it, from whom, to whom."""

    address: str
    message: str
    senders: Sequence[str]
    receivers: Sequence[str]

    @property
    def name(self) -> str:
        return ".".join(token for token in self.address.split(".")[1:] if not token.startswith("{"))

    @property
    def stream(self) -> str | None:
        """The stream that keeps its messages, if one does."""
        try:
            return subjects.stream_of(self.address)
        except ValueError:
            return None

    def document(self) -> JsonObject:
        found = {"address": self.address, "messages": {self.message: {"$ref": f"#/components/messages/{self.message}"}}}
        found["parameters"] = {token: {"description": subjects.PARAMETERS[token]} for token in re.findall(r"\{(\w+)\}", self.address)}
        if self.stream is not None:
            found["x-halftone-stream"] = self.stream
        if self.stream in REPEATED:
            found["x-halftone-repeated-on"] = subjects.stored(self.address)
        return found

    def operations(self) -> Iterator[tuple[str, JsonObject]]:
        """One for each part that sends or receives here, by name."""
        for action, actors in (("send", self.senders), ("receive", self.receivers)):
            for actor in actors:
                channel = f"#/channels/{self.name}"
                messages = [{"$ref": f"{channel}/messages/{self.message}"}]
                document = {"action": action, "channel": {"$ref": channel}, "messages": messages, "tags": [{"name": str(actor)}]}
                yield f"{actor}.{action}.{self.name}", document


def channels() -> list[Channel]:
    """Every pattern of subjects on the bus."""
    return [*_of_commands(), *(_of_event(kind) for kind in EVENTS), *_of_records()]


def _of_commands() -> Iterator[Channel]:
    keeper = Actor.BUDGET_KEEPER
    for actor in EXECUTORS:
        yield Channel(subjects.run(actor, "{job}"), RunJob.TYPE, (EDGE, keeper), (actor,))
        yield Channel(subjects.ctl(actor, "cancel", "{message}"), CancelJob.TYPE, (EDGE,), (actor,))
    yield Channel(subjects.ctl(keeper, "reserve", "{message}"), ReserveBudget.TYPE, (EDGE, *_PAYING), (keeper,))
    orders: dict[str, type[Command]] = {
        "set_limit": SetBudget,
        "observe": ObserveBudget,
        "set_quota": SetQuota,
        "decide": DecideBudget,
        "enter_release": EnterRelease,
    }
    for verb, kind in orders.items():
        yield Channel(subjects.ctl(keeper, verb, "{message}"), kind.TYPE, (EDGE,), (keeper,))


def _of_event(kind: type[Event]) -> Channel:
    readers = (EDGE, Actor.AUDITOR, SUBSCRIBER, *((Actor.BUDGET_KEEPER,) if kind in SETTLING else ()))
    return Channel(subjects.events_of(kind).replace("*", f"{{{kind.KEY}}}"), kind.TYPE, SENDERS[kind], readers)


def _of_records() -> Iterator[Channel]:
    log = (Actor.AUDITOR,), (EDGE, READER)
    yield Channel(subjects.AUDIT_ALL.replace(">", "entries.{index}"), AuditAppended.TYPE, *log)
    yield Channel(subjects.AUDIT_ALL.replace(">", "checkpoint.{size}"), CheckpointSigned.TYPE, *log)
    yield Channel(subjects.DEAD_ALL.replace(">", "{message}"), DeadLetter.TYPE, (EDGE, *Actor), (EDGE,))
    yield Channel(subjects.progress("{job}"), PROGRESS, EXECUTORS, (EDGE,))
    yield Channel(subjects.cancel("{job}"), SIGNAL, EXECUTORS, EXECUTORS)
    for actor in Actor:
        yield Channel(subjects.vitals(actor), VITALS, (actor,), (EDGE,))


def asyncapi() -> JsonObject:
    """The bus in AsyncAPI 3.0: channels are patterns of subjects, tags of an operation name the actor."""
    kinds = [(kind, "validation") for kind in (*MESSAGES.values(), Envelope, Progress, Vitals)]
    _, shared = models_json_schema(kinds, ref_template="#/components/schemas/{model}", schema_generator=_Untitled)  # type: ignore[arg-type]
    _for_readers(shared["$defs"], shared["$defs"])
    every = channels()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Halftone",
            "version": "1.0.0",
            "description": "Commands, events and records on NATS. A message's version is the end of its type; a version only gains fields.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {channel.name: channel.document() for channel in every},
        "operations": dict(pair for channel in every for pair in channel.operations()),
        "components": {"messages": _messages(), "schemas": shared["$defs"]},
        "x-halftone-streams": [_stream(name, *kept) for name, kept in RETENTION.items()],
    }


def _stream(name: str, subject: str, retention: str) -> JsonObject:
    stream = {"name": name, "subjects": [subject], "retention": retention}
    return stream | ({"repeated-on": subjects.stored(subject)} if name in REPEATED else {})


def _messages() -> JsonObject:
    enveloped = {name: _message(name, kind) for name, kind in MESSAGES.items()}
    bare = {
        name: {"summary": _summary(kind), "contentType": "application/json", "payload": {"$ref": f"#/components/schemas/{kind.__name__}"}}
        for name, kind in ((PROGRESS, Progress), (VITALS, Vitals))
    }
    signal = {"summary": "End the job that the subject names, at once.", "contentType": "text/plain"}
    return {**enveloped, **bare, SIGNAL: {**signal, "payload": {"type": "string", "maxLength": 0}}}


def _message(name: str, kind: type[BaseModel]) -> JsonObject:
    data = {"$ref": f"#/components/schemas/{kind.__name__}"}
    headers = {"Nats-Msg-Id": {"type": "string", "description": "the envelope's id"}, "Content-Type": {"const": CONTENT_TYPE}}
    own = {"type": {"const": name}, "dataschema": {"const": f"urn:halftone:schema:{name}"}, "data": data}
    return {
        "title": kind.__name__,
        "summary": _summary(kind),
        "headers": {"type": "object", "properties": headers},
        "correlationId": {"location": "$message.payload#/correlationid"},
        "payload": {"allOf": [{"$ref": "#/components/schemas/Envelope"}, {"type": "object", "properties": own}]},
    }


def _summary(kind: type[BaseModel]) -> str:
    return inspect.getdoc(kind).split("\n")[0]  # type: ignore[union-attr]  # each model has one


# --- Files ---


def files() -> dict[str, str]:
    """Everything that is generated: path below this folder, and content. The same on every machine."""
    schemas = {f"schemas/{name}.json": schema(name, kind) for name, kind in models().items()}
    return {path: json.dumps(made, indent=2, sort_keys=True) + "\n" for path, made in {**schemas, "asyncapi.json": asyncapi()}.items()}


def refusals(generated: dict[str, str], folder: Path) -> list[str]:
    """Why the generated files may not replace those of the folder: a version was broken, or withdrawn."""
    found = []
    for path in sorted((folder / "schemas").glob("*.json")):
        name = f"schemas/{path.name}"
        if name not in generated:
            found.append(f"{name}: is stale: nothing has this schema any more, but a version is read for ever")
            continue
        found += [f"{name}: {reason}" for reason in breaking(json.loads(path.read_text("utf-8")), json.loads(generated[name]))]
    return found


def differences(generated: dict[str, str], folder: Path) -> list[str]:
    """An excerpt of the difference for each file that is not as generated."""
    found = []
    for name, text in sorted(generated.items()):
        path = folder / name
        kept = path.read_text("utf-8") if path.exists() else ""
        if kept != text:
            lines = difflib.unified_diff(kept.splitlines(), text.splitlines(), f"{name} (kept)", f"{name} (generated)", "", "", 2, "")
            found.append("\n".join([*lines][:EXCERPT]))
    return found


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Write the files, or compare them; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m contracts.generate", description="Write the schemas and the AsyncAPI document.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not as generated")
    check = parser.parse_args(arguments).check
    generated = files()
    wrong = refusals(generated, folder)
    if wrong:
        wrong.append("Give the new meaning a new version. If this one was never released, delete its schema and generate again.")
    if check:
        wrong += differences(generated, folder)
    sys.stderr.write("".join(f"{line}\n" for line in wrong))
    if not (check or wrong):
        (folder / "schemas").mkdir(exist_ok=True)
        for name, text in generated.items():
            (folder / name).write_text(text, "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
