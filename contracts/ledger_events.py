"""Events of budgets: each row of a ledger is one, with what it came to."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from contracts.base import Event
from contracts.cost import LARGEST_DELTA, LARGEST_EPSILON, USUAL_TERMS, BudgetTerms, Cost, Room
from contracts.ids import AccountId, Code, JobId, ObjectId, PrincipalId, ProjectId


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
    terms: BudgetTerms = Field(default=USUAL_TERMS, description="what its costs are about")
    window_days: int | None = Field(default=None, ge=1, description="days after which the limit counts anew; absent: it is for ever")
    approval: Cost | None = Field(default=None, description="a charge above it waits for a second person; absent: none waits")
    reason: ObjectId | None = Field(default=None, description="why, in the words of who set it")


class BudgetRefreshed(LedgerEvent):
    """A refresh window has begun: what was spent before it does not count against the limit any more, and is spent all the same."""

    TYPE: ClassVar = "halftone.budget.refreshed.v1"
    VERB: ClassVar = "refreshed"
    before: Cost = Field(description="spent before this window")


class BudgetQuotaSet(LedgerEvent):
    """A person or a project has a limit of its own on the account, or another one."""

    TYPE: ClassVar = "halftone.budget.quota_set.v1"
    VERB: ClassVar = "quota_set"
    holder: PrincipalId | ProjectId
    quota: Cost
    epsilon: int = Field(gt=0, le=LARGEST_EPSILON, description="epsilon in 1e-9, as it was stated")
    delta: int = Field(gt=0, le=LARGEST_DELTA, description="delta in 1e-18, as it was stated; the conversion uses half")
    reason: ObjectId | None = None


class BudgetReleaseEntered(LedgerEvent):
    """Somebody said that raw figures were given to others, or used to choose a release: from here on nothing bounds the total."""

    TYPE: ClassVar = "halftone.budget.release_entered.v1"
    VERB: ClassVar = "release_entered"
    reason: ObjectId


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
    limits: tuple[Room, ...] = Field(default=(), description="what is left under each limit that applies")


class BudgetUnbounded(JobLedgerEvent):
    """Real data were given out without noise: nothing bounds what that tells, and no later certificate claims a total."""

    TYPE: ClassVar = "halftone.budget.unbounded.v1"
    VERB: ClassVar = "unbounded"
    reason: ObjectId | None = None


class BudgetHeld(JobLedgerEvent):
    """A reservation waits for a second person."""

    TYPE: ClassVar = "halftone.budget.held.v1"
    VERB: ClassVar = "held"


class BudgetApproved(JobLedgerEvent):
    """A second person let a reservation pass."""

    TYPE: ClassVar = "halftone.budget.approved.v1"
    VERB: ClassVar = "approved"
    reason: ObjectId | None = None


class BudgetDeclined(JobLedgerEvent):
    """A second person said no: the reservation is given back."""

    TYPE: ClassVar = "halftone.budget.declined.v1"
    VERB: ClassVar = "declined"
    reason: ObjectId | None = None


class BudgetThresholdReached(Event):
    """So much of a limit is spent."""

    TYPE: ClassVar = "halftone.budget.threshold_reached.v1"
    ENTITY: ClassVar = "budget"
    VERB: ClassVar = "threshold_reached"
    KEY: ClassVar = "account"
    account: AccountId
    entry: int = Field(ge=1, description="the ledger's row with which it was reached")
    percent: Literal[50, 80, 100]
    spent: Cost = Field(description="that counts against the limit")
    limit: Cost
