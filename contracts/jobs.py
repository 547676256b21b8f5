"""A job: one run of one kind. Its specification holds ids, codes and numbers, so that it may cross the bus and enter the log."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from contracts.base import Contract
from contracts.cost import LARGEST, LARGEST_DELTA, LARGEST_EPSILON, USUAL_TERMS, BudgetTerms, Cost, Room
from contracts.ids import AccountId, Code, DatasetId, JobId, MessageId, ObjectId


class Actor(StrEnum):
    """The independent processes, by the token they have on the bus."""

    INGESTOR = "ingestor"
    SYNTHESIZER = "synthesizer"
    EVALUATOR = "evaluator"
    BUDGET_KEEPER = "budget_keeper"
    AUDITOR = "auditor"


class JobKind(StrEnum):
    """What a job does."""

    NOOP = "noop"
    """Nothing, through every part that a real job passes: for measuring."""
    INGEST = "ingest"
    SYNTHESIZE = "synthesize"
    EVALUATE = "evaluate"
    SAMPLE = "sample"
    """More rows from a fitted model."""
    EXPORT = "export"
    """A stored table as a file of another format."""


EXECUTOR: dict[JobKind, Actor] = {
    JobKind.NOOP: Actor.SYNTHESIZER,
    JobKind.INGEST: Actor.INGESTOR,
    JobKind.SYNTHESIZE: Actor.SYNTHESIZER,
    JobKind.EVALUATE: Actor.EVALUATOR,
    JobKind.SAMPLE: Actor.SYNTHESIZER,
    JobKind.EXPORT: Actor.INGESTOR,
}
"""Who runs a kind, and so alone decides how a job of it ends."""


class JobState(StrEnum):
    """Where a job stands: accepted, (reserved), queued, running, then one of four ends."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.REFUSED})


class TableRef(Contract):
    """One immutable version of a dataset, and the object that holds its rows."""

    dataset: DatasetId
    version: int = Field(ge=1)
    table: ObjectId


class TableFormat(StrEnum):
    """What a table can be had as."""

    PARQUET = "parquet"
    """As it is stored."""
    CSV = "csv"
    JSONL = "jsonl"
    XLSX = "xlsx"


class NoopSpec(Contract):
    """Do nothing."""

    kind: Literal[JobKind.NOOP] = JobKind.NOOP


class Fetch(StrEnum):
    """Where an ingest gets rows that nobody sent."""

    SQL = "sql"
    """A query's result, from one of the databases that the settings name."""
    STORE = "store"
    """A file, from one of the object stores that the settings name."""


class IngestSpec(Contract):
    """Read a file or a query's result, infer its types, store it as a version of a dataset."""

    kind: Literal[JobKind.INGEST] = JobKind.INGEST
    dataset: DatasetId
    version: int = Field(ge=1)
    source: ObjectId = Field(description="the uploaded file; what is to be fetched; or the stored table when only the profile is made anew")
    fetch: Fetch | None = Field(default=None, description="the source says what is to be fetched, and from where; absent: it is a file")
    stored: bool = Field(default=False, description="the source is a table already stored: profile it against the schema, store nothing")
    declared: ObjectId | None = Field(default=None, description="the declared schema to count departures from")
    options: ObjectId | None = Field(default=None, description="how the file is to be read, where its sender said so")
    account: AccountId = Field(description="the budget account that the dataset is registered with, until its content is known")


class SynthesizeSpec(Contract):
    """Fit an engine to a real table and draw a synthetic one."""

    kind: Literal[JobKind.SYNTHESIZE] = JobKind.SYNTHESIZE
    source: TableRef
    declared: ObjectId = Field(description="the attested schema")
    engine: Code
    rows: int | None = Field(default=None, ge=1, le=1_000_000_000, description="rows to draw; absent: a noisy count of the real ones")
    epsilon: int = Field(gt=0, le=LARGEST_EPSILON, description="epsilon in 1e-9")
    delta: int = Field(gt=0, le=LARGEST_DELTA, description="delta in 1e-18, the conversion's share included")
    seed: int | None = Field(default=None, ge=0, le=LARGEST, description="seed of the drawing; noise is never seeded")
    target: DatasetId = Field(description="the synthetic dataset to be made")
    account: AccountId
    terms: BudgetTerms = Field(default=USUAL_TERMS, description="what the account's costs were about when the job was asked for")
    unit_column: int | None = Field(default=None, ge=0, description="place in the attested schema of the column that names a row's user")


