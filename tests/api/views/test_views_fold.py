"""Events become rows, and the same rows however they come."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, delete, select
from sqlalchemy.exc import IntegrityError

import contracts
from api.views.fold import FOLDS, Rows, fold
from api.views.projector import Fold
from api.views.queries import Views
from api.views.tables import FOLDED, view_tables
from contracts import subjects
from contracts.base import Event, Message
from contracts.envelope import Context, Envelope
from contracts.events import (
    EVENTS,
    BudgetReserved,
    BudgetThresholdReached,
    JobAccepted,
    JobCancelled,
    JobCompleted,
    JobStarted,
    MechanismStarted,
    SchemaAttested,
    TokenIssued,
    TokenRevoked,
)
from contracts.ids import new_id
from contracts.jobs import JobState, NoopSpec
from contracts.recorded import KeyRotated, PayloadErased, RequestRecorded, SettingsChanged
from contracts.records import AuditAppended, CheckpointSigned, DeadLetter
from infra.bus.tail import Stored

GOLDEN = sorted((Path(contracts.__file__).parent / "golden").glob("*.json"))
LOGGED = {TokenIssued, TokenRevoked, RequestRecorded, SettingsChanged, KeyRotated, PayloadErased}
"""The edge's own table is the truth about these: they are in the log, and no view."""
FOLLOWED = {kind.TYPE for kind in (*EVENTS, AuditAppended, CheckpointSigned, DeadLetter) if kind not in {*LOGGED, BudgetThresholdReached}}
METADATA = view_tables()
FOLDING = {stream: Fold(METADATA.tables, stream) for stream in FOLDED}


@pytest.fixture(scope="module")
def memory() -> Iterator[Connection]:
    """A database in memory, for the whole module."""
    engine = create_engine("sqlite://")
    METADATA.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def database(memory: Connection) -> Connection:
    """The database, empty."""
    return emptied(memory)


def emptied(connection: Connection) -> Connection:
    for table in METADATA.tables.values():
        connection.execute(delete(table))
    return connection


def apply(connection: Connection, stream: str, messages: Sequence[Stored]) -> None:
    if messages:
        FOLDING[stream].apply(messages, connection)


def everything(connection: Connection) -> dict[str, list[Any]]:
    """All rows of all tables, but for the positions."""
    names = itertools.chain.from_iterable(FOLDED.values())
    return {name: sorted(map(tuple, connection.execute(select(METADATA.tables[name]))), key=repr) for name in names}


@pytest.fixture(scope="module")
def expected(memory: Connection, full_story: Any) -> dict[str, list[Any]]:
    """The rows of the whole story, folded in one batch of each stream."""
    emptied(memory)
    for stream, held in full_story.messages.items():
        apply(memory, stream, held)
    return everything(memory)


def filled(kind: type[Message]) -> set[str]:
    """Tables of which a message fills one at least."""
    if not issubclass(kind, Event):
        return {{AuditAppended: "audit_entries", DeadLetter: "dead_letters"}.get(kind, "checkpoints")}
    by_entity = {
        "job": {"jobs"},
        "mechanism": {"job_events"},
        "dataset": {"datasets", "versions", "deletions"},
        "budget": {"ledger"},
        "letter": {"letter_ends"},
        "bus": {"repairs"},
    }
    return by_entity[kind.ENTITY]


def test_each_event_is_folded_or_told_in_its_jobs_story_alone() -> None:
    """A new type cannot be forgotten here: only starts of mechanisms and thresholds have no fold, and what the log alone tells of."""
    assert set(EVENTS) - set(FOLDS) == {MechanismStarted, BudgetThresholdReached, *LOGGED}


@pytest.mark.parametrize("path", [p for p in GOLDEN if json.loads(p.read_bytes())["type"] in FOLLOWED], ids=lambda p: p.stem)
def test_every_golden_message_makes_rows(database: Connection, path: Path) -> None:
    """What any version wrote is folded, and merged into the tables of its kind."""
    envelope = Envelope.load(path.read_bytes())
    apply(database, subjects.stream_of(envelope.subject), [Stored(7, envelope.id, path.read_bytes())])
    assert filled(type(envelope.message)) & {name for name, rows in everything(database).items() if rows}


def test_the_story_fills_every_table(expected: dict[str, list[Any]]) -> None:
    """No table escapes the next test's comparison by being empty."""
    assert [name for name, rows in expected.items() if not rows] == []


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_batches_may_be_cut_anywhere_and_come_again(
    memory: Connection, full_story: Any, expected: dict[str, list[Any]], data: st.DataObject
) -> None:
    """Any split into batches, with any part of what was folded told once more at any time, gives the rows of one single batch."""
    emptied(memory)
    for stream, held in full_story.messages.items():
        cuts = data.draw(st.lists(st.integers(0, len(held)), max_size=5).map(sorted), label=f"{stream} cut")
        for begin, end in itertools.pairwise([0, *cuts, len(held)]):
            apply(memory, stream, held[begin:end])
            again = data.draw(st.tuples(st.integers(0, end), st.integers(0, end)).map(sorted), label="told again")
            apply(memory, stream, held[slice(*again)])
    assert everything(memory) == expected


def test_a_message_stored_twice_is_one_event(database: Connection, full_story: Any, expected: dict[str, list[Any]]) -> None:
    """A broker that lost its tail is told again under the same ids, and the rows do not double."""
    held = full_story.messages[subjects.EVENTS]
    apply(emptied(database), subjects.EVENTS, [*held, *(Stored(len(held) + m.sequence, m.message_id, m.body) for m in held)])
    rows = everything(database)
    for name in ("job_events", "ledger", "artifacts", "datasets", "job_datasets"):
        assert rows[name] == expected[name]


