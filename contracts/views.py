"""Views: what HTTP answers with, folded from events. States, ids and numbers; times are RFC 3339 in UTC."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import Field

from contracts.base import Contract
from contracts.cost import BudgetTerms
from contracts.events import MechanismRuns, Origin, Settlement
from contracts.ids import AccountId, Code, DatasetId, JobId, MessageId, ObjectId, PrincipalId, ProjectId, TokenId
from contracts.jobs import JobKind, JobSpec, JobState
from contracts.problems import Problem

T = TypeVar("T")


class Page(Contract, Generic[T]):
    """Some of a longer list."""

    items: tuple[T, ...] = Field(description="in the order of the list")
    next: str | None = Field(default=None, description="give it as the cursor to get what follows; absent at the end")


class CostView(Contract):
    """A privacy cost, or a limit on it."""

    rho: int = Field(ge=0, description="zCDP rho in 1e-12")
    delta: int = Field(default=0, ge=0, description="delta in 1e-18 that mechanisms use, conversion not counted")
    pure: float = Field(default=0.0, ge=0, description="pure epsilon of the mechanisms; 0 where they are Gaussian, and have none")
    epsilon: float | None = Field(default=None, description="the epsilon that this rho means, rounded up; absent where no delta is stated")


class RoomView(Contract):
    """What one limit leaves."""

    scope: Code = Field(description="whose limit: dataset (the lineage's own), or a person's or project's quota besides it")
    left: CostView = Field(description="what it leaves")


class ProgressView(Contract):
    """How far a running job is."""

    attempt: int = Field(ge=1, description="which run of the job")
    step: Code = Field(description="what it is doing")
    fraction: float = Field(ge=0, le=1, description="of the whole job")
    left: float | None = Field(
        default=None, ge=0, description="seconds until it may be done, by its pace so far; absent: nothing can be said"
    )


class OutputView(Contract):
    """A file that a job made."""

    role: Code = Field(description="what it is to the job: table, report, model, profile, schema, export")
    artifact: ObjectId = Field(description="its id")
    href: str = Field(description="path to download it from")


class FailureView(Contract):
    """Why a job failed."""

    code: Code = Field(description="the kind of failure")
    problem: ObjectId | None = Field(default=None, description="object with the problem document")
    log: ObjectId | None = Field(default=None, description="object with the traceback, for those with the right to raw data")


class RefusalView(Contract):
    """Why the budget did not pay for a job."""

    account: AccountId = Field(description="the account that was asked")
    code: Code = Field(description="what did not fit")
    asked: CostView = Field(description="what the job would have cost")
    left: CostView = Field(description="what would still have fit")
    limits: tuple[RoomView, ...] = Field(default=(), description="what was left under each limit that applies")


class JobView(Contract):
    """One run of one kind."""

    id: JobId = Field(description="the job's id")
    kind: JobKind = Field(description="what it does")
    state: JobState = Field(description="where it stands; after completed, failed, cancelled or refused nothing changes")
    project: ProjectId = Field(description="the project it belongs to")
    principal: PrincipalId = Field(description="who asked for it")
    spec: JobSpec = Field(description="what was asked for")
    attempt: int = Field(ge=0, description="times it was taken up")
    progress: ProgressView | None = Field(default=None, description="how far it is, while it runs")
    outputs: tuple[OutputView, ...] = Field(default=(), description="what it made")
    failure: FailureView | None = Field(default=None, description="why it failed")
    problem: Problem | None = Field(default=None, description="the failure or refusal as a problem document")
    refusal: RefusalView | None = Field(default=None, description="why it was refused")
    approval: Code | None = Field(default=None, description="waiting for a second person, approved or declined; absent: none is needed")
    retry_of: JobId | None = Field(default=None, description="the job that this one tries again")
    sequence: int = Field(ge=1, description="of the last event that is in this view")
    created: str = Field(description="when it was accepted")
    started: str | None = Field(default=None, description="when it was first taken up")
    ended: str | None = Field(default=None, description="when it ended")
    links: dict[str, str] = Field(default_factory=dict, description="paths of what belongs to it")


class JobEventView(Contract):
    """One event in the life of a job."""

    sequence: int = Field(ge=1, description="its place among all events")
    id: MessageId = Field(description="the event's id")
    type: str = Field(description="the event's type, with its version")
    job: JobId = Field(description="whose event it is")
    time: str = Field(description="when it was made")
    data: dict[str, Any] = Field(description="what the event says")
    terminal: bool = Field(default=False, description="whether the job's story ends with it")


class DatasetState(StrEnum):
    """Where a dataset stands."""

    INGESTING = "ingesting"
    """Its rows are not there yet."""
    READY = "ready"
    """It has a version."""
    FAILED = "failed"
    """The job that was to bring its rows failed, or was refused."""
    CANCELLED = "cancelled"
    DELETED = "deleted"
    """Its rows are removed; its budget, and what was spent of it, stay."""


class DatasetVersionView(Contract):
    """Rows that never change, and what is known of them."""

    version: int = Field(ge=1, description="counts from 1")
    origin: Origin = Field(description="where the rows come from")
    table: ObjectId = Field(description="object that holds the rows")
    proposal: ObjectId | None = Field(default=None, description="object with the inferred schema, for those with the right to raw data")
    profile: ObjectId | None = Field(default=None, description="object with the profile, for those with the right to raw data")
    declared: ObjectId | None = Field(default=None, description="object with the attested schema; absent until somebody attests one")
    attested_by: PrincipalId | None = Field(default=None, description="who attested that the declared schema is public")
    attested: str | None = Field(default=None, description="when it was attested")
    job: JobId = Field(description="the job that brought the rows")
    added: str = Field(description="when the rows were stored")


class DatasetView(Contract):
    """A table, in versions."""

    id: DatasetId = Field(description="the dataset's id")
    name: str | None = Field(default=None, description="what its owner calls it")
    origin: Origin = Field(description="where its rows come from")
    state: DatasetState = Field(description="where it stands")
    account: AccountId = Field(description="the budget account of its lineage")
    job: JobId = Field(description="the job that brings its rows")
    parents: tuple[DatasetId, ...] = Field(default=(), description="what it was made from")
    versions: tuple[DatasetVersionView, ...] = Field(default=(), description="oldest first")
    project: ProjectId = Field(description="the project it belongs to")
    principal: PrincipalId = Field(description="who brought it, or had it made")
    failure: FailureView | None = Field(default=None, description="why its job failed or was refused")
    problem: Problem | None = Field(default=None, description="why there are no rows, as a problem document")
    created: str = Field(description="when it was registered")
    deleted: str | None = Field(default=None, description="when it was deleted")
    retention_days: int | None = Field(default=None, ge=1, description="days after which it is deleted; absent: it is kept")
    sequence: int = Field(ge=1, description="of the event that registered it")
    links: dict[str, str] = Field(default_factory=dict, description="paths of what belongs to it")


class TokenView(Contract):
    """A token that was given out: what it may do, and until when. Not the token itself, which is kept nowhere."""

    id: TokenId = Field(description="the token's id; it opens nothing")
    name: str = Field(description="what it is called")
    role: Code = Field(description="what it may do: administrator, curator or reader")
    holder: PrincipalId = Field(description="who acts with it, as jobs, events and the log name them")
    issued_by: PrincipalId = Field(description="who gave it out")
    created: str = Field(description="when it was given out")
    expires: str | None = Field(default=None, description="when it stops opening anything; absent: when it is revoked")
    revoked: str | None = Field(default=None, description="when it was revoked")


class ForecastView(Contract):
    """When a budget will be spent if it goes on like this."""

    rho_per_day: int = Field(ge=0, description="charged per day over the last 30 days, or since the first entry, in 1e-12")
    days_left: float | None = Field(default=None, description="days until nothing is left; absent where nothing is spent")


class QuotaView(Contract):
    """What a person or a project may spend of an account, besides its own limit."""

    holder: PrincipalId | ProjectId = Field(description="whose it is")
    epsilon: float = Field(description="the quota's epsilon, as it was stated")
    delta: float = Field(description="the quota's delta, as it was stated")
    limit: CostView = Field(description="what may be spent")
    spent: CostView = Field(description="what was charged in its name")


class ApprovalView(Contract):
    """A charge that waits for a second person."""

    job: JobId = Field(description="the job that waits")
    account: AccountId = Field(description="the account that would pay")
    entry: int = Field(ge=1, description="its row in the ledger")
    cost: CostView = Field(description="what is set aside for it")
    principal: PrincipalId = Field(description="who asked: anybody else who holds the right may decide")
    project: ProjectId = Field(description="the project it belongs to")
    time: str = Field(description="since when it waits")
    links: dict[str, str] = Field(default_factory=dict, description="paths of what belongs to it")


class BudgetView(Contract):
    """What an account's ledger comes to."""

    account: AccountId = Field(description="the account's id")
    entry: int = Field(ge=0, description="rows in its ledger")
    epsilon: float | None = Field(default=None, description="the limit's epsilon, as it was stated; absent while no limit is set")
    delta: float | None = Field(default=None, description="the limit's delta, as it was stated; the conversion uses half")
    limit: CostView | None = Field(default=None, description="what may be spent; absent while no limit is set, and then nothing is granted")
    spent: CostView = Field(description="charged, for good")
    reserved: CostView = Field(description="set aside for jobs that have not read data yet")
    left: CostView = Field(description="what still fits: the limit without what is spent and reserved")
    before: CostView | None = Field(default=None, description="spent before this refresh window: it counts no more, and is spent")
    terms: BudgetTerms | None = Field(default=None, description="composition, neighbours and unit; absent while no limit is set")
    unit_column: str | None = Field(default=None, description="column that names a row's user, where users are the unit")
    window_days: int | None = Field(default=None, description="days after which the limit counts anew; absent: it is for ever")
    approval: CostView | None = Field(default=None, description="a charge above it waits for a second person; absent: none waits")
    observed: int = Field(default=0, ge=0, description="entries of raw figures, shown to holders of the raw right")
    unbounded: int = Field(default=0, ge=0, description="entries of releases without noise: with any, nothing bounds the total")
    forecast: ForecastView | None = Field(default=None, description="when it will be spent, at the pace of the last 30 days")
    sequence: int = Field(ge=1, description="of the last event that is in this view")
    links: dict[str, str] = Field(default_factory=dict, description="paths of what belongs to it")


