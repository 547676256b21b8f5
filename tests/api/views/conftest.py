"""Stories to fold: messages as their streams hold them, and an opened database to fold them into."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from api.views.projector import Fold
from api.views.queries import Views
from contracts import events as e
from contracts import subjects
from contracts.base import Message
from contracts.cost import Cost
from contracts.envelope import Context, Envelope
from contracts.ids import AccountId, DatasetId, JobId, new_id, new_message_id
from contracts.jobs import EvaluateSpec, IngestSpec, NoopSpec, Output, StepRun, SynthesizeSpec, TableRef
from contracts.records import AuditAppended, AuditEntry, CheckpointSigned, DeadLetter
from halftone.merkle import Checkpoint, MemoryNodes, canonical, generate_key, leaf_hash, root, sign_checkpoint
from infra.bus.tail import Stored

ACCOUNT: AccountId = "acc_" + "a" * 32
REAL: DatasetId = "ds_" + "1" * 32
SYNTHETIC: DatasetId = "ds_" + "2" * 32
BROKEN: DatasetId = "ds_" + "3" * 32
JOBS: dict[str, JobId] = {
    name: f"job_{n:032x}" for n, name in enumerate(("ingest", "bad ingest", "synthesize", "evaluate", "cancel", "refuse", "noop"), 1)
}
TABLE, DECLARED, FIRST_PROFILE, PROFILE, REPORT = (f"obj_{n:032x}" for n in range(1, 6))
COST, LIMIT = Cost(rho=20_000_000_000), Cost(rho=50_000_000_000, delta=5)


class Story:
    """Messages of both streams, in the order in which they were told."""

    def __init__(self) -> None:
        self.messages: dict[str, list[Stored]] = {subjects.EVENTS: [], subjects.AUDIT: [], subjects.DEAD: []}
        self.envelopes: list[Envelope] = []
        self.key = generate_key()
        self.nodes = MemoryNodes()
        self.context = Context.new()

    def tell(self, *messages: Message) -> None:
        """Tell events or records."""
        for message in messages:
            envelope = Envelope.wrap(message, self.context, source="/actors/test")
            if subjects.stream_of(envelope.subject) == subjects.EVENTS:
                self.envelopes.append(envelope)
            self.add(envelope)

    def add(self, envelope: Envelope) -> None:
        held = self.messages[subjects.stream_of(envelope.subject)]
        held.append(Stored(len(held) + 1, envelope.id, envelope.dump()))

    def log(self, count: int, *, signed: bool = True) -> None:
        """Append the next events to the audit log, and sign it."""
        begin = self.nodes.size
        leaves = [(e, e.model_dump(mode="json", exclude_none=True)) for e in self.envelopes[begin : begin + count]]
        entries = [
            AuditEntry(index=begin + n, event=envelope.id, leaf=leaf_hash(canonical(entry)).hex(), entry=entry)
            for n, (envelope, entry) in enumerate(leaves)
        ]
        self.nodes.append(bytes.fromhex(entry.leaf) for entry in entries)
        self.tell(AuditAppended(entries=tuple(entries)))
        if signed:
            size = self.nodes.size
            note = sign_checkpoint(Checkpoint("test/log", size, root(size, self.nodes.get)), self.key, "test/log")
            self.tell(CheckpointSigned(size=size, note=note))


MECHANISMS = e.MechanismRuns(kind="discrete_gaussian", count=3, cells=40, sensitivity=1.0, scale=58.5, rho=1000)


def cost_of(entry: int, spent: int = 0, reserved: int = 0, *, limited: bool = True) -> dict[str, object]:
    """What every ledger event says; sums in units of COST."""
    totals = {name: Cost(rho=n * COST.rho) for name, n in (("spent", spent), ("reserved", reserved))}
    return {"account": ACCOUNT, "entry": entry, "limit": LIMIT if limited else None, **totals}


def synthesis(job: JobId, target: DatasetId) -> e.JobAccepted:
    source = TableRef(dataset=REAL, version=1, table=TABLE)
    spec = SynthesizeSpec(source=source, declared=DECLARED, engine="marginal", epsilon=10**9, delta=10**9, target=target, account=ACCOUNT)
    return e.JobAccepted(job=job, spec=spec)


def _ingested(story: Story) -> None:
    job = JOBS["ingest"]
    spec = IngestSpec(dataset=REAL, version=1, source=new_id("obj"), account=ACCOUNT)
    story.tell(
        e.DatasetRegistered(dataset=REAL, origin=e.Origin.REAL, account=ACCOUNT, job=job),
        e.JobAccepted(job=job, spec=spec),
        e.JobStarted(job=job, attempt=1),
        e.DatasetVersionAdded(dataset=REAL, version=1, origin=e.Origin.REAL, table=TABLE, proposal=new_id("obj"), job=job),
        e.DatasetProfiled(dataset=REAL, version=1, profile=FIRST_PROFILE, job=job),
        e.JobCompleted(job=job, attempt=1, outputs=(Output(role="profile", object=FIRST_PROFILE),)),
        e.SchemaAttested(dataset=REAL, version=1, declared=DECLARED),
        e.DatasetProfiled(dataset=REAL, version=1, profile=PROFILE, job=job),
    )
    bad = JOBS["bad ingest"]
    story.tell(
        e.DatasetRegistered(dataset=BROKEN, origin=e.Origin.REAL, account=new_id("acc"), job=bad),
        e.JobAccepted(job=bad, spec=spec.model_copy(update={"dataset": BROKEN})),
        e.JobStarted(job=bad, attempt=1),
        e.JobFailed(job=bad, attempt=1, code="csv-ragged", problem=new_id("obj"), log=new_id("obj")),
    )


def _synthesized(story: Story) -> None:
    job, run = JOBS["synthesize"], {"job": JOBS["synthesize"], "step": "measure", "cost": COST}
    table = new_id("obj")
    story.tell(
        e.BudgetLimited(**cost_of(1), epsilon=3 * 10**9, delta=10**9),
        e.DatasetRegistered(dataset=SYNTHETIC, origin=e.Origin.SYNTHETIC, account=ACCOUNT, job=job, parents=(REAL,)),
        synthesis(job, SYNTHETIC),
        e.BudgetReserved(**cost_of(2, reserved=1), **run),
        e.JobStarted(job=job, attempt=1),
        e.MechanismStarted(job=job, step="measure", attempt=1, account=ACCOUNT),
        e.BudgetCharged(**cost_of(3, spent=1), **run),
        e.MechanismsRun(job=job, step="measure", attempt=1, account=ACCOUNT, mechanisms=(MECHANISMS,)),
        e.DatasetVersionAdded(dataset=SYNTHETIC, version=1, origin=e.Origin.SYNTHETIC, table=table, job=job),
        e.JobCompleted(job=job, attempt=1, outputs=(Output(role="table", object=table),)),
    )


def _ended_otherwise(story: Story) -> None:
    job, run = JOBS["cancel"], {"job": JOBS["cancel"], "step": "measure", "cost": COST}
    story.tell(
        synthesis(job, new_id("ds")),
        e.BudgetReserved(**cost_of(4, spent=1, reserved=1), **run),
        e.JobCancelled(job=job, attempt=0, never_started=(StepRun(step="measure"),)),
        e.BudgetReleased(**cost_of(5, spent=1), **run),
    )
    job, asked, left = JOBS["refuse"], Cost(rho=2 * COST.rho), Cost(rho=LIMIT.rho - COST.rho, delta=LIMIT.delta)
    run = {"job": job, "step": "measure", "cost": asked}
    story.tell(
        synthesis(job, new_id("ds")),
        e.BudgetRefused(**cost_of(6, spent=1), **run, code="budget-exhausted", left=left),
        e.JobRefused(job=job, code="budget-exhausted", account=ACCOUNT, asked=asked, left=left),
    )


def _evaluated(story: Story) -> None:
    job = JOBS["evaluate"]
    sides = {"real": TableRef(dataset=REAL, version=1, table=TABLE), "synthetic": TableRef(dataset=SYNTHETIC, version=1, table=TABLE)}
    story.tell(
        e.JobAccepted(job=job, spec=EvaluateSpec(**sides, account=ACCOUNT)),
        e.BudgetObserved(**cost_of(7, spent=1), job=job, step="observe", cost=Cost(rho=0)),
        e.JobStarted(job=job, attempt=1),
        e.JobCompleted(job=job, attempt=1, outputs=(Output(role="report", object=REPORT),)),
    )


def complete() -> Story:
    """Each type of event at least once, and jobs of each kind and end; the last one waits."""
    story = Story()
    _ingested(story)
    _synthesized(story)
    _ended_otherwise(story)
    _evaluated(story)
    story.tell(e.JobAccepted(job=JOBS["noop"], spec=NoopSpec()), e.DatasetDeleted(dataset=new_id("ds"), reason="asked"))
    letter = new_message_id()
    body = base64.b64encode(story.envelopes[0].dump()).decode()
    story.tell(DeadLetter(reason="handler-failed", attempts=5, stream_subject="halftone.evt.x", body=body))
    story.tell(e.LetterSettled(letter=letter, how=e.Settlement.DISCARDED))
    story.tell(e.BusRepaired(part="edge", stream="events", messages=3))
    for count in (1, 6, 2, 11):
        story.log(count)
    return story


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture(scope="session")
def full_story() -> Story:
    return complete()


@pytest.fixture
async def views(tmp_path: Path) -> AsyncIterator[Views]:
    """An empty database."""
    views = Views(f"sqlite:///{tmp_path / 'views.sqlite'}")
    await views.open()
    yield views
    await views.close()


async def tell(views: Views, messages: Mapping[str, list[Stored]]) -> None:
    """Fold each stream in one batch."""
    for stream, held in messages.items():
        if held:
            fold = Fold(views.tables, stream)
            await views.write(lambda tx, fold=fold, held=held: fold.apply(held, tx.connection))


@pytest.fixture
async def told(views: Views, full_story: Story) -> Views:
    """A database that knows the whole story."""
    await tell(views, full_story.messages)
    return views
