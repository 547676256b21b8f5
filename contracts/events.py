"""Events: past tense, many readers. What happened, in ids, codes and numbers, for ever."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from contracts.base import Contract, Event
from contracts.cost import LARGEST, Cost, Room
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
from contracts.ledger_events import (
    BudgetApproved,
    BudgetCharged,
    BudgetDeclined,
    BudgetHeld,
    BudgetLimited,
    BudgetObserved,
    BudgetQuotaSet,
    BudgetRefreshed,
    BudgetRefused,
    BudgetReleased,
    BudgetReleaseEntered,
    BudgetReserved,
    BudgetThresholdReached,
    BudgetUnbounded,
    JobLedgerEvent,
    LedgerEvent,
)
from contracts.recorded import KeyRotated, PayloadErased, RequestRecorded, SettingsChanged

__all__ = [
    "BudgetApproved",
    "BudgetCharged",
    "BudgetDeclined",
    "BudgetHeld",
    "BudgetLimited",
    "BudgetObserved",
    "BudgetQuotaSet",
    "BudgetRefreshed",
    "BudgetRefused",
    "BudgetReleaseEntered",
    "BudgetReleased",
    "BudgetReserved",
    "BudgetThresholdReached",
    "BudgetUnbounded",
    "JobLedgerEvent",
    "LedgerEvent",
]
"""What is defined beside, and had from here."""


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
    limits: tuple[Room, ...] = Field(default=(), description="what is left under each limit that applies")


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


class MechanismRuns(Contract):
    """Mechanisms that are alike: what they are, and how much noise they added."""

    kind: Code = Field(description="what they are, such as discrete_gaussian")
    count: int = Field(ge=1, description="how many there were")
    cells: int = Field(ge=0, description="numbers that they gave out, together")
    sensitivity: float = Field(ge=0, allow_inf_nan=False, description="L2 distance that one unit can make, at most")
    scale: float = Field(gt=0, allow_inf_nan=False, description="parameter of the noise")
    rho: int = Field(ge=0, le=LARGEST, description="what each cost a unit, in 1e-12, rounded up")


class MechanismsRun(Event):
    """How the noise of a step was made: what its charge bought."""

    TYPE: ClassVar = "halftone.mechanism.run.v1"
    ENTITY: ClassVar = "mechanism"
    VERB: ClassVar = "run"
    KEY: ClassVar = "job"
    job: JobId
    step: Code
    attempt: int = Field(ge=1, description="which run of the step's mechanism")
    account: AccountId
    mechanisms: tuple[MechanismRuns, ...]


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
    MechanismsRun,
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
    BudgetRefreshed,
    BudgetQuotaSet,
    BudgetReleaseEntered,
    BudgetUnbounded,
    BudgetHeld,
    BudgetApproved,
    BudgetDeclined,
    BudgetThresholdReached,
)
