"""Events: past tense, many readers. What happened, in ids, codes and numbers, for ever."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from contracts.base import Event
from contracts.cost import LARGEST_DELTA, LARGEST_EPSILON, Cost
from contracts.ids import (
    AccountId,
    Code,
    DatasetId,
    JobId,
    MessageId,
    ObjectId,
    PrincipalId,
    TokenId,
)
from contracts.jobs import JobSpec, Output, StepRun
from contracts.recorded import KeyRotated, PayloadErased, RequestRecorded, SettingsChanged


class JobEvent(Event):
    """A step in the life of a job."""

    ENTITY: ClassVar = "job"
    KEY: ClassVar = "job"
    job: JobId


class JobAccepted(JobEvent):
    """The edge has promised the job: nothing short of losing the disk undoes that."""

    TYPE: ClassVar = "halftone.job.accepted.v1"
    VERB: ClassVar = "accepted"
    spec: JobSpec
    retry_of: JobId | None = None


class JobStarted(JobEvent):
    """The executor has taken the job up."""

    TYPE: ClassVar = "halftone.job.started.v1"
    VERB: ClassVar = "started"
    attempt: int = Field(ge=1)


class JobCompleted(JobEvent):
    """The job did what was asked; its outputs are stored."""

    TYPE: ClassVar = "halftone.job.completed.v1"
    VERB: ClassVar = "completed"
    attempt: int = Field(ge=1)
    outputs: tuple[Output, ...] = ()


class JobFailed(JobEvent):
    """The job could not be done; the cause is a code here and a sentence in the problem object."""

    TYPE: ClassVar = "halftone.job.failed.v1"
    VERB: ClassVar = "failed"
    attempt: int = Field(ge=0, description="0 if it had not started")
    code: Code
    problem: ObjectId | None = Field(default=None, description="problem document, for those with the right to the job")
    log: ObjectId | None = Field(default=None, description="the job's log with the traceback, for those with the right to raw data")
    never_started: tuple[StepRun, ...] = Field(default=(), description="what was reserved and never ran: the keeper gives it back")


class JobCancelled(JobEvent):
    """The job was ended because someone asked."""

    TYPE: ClassVar = "halftone.job.cancelled.v1"
    VERB: ClassVar = "cancelled"
    attempt: int = Field(ge=0, description="0 if it had not started")
    never_started: tuple[StepRun, ...] = ()


class JobRefused(JobEvent):
    """The budget cannot pay for the job; no real data was read."""

    TYPE: ClassVar = "halftone.job.refused.v1"
    VERB: ClassVar = "refused"
    code: Code
    account: AccountId
    asked: Cost
    left: Cost = Field(description="what would still have fit")


class MechanismStarted(Event):
    """Real data is about to be read for a step: from here on its cost is owed, whatever becomes of the job."""

    TYPE: ClassVar = "halftone.mechanism.started.v1"
    ENTITY: ClassVar = "mechanism"
    VERB: ClassVar = "started"
    KEY: ClassVar = "job"
    job: JobId
    step: Code
    attempt: int = Field(ge=1, description="counts the times the mechanism ran, each one charged")
    account: AccountId


class Origin(StrEnum):
    """Where a dataset's rows come from."""

    REAL = "real"
    SYNTHETIC = "synthetic"


class DatasetEvent(Event):
    """A step in the life of a dataset."""

    ENTITY: ClassVar = "dataset"
    KEY: ClassVar = "dataset"
    dataset: DatasetId


class DatasetRegistered(DatasetEvent):
    """A dataset has an id and a budget account; its rows are not there yet."""

    TYPE: ClassVar = "halftone.dataset.registered.v1"
    VERB: ClassVar = "registered"
    origin: Origin
    account: AccountId
    job: JobId = Field(description="the job that will bring its rows")
    parents: tuple[DatasetId, ...] = ()


class DatasetVersionAdded(DatasetEvent):
    """Rows are stored: an immutable version."""

    TYPE: ClassVar = "halftone.dataset.version_added.v1"
    VERB: ClassVar = "version_added"
    version: int = Field(ge=1)
    origin: Origin
    table: ObjectId
    proposal: ObjectId | None = Field(default=None, description="inferred schema, for those with the right to raw data")
    job: JobId
    account: AccountId | None = Field(
        default=None, description="the budget account that the content falls under, known once it was read; absent: the registered one"
    )


class DatasetProfiled(DatasetEvent):
    """What the rows of a version look like is written down, for those with the right to raw data."""

    TYPE: ClassVar = "halftone.dataset.profiled.v1"
    VERB: ClassVar = "profiled"
    version: int = Field(ge=1)
    profile: ObjectId
    job: JobId


class SchemaAttested(DatasetEvent):
    """A person says that a version's declared schema is public knowledge."""

    TYPE: ClassVar = "halftone.dataset.schema_attested.v1"
    VERB: ClassVar = "schema_attested"
    version: int = Field(ge=1)
    declared: ObjectId


class DatasetDeleted(DatasetEvent):
    """A dataset is no more: its objects are removed for good; its account, its ledger and what was spent stay."""

    TYPE: ClassVar = "halftone.dataset.deleted.v1"
    VERB: ClassVar = "deleted"
    reason: Code = Field(description="asked: someone deleted it; cascade: with what it was made from; retention: its time was over")
    cascade: bool = Field(default=False, description="whether what was made from it, datasets and models, went with it")