class EvaluateSpec(Contract):
    """Measure a synthetic table against a real one. Reads raw rows: its figures are for curators."""

    kind: Literal[JobKind.EVALUATE] = JobKind.EVALUATE
    real: TableRef
    synthetic: TableRef
    declared: ObjectId | None = None
    seed: int = Field(default=0, ge=0, le=LARGEST)
    account: AccountId


class SampleSpec(Contract):
    """Draw a synthetic table from a model that was fitted before: post-processing, which costs nothing however often it is done."""

    kind: Literal[JobKind.SAMPLE] = JobKind.SAMPLE
    model: ObjectId = Field(description="the fitted model")
    source: JobId = Field(description="the job that fitted it")
    declared: ObjectId = Field(description="the attested schema under which it was fitted")
    certificate: ObjectId | None = Field(default=None, description="certificate of what was drawn from the model at first")
    engine: Code
    rows: int | None = Field(default=None, ge=1, le=1_000_000_000, description="rows to draw; absent: the noisy count of the real ones")
    seed: int = Field(ge=0, le=LARGEST, description="seed of the drawing: the same one gives the same rows")
    target: DatasetId = Field(description="the synthetic dataset to be made")
    account: AccountId


class ExportSpec(Contract):
    """Write a stored table as a file that others can open."""

    kind: Literal[JobKind.EXPORT] = JobKind.EXPORT
    source: TableRef
    format: TableFormat
    account: AccountId | None = Field(
        default=None, description="of a real table, whose raw rows are given out and that enters it; absent for a synthetic one"
    )
    reason: ObjectId | None = Field(default=None, description="why raw rows are given to others: then it is a release that nothing bounds")


JobSpec = Annotated[
    NoopSpec | IngestSpec | SynthesizeSpec | EvaluateSpec | SampleSpec | ExportSpec,
    Field(discriminator="kind"),
]


class Use(StrEnum):
    """How a job touches real data, in the budget's eyes."""

    CHARGE = "charge"
    """Through noise, at a cost."""
    OBSERVE = "observe"
    """Raw, for a holder of the raw right: no cost, but named in every later certificate."""
    RELEASE = "release"
    """Without noise, to others: nothing bounds it, and no later certificate claims a total."""


class Grant(Contract):
    """The keeper's word that a step may use real data, once."""

    account: AccountId
    step: Code
    use: Use
    cost: Cost
    attempt: int = Field(default=1, ge=1, description="which run of the mechanism this pays for")
    entry: int = Field(ge=1, description="position of the reservation in the account's ledger")
    charge: MessageId | None = Field(default=None, description="id that the event of the charge will have")
    observed: int = Field(default=0, ge=0, description="entries of raw figures that the ledger held by then")
    unbounded: int = Field(default=0, ge=0, description="entries of releases without noise that the ledger held by then")


class Refusal(Contract):
    """Why the keeper said no, in numbers a person can act on."""

    account: AccountId
    code: Code
    asked: Cost
    left: Cost = Field(description="what would still have fit")
    limits: tuple[Room, ...] = Field(default=(), description="what is left under each limit that applies")


class StepRun(Contract):
    """One run of a step's mechanism: what a reservation pays for."""

    step: Code
    attempt: int = Field(default=1, ge=1)


class Output(Contract):
    """An artifact of a job."""

    role: Code = Field(description="what it is to the job: table, report, model, profile, schema, log, export")
    object: ObjectId
