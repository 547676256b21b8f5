"""What can be asked of the ledgers: budgets, entries, quotas, and what waits for a second person."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select

from api.views import shape
from api.views.database import Database
from contracts.cost import NOTHING, Cost, Room
from contracts.events import BudgetCharged, BudgetHeld, BudgetQuotaSet, BudgetReleased, BudgetReserved
from contracts.ids import AccountId, JobId, PrincipalId
from contracts.jobs import JobState
from contracts.views import ApprovalView, BudgetView, ForecastView, LedgerEntryView, Page, QuotaView

FORECAST_DAYS = 30
"""Days whose charges a forecast goes by."""
_ENDS = tuple(state for state in JobState if state.terminal)


@dataclass(frozen=True, kw_only=True)
class EntryFilter:
    """Which entries are wanted; what is None is not asked for. Times are RFC 3339 in UTC, with milliseconds and a Z."""

    kind: str | None = None
    job: JobId | None = None
    principal: PrincipalId | None = None
    since: str | None = None
    """Inclusive."""
    until: str | None = None
    """Exclusive."""


class Ledgers(Database):
    """The ledgers' part of the read side."""

    async def account(self, account_id: AccountId) -> BudgetView | None:
        """A budget, with a forecast where anything is spent."""
        t, ledger = self.tables["accounts"], self.tables["ledger"]
        row = await self.first(t.select().where(t.c.account == account_id))
        if row is None:
            return None
        counted = select(ledger.c.kind, func.count().label("entries")).where(ledger.c.account == account_id).group_by(ledger.c.kind)
        kinds = {each.kind: each.entries for each in await self.all(counted)}
        view = shape.budget_view(row, kinds)
        if BudgetCharged.VERB not in kinds:
            return view
        return view.model_copy(update={"forecast": await self._forecast(account_id, view.left.rho)})

    async def _forecast(self, account: AccountId, left: int) -> ForecastView:
        t, now = self.tables["ledger"], dt.datetime.now(dt.UTC)
        begin = (now - dt.timedelta(days=FORECAST_DAYS)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        charged = (t.c.account == account) & (t.c.kind == BudgetCharged.VERB) & (t.c.time >= begin)
        row = await self.first(select(func.sum(t.c.cost_rho).label("rho"), func.min(t.c.time).label("first")).where(charged))
        if row is None or row.rho is None:
            return ForecastView(rho_per_day=0)
        days = max(1.0, (now - dt.datetime.fromisoformat(row.first)) / dt.timedelta(days=1))
        per_day = -int(-row.rho // days)
        return ForecastView(rho_per_day=per_day, days_left=left / per_day if per_day else None)

    async def entries(
        self, account: AccountId, after: int = 0, limit: int = 100, wanted: EntryFilter | None = None
    ) -> Page[LedgerEntryView]:
        """An account's ledger, oldest first, after a row. Its epsilons are at the delta of the account's present limit."""
        accounts, t = self.tables["accounts"], self.tables["ledger"]
        held = await self.first(select(accounts.c.delta).where(accounts.c.account == account))
        delta = None if held is None else held.delta
        query = self._entries(wanted or EntryFilter()).where((t.c.account == account) & (t.c.entry > after))
        rows = await self.all(query.order_by(t.c.entry).limit(limit + 1))
        items = tuple(shape.entry_view(row, delta) for row in rows[:limit])
        return Page(items=items, next=str(items[-1].entry) if len(rows) > limit else None)

    def _entries(self, wanted: EntryFilter) -> Select[Any]:
        t, made, log = self.tables["ledger"], self.tables["mechanisms"], self.tables["audit_entries"]
        run = and_(made.c.job == t.c.job, made.c.step == t.c.step, made.c.attempt == t.c.attempt, t.c.kind == BudgetCharged.VERB)
        query = select(t, made.c.mechanisms, log.c.place).outerjoin(made, run).outerjoin(log, log.c.event == t.c.event)
        for column, value in ((t.c.kind, wanted.kind), (t.c.job, wanted.job), (t.c.principal, wanted.principal)):
            query = query if value is None else query.where(column == value)
        if wanted.since is not None:
            query = query.where(t.c.time >= wanted.since)
        return query if wanted.until is None else query.where(t.c.time < wanted.until)

    async def entry_of(self, event_id: str) -> LedgerEntryView | None:
        """The ledger's row that an event told of."""
        t = self.tables["ledger"]
        row = await self.first(self._entries(EntryFilter()).where(t.c.event == event_id))
        return None if row is None else shape.entry_view(row, None)

    async def quotas(self, account: AccountId) -> list[QuotaView]:
        """Every quota on an account, as it was last set, with what its holder was charged."""
        rows = await self.all(self._quotas(account))
        return [shape.quota_view(row, await self._taken(account, row.holder, charged=True), row.delta) for row in rows]

    async def quota_rooms(self, account: AccountId, holders: tuple[str, ...]) -> list[Room]:
        """What the quotas of a person and a project leave, where they have any."""
        rows = await self.all(self._quotas(account).where(self.tables["ledger"].c.holder.in_(holders)))
        return [shape.quota_room(row, await self._taken(account, row.holder, charged=False)) for row in rows]

    def _quotas(self, account: AccountId) -> Select[Any]:
        t = self.tables["ledger"]
        mine = (t.c.account == account) & (t.c.kind == BudgetQuotaSet.VERB)
        return t.select().where(mine, t.c.entry.in_(select(func.max(t.c.entry)).where(mine).group_by(t.c.holder))).order_by(t.c.holder)

    async def _taken(self, account: AccountId, holder: str, *, charged: bool) -> Cost:
        """What was charged of a holder's reservations or, besides, is still set aside. Whoever cancels a job is not who reserved."""
        t = self.tables["ledger"]
        whose = t.c.project if holder.startswith("prj_") else t.c.principal

        def followed(kind: str) -> ColumnElement[bool]:
            other = t.alias()
            same = [other.c[name] == t.c[name] for name in ("account", "job", "step", "attempt")]
            return select(other.c.entry).where(*same, other.c.kind == kind).exists()

        counts = followed(BudgetCharged.VERB)
        counts = counts if charged else counts | ~followed(BudgetReleased.VERB)
        sums = [func.coalesce(func.sum(t.c[f"cost_{part}"]), 0).label(part) for part in ("rho", "delta", "pure")]
        mine = (t.c.account == account) & (t.c.kind == BudgetReserved.VERB) & (whose == holder)
        row = await self.first(select(*sums).where(mine, counts))
        return NOTHING if row is None else Cost(rho=row.rho, delta=row.delta, pure=row.pure)

    async def approvals(self, job: JobId | None = None) -> list[ApprovalView]:
        """Charges that wait for a second person, the oldest first."""
        t, jobs, accounts = self.tables["ledger"], self.tables["jobs"], self.tables["accounts"]
        waiting = (t.c.kind == BudgetHeld.VERB) & jobs.c.state.not_in(_ENDS)
        waiting &= jobs.c.decided.is_(None) | (jobs.c.decided < t.c.entry)
        query = select(t, accounts.c.delta.label("stated_delta")).join(jobs, jobs.c.job == t.c.job).where(waiting)
        query = query.join(accounts, accounts.c.account == t.c.account)
        query = query if job is None else query.where(t.c.job == job)
        return [shape.approval_view(row) for row in await self.all(query.order_by(t.c.sequence))]
