"""The budget keeper's database: accounts with their totals, an append-only ledger, quotas, and what waits for a second person."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    MetaData,
    Row,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    select,
    update,
)

from contracts.commands import RunJob
from contracts.cost import NOTHING, BudgetTerms, Composition, Cost, Neighbours
from contracts.envelope import Envelope
from contracts.events import (
    BudgetCharged,
    BudgetObserved,
    BudgetRefreshed,
    BudgetReleased,
    BudgetReserved,
    BudgetThresholdReached,
    LedgerEvent,
)
from contracts.ids import AccountId, Code, JobId, MessageId
from contracts.jobs import Actor, StepRun
from halftone.privacy.account import Account, Quota, crossed
from infra.database.dialect import Integer, insert
from infra.database.prepared import Prepared, PreparedUpdate
from infra.database.store import Transaction, now_ms

SOURCE = f"/actors/{Actor.BUDGET_KEEPER}"
DAY_MS = 86_400_000
PARTS = ("rho", "delta", "pure")


def _amount(name: str, *, nullable: bool = False) -> list[Column[int]]:
    """A cost's columns: rho in 1e-12, delta in 1e-18, pure epsilon in 1e-9."""
    return [Column(f"{name}_{part}", BigInteger, nullable=nullable) for part in PARTS]