def test_nothing_follows_an_end(database: Connection, story: Any) -> None:
    """Whatever comes after a job was cancelled, cancelled it stays."""
    job = new_id("job")
    story.tell(JobAccepted(job=job, spec=NoopSpec()), JobStarted(job=job, attempt=1), JobCancelled(job=job, attempt=1))
    story.tell(JobCompleted(job=job, attempt=2), JobStarted(job=job, attempt=3))
    apply(database, subjects.EVENTS, story.messages[subjects.EVENTS])
    row = database.execute(select(METADATA.tables["jobs"])).one()
    assert row.state == JobState.CANCELLED
    assert json.loads(row.outcome)["attempt"] == 1


def test_a_job_taken_up_again_began_when_it_first_was(database: Connection, story: Any) -> None:
    """A second attempt counts, and moves neither the job's beginning nor its place in the list."""
    job = new_id("job")
    story.tell(JobAccepted(job=job, spec=NoopSpec()), JobStarted(job=job, attempt=1), JobStarted(job=job, attempt=2))
    accepted, *starts = story.envelopes
    for envelope, second in zip((*starts, accepted), (1, 2, 3), strict=True):
        story.add(envelope.model_copy(update={"time": f"2030-01-01T00:00:0{second}.000Z"}))
    held = story.messages[subjects.EVENTS]
    apply(database, subjects.EVENTS, [held[0], *held[3:]])
    row = database.execute(select(METADATA.tables["jobs"])).one()
    assert (row.attempt, row.accepted, row.created, row.started) == (2, 1, accepted.time, "2030-01-01T00:00:01.000Z")


def test_the_last_attestation_counts(database: Connection, story: Any) -> None:
    """Another schema takes the place of the first, and the first, told again, does not come back."""
    dataset, schemas = new_id("ds"), [new_id("obj") for _ in range(2)]
    story.tell(*(SchemaAttested(dataset=dataset, version=1, declared=schema) for schema in schemas))
    first, second = story.messages[subjects.EVENTS]
    for message in (first, second, first):
        apply(database, subjects.EVENTS, [message])
    row = database.execute(select(METADATA.tables["versions"])).one()
    assert (row.declared, row.declared_at) == (schemas[1], 2)


@pytest.mark.parametrize("late", range(3))
def test_acceptance_may_be_stored_after_what_it_caused(database: Connection, story: Any, late: int) -> None:
    """Commands and events travel apart: a job may have started before its acceptance is on the stream."""
    job = new_id("job")
    life = [JobStarted(job=job, attempt=1), JobCompleted(job=job, attempt=1)]
    story.tell(*life[:late], JobAccepted(job=job, spec=NoopSpec()), *life[late:])
    for message in story.messages[subjects.EVENTS]:
        apply(database, subjects.EVENTS, [message])
    row = database.execute(select(METADATA.tables["jobs"])).one()
    assert (row.state, row.kind, row.accepted) == (JobState.COMPLETED, "noop", late + 1)


def test_a_type_that_nobody_knows_stays_in_its_jobs_story() -> None:
    """A later version's event is shown as it came, and changes no state."""
    job = new_id("job")
    known = Envelope.wrap(JobStarted(job=job, attempt=1), Context.new(), source="/actors/test")
    later = known.model_copy(update={"type": "halftone.job.paused.v3", "subject": f"halftone.evt.job.{job}.paused", "data": {"until": 5}})
    rows: Rows = defaultdict(list)
    fold(rows, 9, later)
    told = {"sequence": 9, "job": job, "id": later.id, "type": "halftone.job.paused.v3", "time": later.time, "data": '{"until":5}'}
    assert rows == {"job_events": [told]}


def test_what_cannot_be_read_is_passed_over(database: Connection, story: Any) -> None:
    """Neither a body that is no envelope nor data that its type forbids holds up what follows."""
    story.tell(JobAccepted(job=new_id("job"), spec=NoopSpec()), BudgetReserved.model_construct(account="acc_x", job="j"))
    good, forbidden = story.messages[subjects.EVENTS]
    bodies = (b"\xff{", forbidden.body, good.body)
    apply(database, subjects.EVENTS, [Stored(n, "", body) for n, body in enumerate(bodies, 1)])
    assert database.execute(select(METADATA.tables["jobs"].c.accepted)).scalars().all() == [3]


async def test_rows_and_position_are_kept_together_or_not_at_all(views: Views, full_story: Any) -> None:
    """Where the position cannot be written there are no rows; where it can, there are both."""
    *held, last = full_story.messages[subjects.EVENTS]
    unplaced: Any = Stored(last.sequence, None, last.body)  # type: ignore[arg-type]  # what no broker sends, and no table takes
    with pytest.raises(IntegrityError):
        await views.write(lambda tx: FOLDING[subjects.EVENTS].apply([*held, unplaced], tx.connection))
    assert await views.position(subjects.EVENTS) == (0, None)
    assert (await views.jobs()).items == ()
    await views.write(lambda tx: FOLDING[subjects.EVENTS].apply([*held, last], tx.connection))
    assert await views.position(subjects.EVENTS) == (last.sequence, last.message_id)
    assert len((await views.jobs()).items) == 7
