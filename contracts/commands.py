"""Commands: imperative, one handler each. Who sends one wants something done."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from contracts.base import Message
from contracts.cost import LARGEST_DELTA, LARGEST_EPSILON, USUAL_TERMS, BudgetTerms, Cost
from contracts.ids import AccountId, Code, JobId, ObjectId, PrincipalId, ProjectId
from contracts.jobs import Actor, Grant, JobSpec, Refusal, StepRun, Use


class Command(Message):
    """Something one actor is to do."""


class RunJob(Command):
    """Run a job, or end it as refused when the keeper said no, or as failed: its executor alone writes how it ends."""

    TYPE: ClassVar = "halftone.job.run.v1"
    job: JobId
    spec: JobSpec
    grant: Grant | None = None
    refusal: Refusal | None = None
    failed: Code | None = Field(default=None, description="why the job cannot be done, where that was found before it came to its executor")


class CancelJob(Command):
    """End a job wherever it stands. Asking twice, or too late, changes nothing."""

    TYPE: ClassVar = "halftone.job.cancel.v1"
    job: JobId
    executor: Literal[Actor.INGESTOR, Actor.SYNTHESIZER, Actor.EVALUATOR]
    reserved: tuple[StepRun, ...] = Field(default=(), description="what the budget keeper was asked to reserve for the job")


class ReserveBudget(Command):
    """Set a job's cost aside before any real data is read, and pass the job on with the grant or the refusal."""

    TYPE: ClassVar = "halftone.budget.reserve.v1"
    account: AccountId
    job: JobId
    step: Code
    use: Use
    cost: Cost
    attempt: int = Field(default=1, ge=1, description="which run of the mechanism this is to pay for")
    then: RunJob
    reason: ObjectId | None = Field(default=None, description="why it is done, where that must be said")


class SetBudget(Command):
    """Give an account its limit, or another one. A limit below what is spent refuses everything from then on."""

    TYPE: ClassVar = "halftone.budget.set_limit.v1"
    account: AccountId
    epsilon: int = Field(gt=0, le=LARGEST_EPSILON, description="epsilon in 1e-9")
    delta: int = Field(gt=0, le=LARGEST_DELTA, description="delta in 1e-18")
    terms: BudgetTerms = USUAL_TERMS
    window_days: int | None = Field(
        default=None, ge=1, le=36_500, description="days after which the limit counts anew; absent: it is for ever"
    )
    approval: Cost | None = Field(default=None, description="a charge above it waits for a second person; absent: none waits")
    reason: ObjectId | None = Field(default=None, description="why")


class ObserveBudget(Command):
    """Enter, at no cost, that raw figures of an account's data were shown to who asks: once per principal and kind of figures."""

    TYPE: ClassVar = "halftone.budget.observe.v1"
    account: AccountId
    job: JobId = Field(description="the job that read the figures off the rows")
    step: Code = Field(description="what was shown: a profile, a draft, a sample, ...")


class SetQuota(Command):
    """Give a person or a project a limit of its own on an account, besides the account's. It binds nobody who shares with others."""

    TYPE: ClassVar = "halftone.budget.set_quota.v1"
    account: AccountId
    holder: PrincipalId | ProjectId
    epsilon: int = Field(gt=0, le=LARGEST_EPSILON, description="epsilon in 1e-9")
    delta: int = Field(gt=0, le=LARGEST_DELTA, description="delta in 1e-18")
    reason: ObjectId


class DecideBudget(Command):
    """Let a charge that waits for a second person pass, or not. Whoever asked for it decides nothing."""

    TYPE: ClassVar = "halftone.budget.decide.v1"
    account: AccountId
    job: JobId
    approve: bool
    reason: ObjectId | None = None


class EnterRelease(Command):
    """Enter that figures of real data, shown without noise, were given to others or used to choose a release: nothing bounds that."""

    TYPE: ClassVar = "halftone.budget.enter_release.v1"
    account: AccountId
    reason: ObjectId


COMMANDS: tuple[type[Command], ...] = (
    RunJob,
    CancelJob,
    ReserveBudget,
    SetBudget,
    ObserveBudget,
    SetQuota,
    DecideBudget,
    EnterRelease,
)