class LedgerEntryView(Contract):
    """One row of an account's ledger, with what it came to."""

    account: AccountId = Field(description="whose ledger")
    entry: int = Field(ge=1, description="position in the ledger, from 1, without gaps")
    kind: Code = Field(description="limited, reserved, charged, released, refused, observed, unbounded, held, approved, …")
    job: JobId | None = Field(default=None, description="the job that caused it")
    step: Code | None = Field(default=None, description="the job's step")
    attempt: int | None = Field(default=None, description="which run of the step's mechanism")
    cost: CostView | None = Field(default=None, description="what it was about; absent where a limit was set")
    spent: CostView = Field(description="charged after this entry")
    reserved: CostView = Field(description="set aside after this entry")
    limit: CostView | None = Field(default=None, description="the limit at that moment")
    epsilon: float | None = Field(default=None, description="epsilon as it was stated, where a limit was set")
    delta: float | None = Field(default=None, description="delta as it was stated, where a limit was set")
    code: Code | None = Field(default=None, description="why the cost was refused")
    left: CostView | None = Field(default=None, description="what would still have fit, where the cost was refused")
    principal: PrincipalId = Field(description="who asked")
    project: ProjectId | None = Field(default=None, description="for which project")
    reason: ObjectId | None = Field(default=None, description="object with why, where it was said")
    why: str | None = Field(default=None, description="why, in the words of who did it; absent where none were kept")
    holder: str | None = Field(default=None, description="whose quota was set")
    mechanisms: tuple[MechanismRuns, ...] = Field(default=(), description="how the noise of a charge was made, once it was")
    event: MessageId = Field(description="id of the event; it is a leaf of the audit log")
    index: int | None = Field(default=None, ge=0, description="its place in the audit log; absent while it is not there yet")
    sequence: int = Field(ge=1, description="the event's place among all events")
    time: str = Field(description="when it was entered")