class TokenEvent(Event):
    """A step in the life of a token: by its id alone, which opens nothing."""

    ENTITY: ClassVar = "token"
    KEY: ClassVar = "token"
    token: TokenId


class TokenIssued(TokenEvent):
    """Someone may act under a role, as a principal of its own."""

    TYPE: ClassVar = "halftone.token.issued.v1"
    VERB: ClassVar = "issued"
    holder: PrincipalId = Field(description="who acts with it")
    role: Code = Field(description="what it may do: administrator, curator or reader")


class TokenRevoked(TokenEvent):
    """A token opens nothing any more."""

    TYPE: ClassVar = "halftone.token.revoked.v1"
    VERB: ClassVar = "revoked"


class LedgerEvent(Event):
    """One row of an account's ledger, with what it came to."""

    ENTITY: ClassVar = "budget"
    KEY: ClassVar = "account"
    account: AccountId
    entry: int = Field(ge=1, description="position in the account's ledger, from 1, without gaps")
    spent: Cost = Field(description="charged after this entry")
    reserved: Cost = Field(description="set aside after this entry")
    limit: Cost | None = Field(default=None, description="the account's limit at that moment; absent while none is set")


class BudgetLimited(LedgerEvent):
    """An account has a limit, or another one."""

    TYPE: ClassVar = "halftone.budget.limited.v1"
    VERB: ClassVar = "limited"
    epsilon: int = Field(gt=0, le=LARGEST_EPSILON, description="epsilon in 1e-9, as it was stated")
    delta: int = Field(gt=0, le=LARGEST_DELTA, description="delta in 1e-18, as it was stated; the conversion uses half")


class JobLedgerEvent(LedgerEvent):
    """A ledger row that a job caused."""

    job: JobId
    step: Code
    attempt: int = Field(default=1, ge=1, description="which run of the mechanism")
    cost: Cost = Field(description="rho in 1e-12, delta in 1e-18; rounded up")


class BudgetReserved(JobLedgerEvent):
    """A cost was set aside: nobody else can spend it."""

    TYPE: ClassVar = "halftone.budget.reserved.v1"
    VERB: ClassVar = "reserved"


class BudgetCharged(JobLedgerEvent):
    """Noise has been bought: the cost of one step was taken from an account, for good."""

    TYPE: ClassVar = "halftone.budget.charged.v1"
    VERB: ClassVar = "charged"


class BudgetReleased(JobLedgerEvent):
    """A reservation was given back: its mechanism never started."""

    TYPE: ClassVar = "halftone.budget.released.v1"
    VERB: ClassVar = "released"


class BudgetObserved(JobLedgerEvent):
    """Raw figures were made for a holder of the raw right: no cost, but no longer a secret of the data alone."""

    TYPE: ClassVar = "halftone.budget.observed.v1"
    VERB: ClassVar = "observed"


class BudgetRefused(JobLedgerEvent):
    """A cost did not fit under a limit: nothing was set aside."""

    TYPE: ClassVar = "halftone.budget.refused.v1"
    VERB: ClassVar = "refused"
    code: Code
    left: Cost


class Settlement(StrEnum):
    """What became of a dead letter."""

    REPLAYED = "replayed"
    """Its job was asked for again, as a new one."""
    DISCARDED = "discarded"


class LetterSettled(Event):
    """An operator has decided what becomes of a message that was given up."""

    TYPE: ClassVar = "halftone.letter.settled.v1"
    ENTITY: ClassVar = "letter"
    VERB: ClassVar = "settled"
    KEY: ClassVar = "letter"
    letter: MessageId
    how: Settlement
    job: JobId | None = Field(default=None, description="the new job, of a letter that was replayed")


class BusRepaired(Event):
    """A broker had lost messages that it had acknowledged; who had sent them sends them again, under the same ids."""

    TYPE: ClassVar = "halftone.bus.repaired.v1"
    ENTITY: ClassVar = "bus"
    VERB: ClassVar = "repaired"
    KEY: ClassVar = "part"
    part: str = Field(pattern=r"^[a-z_]{1,32}$", description="who had sent them: an actor, or the edge")
    stream: Code = Field(description="which stream had lost them, in small letters")
    messages: int = Field(ge=1, description="how many are sent again; of commands, some may have been done before they were lost")


EVENTS: tuple[type[Event], ...] = (
    JobAccepted,
    JobStarted,
    JobCompleted,
    JobFailed,
    JobCancelled,
    JobRefused,
    MechanismStarted,
    DatasetRegistered,
    DatasetVersionAdded,
    DatasetProfiled,
    SchemaAttested,
    DatasetDeleted,
    TokenIssued,
    TokenRevoked,
    LetterSettled,
    BusRepaired,
    RequestRecorded,
    SettingsChanged,
    KeyRotated,
    PayloadErased,
    BudgetLimited,
    BudgetReserved,
    BudgetCharged,
    BudgetReleased,
    BudgetObserved,
    BudgetRefused,
)
