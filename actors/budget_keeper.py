"""The budget keeper: the one place that decides whether real data may be used at all.

It reserves before data is read, charges when a mechanism starts, releases only what its executor says never started, and refuses
what does not fit. Each decision is a row of an append-only ledger and an event, in one transaction with the job's next command.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, MetaData, Row, Table, Text, UniqueConstraint, bindparam, select, update
from sqlalchemy.dialects.sqlite import insert

from contracts.commands import ObserveBudget, ReserveBudget, SetBudget
from contracts.cost import DELTA_SCALE, EPSILON_SCALE, NOTHING, Cost
from contracts.envelope import Envelope
from contracts.events import (
    BudgetCharged,
    BudgetLimited,
    BudgetObserved,
    BudgetRefused,
    BudgetReleased,
    BudgetReserved,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobRefused,
    LedgerEvent,
    MechanismStarted,
)
from contracts.ids import AccountId, Code, JobId
from contracts.jobs import Actor, Grant, Refusal, StepRun, Use
from halftone.privacy.conversion import budget_limit
from infra.bus.control import serve
from infra.bus.retries import Given, Hopeless, Verdict
from infra.bus.runs import Delivery, EventLoop
from infra.bus.topology import KEEPER_EVENTS, ctl_durable
from infra.database.prepared import Prepared
from infra.database.store import Transaction, now_ms
from infra.failpoints import around
from infra.runtime import running
from infra.settings import Settings

SOURCE = f"/actors/{Actor.BUDGET_KEEPER}"


def tables() -> MetaData:
    """The keeper's database: accounts with their totals, the append-only ledger, and jobs that have ended."""
    metadata = MetaData()
    Table(
        "accounts",
        metadata,
        Column("account", Text, primary_key=True),
        Column("entries", Integer, nullable=False, comment="rows in the ledger so far"),
        Column("limit_rho", BigInteger, comment="1e-12; null while no limit is set, and then nothing is granted"),
        Column("limit_delta", BigInteger, comment="1e-18"),
        Column("spent_rho", BigInteger, nullable=False),
        Column("spent_delta", BigInteger, nullable=False),
        Column("reserved_rho", BigInteger, nullable=False),
        Column("reserved_delta", BigInteger, nullable=False),
    )
    Table(
        "ledger",
        metadata,
        Column("account", Text, primary_key=True),
        Column("entry", Integer, primary_key=True, comment="from 1, without gaps"),
        Column("kind", Text, nullable=False, comment="limited, reserved, charged, released, observed or refused"),
        Column("job", Text),
        Column("step", Text),
        Column("attempt", Integer),
        Column("rho", BigInteger, nullable=False),
        Column("delta", BigInteger, nullable=False),
        Column("spent_rho", BigInteger, nullable=False, comment="total after this entry"),
        Column("spent_delta", BigInteger, nullable=False),
        Column("limit_rho", BigInteger, comment="limit at that moment"),
        Column("limit_delta", BigInteger),
        Column("principal", Text, nullable=False),
        Column("event", Text, nullable=False, unique=True, comment="id of the event that told of it"),
        Column("made_at", Integer, nullable=False, comment="ms since 1970"),
        UniqueConstraint("account", "job", "step", "attempt", "kind"),
    )
    Table("ended_jobs", metadata, Column("job", Text, primary_key=True))
    return metadata


_ENDED_JOBS = tables().tables["ended_jobs"]
_END = Prepared(insert(_ENDED_JOBS).on_conflict_do_nothing())
_ENDED = Prepared(select(_ENDED_JOBS).where(_ENDED_JOBS.c.job == bindparam("key")))


@dataclass(frozen=True)
class Account:
    """What a ledger's rows come to."""

    id: AccountId
    entries: int
    limit: Cost | None
    spent: Cost
    reserved: Cost


def decide(account: Account, cost: Cost) -> Code | None:
    """Why a cost does not fit, or None if it does.

    A filter, not an odometer: the plain sum of rho, also where costs are chosen adaptively, must stay within the limit (Whitehouse,
    Ramdas, Rogers and Wu 2023), and so must the sum of delta.
    """
    if account.limit is None:
        return "budget-not-set"
    taken = account.spent + account.reserved
    # Plain integers: a sum that does not fit may be more than a cost can hold.
    if taken.rho + cost.rho > account.limit.rho:
        return "budget-exhausted"
    return None if taken.delta + cost.delta <= account.limit.delta else "budget-delta-exhausted"


def left(account: Account) -> Cost:
    """What would still fit."""
    return NOTHING if account.limit is None else (account.spent + account.reserved).left(account.limit)