class DeadLetterView(Contract):
    """A message that was given up, and what became of it."""

    id: MessageId = Field(description="the letter's id")
    reason: Code = Field(description="why it was given up")
    attempts: int = Field(ge=0, description="how often it was tried")
    subject: str = Field(description="the subject it came in on")
    source: str = Field(description="who gave it up")
    type: str | None = Field(default=None, description="of the message; absent where it cannot be read")
    job: JobId | None = Field(default=None, description="the job it is about, where it is about one")
    time: str = Field(description="when it was given up")
    settled: Settlement | None = Field(default=None, description="replayed or discarded; absent while nobody has decided")
    replayed_as: JobId | None = Field(default=None, description="the new job, of a letter that was replayed")
    message: dict[str, Any] | None = Field(default=None, description="the message itself; left out of lists, and where it cannot be read")
    body: str | None = Field(default=None, description="what cannot be read as a message, base64; left out of lists")


class ArtifactView(Contract):
    """Whose output an object is."""

    object: ObjectId = Field(description="the artifact's id")
    job: JobId = Field(description="the job that made it")
    role: Code = Field(description="what it is to the job")


class EvaluationView(Contract):
    """A synthetic dataset was measured against a real one."""

    job: JobId = Field(description="the job that measured")
    dataset: DatasetId = Field(description="the synthetic dataset")
    version: int = Field(ge=1, description="its version")
    real: DatasetId = Field(description="the real dataset")
    real_version: int = Field(ge=1, description="its version")
    report: ObjectId | None = Field(default=None, description="object with the report")
    outputs: tuple[OutputView, ...] = Field(default=(), description="everything the job made")
    project: ProjectId = Field(description="the project it belongs to")
    principal: PrincipalId = Field(description="who asked for it")
    ended: str = Field(description="when it was measured")


