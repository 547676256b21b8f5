"""A budget keeper on a database in memory: messages in, events and totals out, and the laws that must hold after each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import select

from actors.budget_keeper import give_up, handle
from actors.ledger import Ledger, tables
from contracts.base import Message
from contracts.commands import ReserveBudget, RunJob
from contracts.cost import Composition, Cost
from contracts.envelope import Context, Envelope
from contracts.events import (
    BudgetReserved,
    LedgerEvent,
    MechanismStarted,
)
from contracts.ids import derived_id
from contracts.jobs import NoopSpec, Use
from halftone.privacy.account import Account, Quota
from halftone.privacy.fold import LedgerFold
from infra.bus.retries import Given
from memory_database import MemoryDatabase

E = TypeVar("E", bound=Message)


class Crash(Exception):
    """The process ends here, before its commit."""


def account_id(name: str) -> str:
    return f"acc_{name * 32}"


def job_id(name: str) -> str:
    return derived_id("job", name)


def wrap(message: Message) -> Envelope:
    return Envelope.wrap(message, Context.new(), source="/edge")


def reserve(account: str, job: str, cost: Cost, *, attempt: int = 1, use: Use = Use.CHARGE) -> Envelope:
    """A job's request for one run of its step, under a fresh message id."""
    run = RunJob(job=job_id(job), spec=NoopSpec())
    asked = ReserveBudget(account=account_id(account), job=run.job, step="measure", use=use, cost=cost, attempt=attempt, then=run)
    return wrap(asked)


class Keeper:
    """The budget keeper, one transaction per message."""

    BEGIN = 1_700_000_000_000

    def __init__(self) -> None:
        self.clock = self.BEGIN
        """Its time, in ms since 1970; a test moves it."""
        self._fold = LedgerFold()
        self._metadata = tables()
        self._database = MemoryDatabase(self._metadata)
        self._checked = 0

    def close(self) -> None:
        self._database.close()

    def take(self, *envelopes: Envelope) -> None:
        """Handle messages, each in a transaction of its own."""
        for envelope in envelopes:
            self._database.do(lambda tx, e=envelope: handle(e, tx, lambda: self.clock))  # type: ignore[misc]

    def crash_on(self, envelope: Envelope) -> None:
        """Handle a message, and end before the commit."""

        def change(tx: Any) -> None:
            handle(envelope, tx, lambda: self.clock)
            raise Crash

        try:
            self._database.do(change)
        except Crash:
            return
        raise AssertionError("the crash did not come through")

    def give_up(self, envelope: Envelope) -> None:
        """Have a message given up, as after too many attempts."""
        given = Given(envelope.subject, envelope, "handler-failed", envelope)
        self._database.do(lambda tx: give_up(given, tx))

    def started(self, account: str, job: str, attempt: int = 1) -> Envelope:
        return wrap(MechanismStarted(job=job_id(job), step="measure", attempt=attempt, account=account_id(account)))

    def sent(self) -> list[Envelope]:
        """Everything in the outbox, in order."""
        return self._database.sent()

    def events(self, kind: type[E]) -> list[E]:
        return [e.message for e in self.sent() if isinstance(e.message, kind)]

    def passed_on(self) -> list[RunJob]:
        """Jobs that were passed on with a grant or a refusal."""
        return self.events(RunJob)

    def account(self, name: str) -> Account:
        """An account's totals, by its short name."""
        return self.totals(account_id(name))

    def totals(self, account: str) -> Account:
        """An account's totals as the table has them."""
        nobody = self.started("0", "nobody")
        return self._database.peek(lambda tx: Ledger(tx, nobody).account(account))

    def check(self) -> None:
        """Entries without gaps, totals that follow from the events to the unit, and no grant over a limit.

        Looks at what is new since the last time.
        """
        sent = self.sent()
        touched = set()
        for envelope in sent[self._checked :]:
            if isinstance(event := envelope.message, LedgerEvent):
                self._fold.take(event, (envelope.principal, envelope.project))
                touched.add(event.account)
                if isinstance(event, BudgetReserved):
                    self._require_within(event)
        self._checked = len(sent)
        assert self._fold.wrong == []
        for account in touched:
            folded = self._fold.ledgers[account]
            kept = self.totals(account)
            assert replace(kept, window_end=None) == folded.account
            assert self.quotas(account) == folded.held_quotas()

    def _require_within(self, event: BudgetReserved) -> None:
        """No grant over the limit of its moment, nor over a quota."""
        folded = self._fold.ledgers[event.account]
        account = folded.account
        assert account.limit is not None
        taken = account.counted + account.reserved
        if account.terms.composition is Composition.PURE:
            assert taken.pure <= account.limit.pure, "granted over the limit"
        else:
            assert taken.within(account.limit), "granted over the limit"
        _, holders = folded.open[event.job, event.step, event.attempt]
        for quota in folded.held_quotas():
            if quota.holder in holders and account.terms.composition is Composition.ZCDP:
                assert (quota.spent + quota.reserved).within(quota.limit), "granted over a quota"

    def quotas(self, account: str) -> list[Quota]:
        """Every quota of an account, as the table has them."""
        nobody = self.started("0", "nobody")
        table = self._metadata.tables["quotas"]

        def look(tx: Any) -> list[Quota]:
            holders = tx.connection.execute(select(table.c.holder).where(table.c.account == account)).scalars()
            return Ledger(tx, nobody).quotas(account, tuple(holders))

        return self._database.peek(look)