class Ledger:
    """An account's rows within one transaction. Rows are only ever added; totals are kept beside them."""

    def __init__(self, tx: Transaction, metadata: MetaData, cause: Envelope) -> None:
        self._tx, self._cause = tx, cause
        self._accounts, self._rows = metadata.tables["accounts"], metadata.tables["ledger"]
        self._made = 0

    def account(self, account: AccountId) -> Account:
        """Read an account; the first touch opens it, without a limit."""
        row = self._tx.connection.execute(select(self._accounts).where(self._accounts.c.account == account)).first()
        if row is None:
            nothing = {"entries": 0, "spent_rho": 0, "spent_delta": 0, "reserved_rho": 0, "reserved_delta": 0}
            self._tx.connection.execute(insert(self._accounts).values(account=account, **nothing))
            return Account(account, 0, None, NOTHING, NOTHING)
        limit = None if row.limit_rho is None else Cost(rho=row.limit_rho, delta=row.limit_delta)
        spent, reserved = Cost(rho=row.spent_rho, delta=row.spent_delta), Cost(rho=row.reserved_rho, delta=row.reserved_delta)
        return Account(account, row.entries, limit, spent, reserved)

    def add(
        self, after: Account, kind: type[LedgerEvent], cost: Cost = NOTHING, run: tuple[JobId, StepRun] | None = None, **more: Any
    ) -> int:
        """Append one row with the totals after it, and its event.

        Returns its position.
        """
        entry = after.entries + 1
        about = {} if run is None else {"job": run[0], "step": run[1].step, "attempt": run[1].attempt}
        shown = {} if run is None else {**about, "cost": cost}
        event = kind(account=after.id, entry=entry, spent=after.spent, reserved=after.reserved, limit=after.limit, **shown, **more)
        envelope = self._cause.caused(event, source=SOURCE, handler="ledger", n=self._made)
        self._made += 1
        limit = {} if after.limit is None else {"limit_rho": after.limit.rho, "limit_delta": after.limit.delta}
        spent = {"spent_rho": after.spent.rho, "spent_delta": after.spent.delta}
        reserved = {"reserved_rho": after.reserved.rho, "reserved_delta": after.reserved.delta}
        row = {"account": after.id, "entry": entry, "kind": kind.VERB, **about, "rho": cost.rho, "delta": cost.delta, **spent, **limit}
        row |= {"principal": self._cause.principal, "event": envelope.id, "made_at": now_ms()}
        self._tx.connection.execute(insert(self._rows).values(**row))
        t = self._accounts
        self._tx.connection.execute(update(t).where(t.c.account == after.id).values(entries=entry, **spent, **reserved, **limit))
        self._tx.send(envelope)
        return entry

    def entries(self, account: AccountId, job: JobId, run: StepRun) -> dict[str, Row[Any]]:
        """The rows that a run of a job's step has, by their kind."""
        t = self._rows
        this = (t.c.account == account) & (t.c.job == job) & (t.c.step == run.step) & (t.c.attempt == run.attempt)
        return {row.kind: row for row in self._tx.connection.execute(select(t).where(this))}

    def shown_to(self, account: AccountId, run: tuple[JobId, Code]) -> list[str]:
        """The principals to whom figures that a job read off were shown, in order."""
        t = self._rows
        these = (t.c.account == account) & (t.c.job == run[0]) & (t.c.step == run[1]) & (t.c.kind == BudgetObserved.VERB)
        return list(self._tx.connection.execute(select(t.c.principal).where(these).order_by(t.c.entry)).scalars())

    def accounts_of(self, job: JobId) -> list[AccountId]:
        """Accounts in which a job has reserved something."""
        t = self._rows
        query = select(t.c.account).where((t.c.job == job) & (t.c.kind == BudgetReserved.VERB)).distinct()
        return list(self._tx.connection.execute(query).scalars())

    def end(self, job: JobId) -> None:
        """Remember that a job has ended: nothing is reserved for it any more."""
        _END.run(self._tx.connection, job=job)

    def ended(self, job: JobId) -> bool:
        return _ENDED.first(self._tx.connection, key=job) is not None


def reserve(ledger: Ledger, tx: Transaction, envelope: Envelope, command: ReserveBudget) -> None:
    """Grant or refuse, and pass the job on."""
    run = StepRun(step=command.step, attempt=command.attempt)
    if command.then.job != command.job or getattr(command.then.spec, "account", command.account) != command.account:
        # Granted on one account, it would read the data of another.
        raise Hopeless(code="request-of-another")
    if ledger.ended(command.job) or ledger.entries(command.account, command.job, run):
        # Cancelled before its turn, or asked twice under two ids: the first answer stands.
        return
    account = ledger.account(command.account)
    if command.use is Use.OBSERVE:
        entry = ledger.add(account, BudgetObserved, NOTHING, (command.job, run))
        passed = command.then.model_copy(update={"grant": _grant(command, NOTHING, entry)})
    elif (code := decide(account, command.cost)) is not None:
        ledger.add(account, BudgetRefused, command.cost, (command.job, run), code=code, left=left(account))
        refusal = Refusal(account=command.account, code=code, asked=command.cost, left=left(account))
        passed = command.then.model_copy(update={"refusal": refusal})
    else:
        after = Account(account.id, account.entries, account.limit, account.spent, account.reserved + command.cost)
        entry = ledger.add(after, BudgetReserved, command.cost, (command.job, run))
        passed = command.then.model_copy(update={"grant": _grant(command, command.cost, entry)})
    tx.send(envelope.caused(passed, source=SOURCE, handler="pass-on", n=0))