class ModelView(Contract):
    """One fitted engine: rows can be drawn from it again and again, at no cost."""

    id: ObjectId = Field(description="the model's id, which is that of the object that holds it")
    engine: Code = Field(description="what fitted it")
    dataset: DatasetId = Field(description="the real dataset that it was fitted to")
    version: int = Field(ge=1, description="the real dataset's version")
    synthetic: DatasetId = Field(description="the synthetic dataset that was drawn from it at first")
    job: JobId = Field(description="the job that fitted it")
    epsilon: float = Field(description="what it cost, as it was stated")
    delta: float = Field(description="the delta that goes with it")
    declared: ObjectId = Field(description="object with the attested schema under which it was fitted")
    kept: bool = Field(default=True, description="whether it is still there to be drawn from")
    account: AccountId = Field(description="the budget account that paid for it")
    project: ProjectId = Field(description="the project it belongs to")
    principal: PrincipalId = Field(description="who had it made")
    created: str = Field(description="when its job ended")
    links: dict[str, str] = Field(default_factory=dict, description="paths of what belongs to it")


class AuditEntryView(Contract):
    """One leaf of the audit log."""

    index: int = Field(ge=0, description="position in the log, from 0")
    event: MessageId = Field(description="id of the event that is the leaf")
    leaf: str = Field(description="RFC 9162 leaf hash of the entry's canonical JSON (RFC 8785), hex")
    entry: dict[str, Any] = Field(description="the event's envelope")


class CheckpointView(Contract):
    """What the log commits to at one size."""

    size: int = Field(ge=0, description="leaves")
    note: str = Field(description="C2SP signed note: origin, size, root and signature")
    time: str = Field(description="when it was signed")
