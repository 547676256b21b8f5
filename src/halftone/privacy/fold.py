"""From the events of ledgers to what they come to: the other way to know a budget's state, which must give the same to the unit.

Costs alone are added up here; what each event says the totals are is checked against that, and so is every gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from contracts.cost import NOTHING, Cost
from contracts.envelope import Envelope, UnknownMessage
from contracts.events import (
    BudgetCharged,
    BudgetLimited,
    BudgetObserved,
    BudgetQuotaSet,
    BudgetRefreshed,
    BudgetReleased,
    BudgetReleaseEntered,
    BudgetReserved,
    BudgetUnbounded,
    JobLedgerEvent,
    LedgerEvent,
)
from contracts.ids import AccountId
from halftone.privacy.account import Account, Quota

Run = tuple[str, str, int]


@dataclass
class FoldedLedger:
    """One account's ledger, folded."""

    account: Account
    quotas: dict[str, Cost] = field(default_factory=dict)
    """Limits of people and projects."""
    spent: dict[str, Cost] = field(default_factory=lambda: defaultdict(lambda: NOTHING))
    """By person and by project."""
    reserved: dict[str, Cost] = field(default_factory=lambda: defaultdict(lambda: NOTHING))
    open: dict[Run, tuple[Cost, tuple[str, str]]] = field(default_factory=dict)
    """Reservations that are neither charged nor given back, and whose they are."""
    given_back: dict[Run, tuple[Cost, tuple[str, str]]] = field(default_factory=dict)
    charged: set[Run] = field(default_factory=set)

    def held_quotas(self) -> list[Quota]:
        """Every quota with what counts against it."""
        return [Quota(holder, limit, self.spent[holder], self.reserved[holder]) for holder, limit in sorted(self.quotas.items())]


class LedgerFold:
    """Every account that events tell of, and what is wrong with them."""

    def __init__(self) -> None:
        self.ledgers: dict[AccountId, FoldedLedger] = {}
        self.wrong: list[str] = []
        self.events = 0

    def take_all(self, entries: Iterable[Mapping[str, Any]]) -> LedgerFold:
        """Fold envelopes, as the log has them, in order; those of other events are passed over."""
        for entry in entries:
            if str(entry.get("type", "")).startswith("halftone.budget."):
                self._read(entry)
        return self

    def _read(self, entry: Mapping[str, Any]) -> None:
        try:
            envelope = Envelope.read(entry)
            message = envelope.message
        except (ValidationError, UnknownMessage) as error:
            self.wrong.append(f"{entry.get('id')}: cannot be read: {type(error).__name__}")
            return
        if isinstance(message, LedgerEvent):
            self.take(message, (envelope.principal, envelope.project))

    def take(self, event: LedgerEvent, by: tuple[str, str]) -> None:
        """Fold one event, of a person and a project."""
        self.events += 1
        held = self.ledgers.setdefault(event.account, FoldedLedger(Account(event.account)))
        if event.entry != held.account.entries + 1:
            self.wrong.append(f"{event.account}: entry {event.entry} follows {held.account.entries}")
        held.account = replace(self._moved(held, event, by), entries=event.entry)
        after = held.account
        for name in ("spent", "reserved", "limit"):
            if getattr(event, name) != getattr(after, name):
                said, found = getattr(event, name), getattr(after, name)
                self.wrong.append(f"{event.account}: entry {event.entry} says {name} is {said}, and the costs before it come to {found}")

    def _moved(self, held: FoldedLedger, event: LedgerEvent, by: tuple[str, str]) -> Account:
        account = held.account
        match event:
            case BudgetLimited():
                before = account.before if event.window_days is not None else NOTHING
                after = replace(account, limit=event.limit, before=before, terms=event.terms)
                return replace(after, window_days=event.window_days, approval=event.approval)
            case BudgetRefreshed():
                if event.before != account.spent:
                    self.wrong.append(f"{account.id}: entry {event.entry} begins a window with {event.before}, not what is spent")
                return replace(account, before=event.before)
            case BudgetQuotaSet():
                held.quotas[event.holder] = event.quota
            case BudgetUnbounded() | BudgetReleaseEntered():
                return replace(account, unbounded=account.unbounded + 1)
            case BudgetObserved():
                return replace(account, observed=account.observed + 1)
            case BudgetReserved() | BudgetCharged() | BudgetReleased():
                return self._cost(held, event, by)
        return account

    def _cost(self, held: FoldedLedger, event: JobLedgerEvent, by: tuple[str, str]) -> Account:
        account, run = held.account, (event.job, event.step, event.attempt)
        if isinstance(event, BudgetReserved):
            held.open[run] = (event.cost, by)
            _add(held.reserved, by, event.cost)
            return replace(account, reserved=account.reserved + event.cost)
        if run not in held.open and not (isinstance(event, BudgetCharged) and run in held.given_back):
            self.wrong.append(f"{account.id}: entry {event.entry} settles what was not set aside")
            return account
        still = run in held.open
        cost, whose = held.open.pop(run) if still else held.given_back[run]
        if event.cost != cost or run in held.charged:
            self.wrong.append(f"{account.id}: entry {event.entry} settles {event.cost}, and {cost} was set aside")
        if still:
            _take(held.reserved, whose, cost)
            account = replace(account, reserved=account.reserved - cost)
        if isinstance(event, BudgetReleased):
            held.given_back[run] = (cost, whose)
            return account
        held.charged.add(run)
        _add(held.spent, whose, cost)
        return replace(account, spent=account.spent + cost)


def _add(totals: dict[str, Cost], holders: tuple[str, str], cost: Cost) -> None:
    for holder in holders:
        totals[holder] = totals[holder] + cost


def _take(totals: dict[str, Cost], holders: tuple[str, str], cost: Cost) -> None:
    for holder in holders:
        totals[holder] = totals[holder] - cost