def _grant(command: ReserveBudget, cost: Cost, entry: int) -> Grant:
    return Grant(account=command.account, step=command.step, use=command.use, cost=cost, attempt=command.attempt, entry=entry)


def set_limit(ledger: Ledger, command: SetBudget) -> None:
    """Give an account its limit; one below what is spent refuses everything from then on."""
    account = ledger.account(command.account)
    limit = budget_limit(Fraction(command.epsilon, EPSILON_SCALE), Fraction(command.delta, DELTA_SCALE))
    after = Account(account.id, account.entries, limit, account.spent, account.reserved)
    ledger.add(after, BudgetLimited, epsilon=command.epsilon, delta=command.delta)


def observe(ledger: Ledger, command: ObserveBudget, principal: str) -> None:
    """Enter that raw figures were shown to a principal, once; the attempt says which principal in the row it is."""
    shown = ledger.shown_to(command.account, (command.job, command.step))
    if principal not in shown:
        run = StepRun(step=command.step, attempt=len(shown) + 1)
        ledger.add(ledger.account(command.account), BudgetObserved, NOTHING, (command.job, run))


def charge(ledger: Ledger, event: MechanismStarted) -> None:
    """Take a reservation's cost for good, whatever becomes of the job."""
    run = StepRun(step=event.step, attempt=event.attempt)
    entries = ledger.entries(event.account, event.job, run)
    reserved = entries.get(BudgetReserved.VERB)
    if reserved is None:
        raise LookupError(f"mechanism of {event.job} started without a reservation")
    if BudgetCharged.VERB in entries:
        return
    cost = Cost(rho=reserved.rho, delta=reserved.delta)
    account = ledger.account(event.account)
    # Given back by mistake and started all the same: in doubt, charge.
    still_reserved = account.reserved if BudgetReleased.VERB in entries else _minus(account.reserved, cost)
    after = Account(account.id, account.entries, account.limit, account.spent + cost, still_reserved)
    ledger.add(after, BudgetCharged, cost, (event.job, run))


def release(ledger: Ledger, job: JobId, never_started: tuple[StepRun, ...]) -> None:
    """Give back what was reserved for runs that, their executor says, never started."""
    ledger.end(job)
    for account_id in ledger.accounts_of(job) if never_started else ():
        for run in never_started:
            entries = ledger.entries(account_id, job, run)
            reserved = entries.get(BudgetReserved.VERB)
            if reserved is None or entries.keys() & {BudgetCharged.VERB, BudgetReleased.VERB}:
                continue
            cost = Cost(rho=reserved.rho, delta=reserved.delta)
            account = ledger.account(account_id)
            after = Account(account.id, account.entries, account.limit, account.spent, _minus(account.reserved, cost))
            ledger.add(after, BudgetReleased, cost, (job, run))


def _minus(total: Cost, part: Cost) -> Cost:
    return Cost(rho=total.rho - part.rho, delta=total.delta - part.delta)


@around("keeper.handle")
def handle(metadata: MetaData, envelope: Envelope, tx: Transaction) -> None:
    """Apply one message, once."""
    if not tx.first_time(envelope.id):
        return
    ledger = Ledger(tx, metadata, envelope)
    match message := envelope.message:
        case ReserveBudget():
            reserve(ledger, tx, envelope, message)
        case SetBudget():
            set_limit(ledger, message)
        case ObserveBudget():
            observe(ledger, message, envelope.principal)
        case MechanismStarted():
            charge(ledger, message)
        case JobFailed() | JobCancelled():
            release(ledger, message.job, message.never_started)
        case JobCompleted() | JobRefused():
            release(ledger, message.job, ())
        case _:
            raise Hopeless(code="misaddressed")


def give_up(given: Given, tx: Transaction) -> None:
    """Have the job of a request that cannot be answered end: nothing was reserved for it."""
    asked = given.envelope.message if given.envelope is not None else None
    if given.envelope is not None and isinstance(asked, ReserveBudget) and asked.then.job == asked.job:
        passed = given.envelope.caused(asked.then.model_copy(update={"failed": given.reason}), source=SOURCE, handler="pass-on", n=0)
        if not tx.has_sent(passed.id):
            tx.send(passed)


async def run(settings: Settings) -> None:
    """Keep the budget until stopped."""
    metadata = tables()
    async with running(Actor.BUDGET_KEEPER, settings, metadata) as runtime:

        @around("keeper.apply")
        async def apply(envelope: Envelope) -> None:
            await runtime.store.write(partial(handle, metadata, envelope))

        async def apply_event(delivery: Delivery) -> Verdict:
            await apply(delivery.envelope)
            return Verdict.DONE

        runtime.keep("control", partial(serve, runtime, {ctl_durable(Actor.BUDGET_KEEPER): apply}, give_up))
        runtime.keep("events", EventLoop(runtime, KEEPER_EVENTS, apply_event).run)
        runtime.ready()
        await runtime.until_stopped()