def tables() -> MetaData:
    """What the keeper keeps."""
    metadata = MetaData()
    Table(
        "accounts",
        metadata,
        Column("account", Text, primary_key=True),
        Column("entries", Integer, nullable=False, comment="rows in the ledger so far"),
        *_amount("limit", nullable=True),  # null while no limit is set, and then nothing is granted
        *_amount("spent"),
        *_amount("reserved"),
        *_amount("before"),
        Column("composition", Text, nullable=False),
        Column("neighbours", Text, nullable=False),
        Column("by_user", Boolean, nullable=False),
        Column("contribution", Integer, nullable=False),
        Column("window_days", Integer),
        Column("window_end", BigInteger, comment="ms since 1970"),
        *_amount("approval", nullable=True),
        Column("observed", Integer, nullable=False),
        Column("unbounded", Integer, nullable=False),
    )
    Table(
        "ledger",
        metadata,
        Column("account", Text, primary_key=True),
        Column("entry", Integer, primary_key=True, comment="from 1, without gaps"),
        Column("kind", Text, nullable=False, comment="what the event says that tells of it"),
        Column("job", Text, index=True),
        Column("step", Text),
        Column("attempt", Integer),
        *_amount("cost"),
        *_amount("spent"),  # total after this entry
        *_amount("limit", nullable=True),  # at that moment
        Column("principal", Text, nullable=False),
        Column("project", Text, nullable=False),
        Column("event", Text, nullable=False, unique=True, comment="id of the event that told of it"),
        Column("made_at", BigInteger, nullable=False, comment="ms since 1970"),
        UniqueConstraint("account", "job", "step", "attempt", "kind"),
    )
    Table(
        "quotas",
        metadata,
        Column("account", Text, primary_key=True),
        Column("holder", Text, primary_key=True, comment="a person or a project"),
        *_amount("limit"),
        *_amount("spent"),
        *_amount("reserved"),
    )
    Table(
        "held",
        metadata,
        Column("account", Text, primary_key=True),
        Column("job", Text, primary_key=True),
        Column("step", Text, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("command", Text, nullable=False, comment="what goes on once it is approved, JSON"),
    )
    Table("ended_jobs", metadata, Column("job", Text, primary_key=True))
    return metadata


_TABLES = tables().tables
_ACCOUNTS, _LEDGER, _QUOTAS, _HELD, _ENDED_JOBS = (_TABLES[name] for name in ("accounts", "ledger", "quotas", "held", "ended_jobs"))
_END = Prepared(insert(_ENDED_JOBS).on_conflict_do_nothing())
_ENDED = Prepared(select(_ENDED_JOBS).where(_ENDED_JOBS.c.job == bindparam("key")))
_ACCOUNT = Prepared(select(_ACCOUNTS).where(_ACCOUNTS.c.account == bindparam("key")))
_OPEN, _ADD = Prepared(insert(_ACCOUNTS)), Prepared(insert(_LEDGER))
_SET = PreparedUpdate(_ACCOUNTS, _ACCOUNTS.c.account == bindparam("key"))
_QUOTA = Prepared(select(_QUOTAS).where((_QUOTAS.c.account == bindparam("key")) & (_QUOTAS.c.holder == bindparam("of_holder"))))
_DROP = Prepared(delete(_HELD).where(_HELD.c.job == bindparam("key")))
_RESERVED_IN = Prepared(
    select(_LEDGER.c.account).where((_LEDGER.c.job == bindparam("key")) & (_LEDGER.c.kind == BudgetReserved.VERB)).distinct()
)
_ENTRIES = Prepared(
    select(_LEDGER).where(
        (_LEDGER.c.account == bindparam("key"))
        & (_LEDGER.c.job == bindparam("of_job"))
        & (_LEDGER.c.step == bindparam("of_step"))
        & (_LEDGER.c.attempt == bindparam("of_attempt"))
    )
)


class Ledger:
    """An account's rows within one transaction. Rows are only ever added; totals are kept beside them."""

    def __init__(self, tx: Transaction, cause: Envelope, now: Callable[[], int] = now_ms) -> None:
        self._tx, self._cause, self.now = tx, cause, now
        self._made = 0

    def account(self, account: AccountId) -> Account:
        """Read an account; the first touch opens it, without a limit."""
        row = _ACCOUNT.first(self._tx.connection, key=account)
        if row is None:
            _OPEN.run(self._tx.connection, **_account_row(Account(account)))
            return Account(account)
        terms = BudgetTerms(
            composition=Composition(row.composition),
            neighbours=Neighbours(row.neighbours),
            by_user=bool(row.by_user),
            contribution=row.contribution,
        )
        return Account(
            id=account,
            entries=row.entries,
            limit=_cost(row, "limit"),
            spent=_cost(row, "spent") or NOTHING,
            reserved=_cost(row, "reserved") or NOTHING,
            before=_cost(row, "before") or NOTHING,
            terms=terms,
            window_days=row.window_days,
            window_end=row.window_end,
            approval=_cost(row, "approval"),
            observed=row.observed,
            unbounded=row.unbounded,
        )

    def current(self, account: AccountId) -> Account:
        """The account as it is now: a refresh window that is over gives way to the next, which is an entry of its own."""
        held = self.account(account)
        if held.window_end is None or held.window_days is None or self.now() < held.window_end:
            return held
        whole = held.window_days * DAY_MS
        end = held.window_end + ((self.now() - held.window_end) // whole + 1) * whole
        refreshed = replace(held, before=held.spent, window_end=end)
        return self.add(held, refreshed, BudgetRefreshed, told={"before": refreshed.before})

    def add(
        self,
        before: Account,
        after: Account,
        kind: type[LedgerEvent],
        cost: Cost | None = None,
        run: tuple[JobId, StepRun] | None = None,
        *,
        asker: tuple[str, str] | None = None,
        event_id: MessageId | None = None,
        told: Mapping[str, Any] = MappingProxyType({}),
    ) -> Account:
        """Append one row with the totals after it, and its event; and tell of thresholds that it reached.

        ``asker`` is the person and the project whose quotas it counts against: those of the request, if no others. ``told`` is what the
        event says besides.
        Returns the account as it is then.
        """
        after = replace(after, entries=before.entries + 1)
        about: dict[str, Any] = dict.fromkeys(("job", "step", "attempt"))
        about |= {} if run is None else {"job": run[0], "step": run[1].step, "attempt": run[1].attempt}
        shown = {} if run is None else {**about, "cost": cost or NOTHING}
        event = kind(account=after.id, entry=after.entries, spent=after.spent, reserved=after.reserved, limit=after.limit, **shown, **told)
        envelope = self._envelope(event, event_id)
        person, project = asker or (self._cause.principal, self._cause.project)
        row = {"account": after.id, "entry": after.entries, "kind": kind.VERB, **about, **_columns("cost", cost or NOTHING)}
        row |= {**_columns("spent", after.spent), **_columns("limit", after.limit), "principal": person, "project": project}
        _ADD.run(self._tx.connection, **row, event=envelope.id, made_at=self.now())
        _SET.run(self._tx.connection, {"key": after.id}, _account_row(after))
        self._move_quotas(after.id, (person, project), after.spent - before.spent, after.reserved, before.reserved)
        self._tx.send(envelope)
        for percent in crossed(before, after):
            reached = BudgetThresholdReached(
                account=after.id, entry=after.entries, percent=percent, spent=after.counted, limit=after.limit or NOTHING
            )
            self._tx.send(self._envelope(reached))
        return after

    def _envelope(self, event: LedgerEvent | BudgetThresholdReached, event_id: MessageId | None = None) -> Envelope:
        made, self._made = self._made, self._made + 1
        if event_id is None:
            return self._cause.caused(event, source=SOURCE, handler="ledger", n=made)
        return Envelope.wrap(event, self._cause.context, source=SOURCE, message_id=event_id, causation=self._cause.id)

    def _move_quotas(self, account: AccountId, holders: tuple[str, ...], spent: Cost, reserved: Cost, was: Cost) -> None:
        t = _QUOTAS
        for quota in self.quotas(account, holders) if spent != NOTHING or reserved != was else ():
            # Added before it is taken off: a part may well be less than what others hold.
            values = {**_columns("spent", quota.spent + spent), **_columns("reserved", quota.reserved + reserved - was)}
            self._tx.connection.execute(update(t).where((t.c.account == account) & (t.c.holder == quota.holder)).values(values))

    def quotas(self, account: AccountId, holders: tuple[str, ...]) -> list[Quota]:
        """The quotas that some people and projects have."""
        rows = (_QUOTA.first(self._tx.connection, key=account, of_holder=holder) for holder in sorted(set(holders)))
        return [Quota(row.holder, *(_cost(row, name) or NOTHING for name in ("limit", "spent", "reserved"))) for row in rows if row]

    def set_quota(self, account: AccountId, holder: str, limit: Cost) -> None:
        """Give somebody a quota; what it has spent and set aside before counts."""
        t = _QUOTAS
        mine = (t.c.account == account) & (t.c.holder == holder)
        held = self.quotas(account, (holder,))
        if held:
            self._tx.connection.execute(update(t).where(mine).values(_columns("limit", limit)))
            return
        spent = self._sum(account, holder, BudgetCharged.VERB)
        left = self._sum(account, holder, BudgetReserved.VERB) - self._sum_of_settled(account, holder)
        values = {**_columns("limit", limit), **_columns("spent", spent), **_columns("reserved", left)}
        self._tx.connection.execute(insert(t).values(account=account, holder=holder, **values))

    def _sum(self, account: AccountId, holder: str, *kinds: str) -> Cost:
        t = _LEDGER
        mine = (t.c.account == account) & ((t.c.project if holder.startswith("prj_") else t.c.principal) == holder) & t.c.kind.in_(kinds)
        row = self._tx.connection.execute(select(*(func.coalesce(func.sum(t.c[f"cost_{part}"]), 0) for part in PARTS)).where(mine)).one()
        return Cost(rho=row[0], delta=row[1], pure=row[2])

    def _sum_of_settled(self, account: AccountId, holder: str) -> Cost:
        """Reservations that are set aside no more. Charged in doubt, after they were given back, they are counted once."""
        t = _LEDGER
        mine = (t.c.account == account) & ((t.c.project if holder.startswith("prj_") else t.c.principal) == holder)
        runs = select(t.c.job, t.c.step, t.c.attempt, *(func.max(t.c[f"cost_{part}"]).label(part) for part in PARTS))
        settled = runs.where(mine, t.c.kind.in_((BudgetCharged.VERB, BudgetReleased.VERB))).group_by(t.c.job, t.c.step, t.c.attempt)
        each = settled.subquery()
        row = self._tx.connection.execute(select(*(func.coalesce(func.sum(each.c[part]), 0) for part in PARTS))).one()
        return Cost(rho=row[0], delta=row[1], pure=row[2])

    def entries(self, account: AccountId, job: JobId, run: StepRun) -> dict[str, Row[Any]]:
        """The rows that a run of a job's step has, by their kind."""
        found = _ENTRIES.all(self._tx.connection, key=account, of_job=job, of_step=run.step, of_attempt=run.attempt)
        return {row.kind: row for row in found}

    def shown_to(self, account: AccountId, run: tuple[JobId, Code]) -> list[str]:
        """The principals to whom figures that a job read off were shown, in order."""
        t = _LEDGER
        these = (t.c.account == account) & (t.c.job == run[0]) & (t.c.step == run[1]) & (t.c.kind == BudgetObserved.VERB)
        return list(self._tx.connection.execute(select(t.c.principal).where(these).order_by(t.c.entry)).scalars())

    def accounts_of(self, job: JobId) -> list[AccountId]:
        """Accounts in which a job has reserved something."""
        return [row.account for row in _RESERVED_IN.all(self._tx.connection, key=job)]

    def hold(self, account: AccountId, run: StepRun, command: RunJob) -> None:
        """Keep what goes on once a second person has said so."""
        row = {"account": account, "job": command.job, "step": run.step, "attempt": run.attempt, "command": command.model_dump_json()}
        self._tx.connection.execute(insert(_HELD).values(row))

    def held(self, account: AccountId, job: JobId) -> tuple[StepRun, RunJob] | None:
        """What of a job waits for a second person."""
        row = self._tx.connection.execute(select(_HELD).where((_HELD.c.account == account) & (_HELD.c.job == job))).first()
        return None if row is None else (StepRun(step=row.step, attempt=row.attempt), RunJob.read(json.loads(row.command)))

    def drop_held(self, job: JobId) -> None:
        """Forget what waited: it was decided, or its job has ended."""
        _DROP.run(self._tx.connection, key=job)

    def end(self, job: JobId) -> None:
        """Remember that a job has ended: nothing is reserved for it any more."""
        _END.run(self._tx.connection, job=job)

    def ended(self, job: JobId) -> bool:
        return _ENDED.first(self._tx.connection, key=job) is not None


def row_cost(row: Row[Any]) -> Cost:
    """What a ledger's row is about."""
    return _cost(row, "cost") or NOTHING


def _cost(row: Row[Any], name: str) -> Cost | None:
    parts = {part: getattr(row, f"{name}_{part}") for part in PARTS}
    return None if parts["rho"] is None else Cost(**parts)


def _columns(name: str, cost: Cost | None) -> dict[str, int | None]:
    return {f"{name}_{part}": None if cost is None else getattr(cost, part) for part in PARTS}


def _account_row(account: Account) -> dict[str, Any]:
    amounts = {"limit": account.limit, "spent": account.spent, "reserved": account.reserved, "before": account.before}
    row: dict[str, Any] = {"account": account.id, "entries": account.entries}
    for name, cost in {**amounts, "approval": account.approval}.items():
        row |= _columns(name, cost)
    row |= {"window_days": account.window_days, "window_end": account.window_end}
    row |= {"observed": account.observed, "unbounded": account.unbounded}
    return row | account.terms.model_dump(mode="json")
