"""A budget keeper on a database in memory: messages in, events and totals out, and the laws that must hold after each."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from sqlalchemy import select

from actors.budget_keeper import Account, Ledger, give_up, handle, tables
from contracts.base import Message
from contracts.commands import ReserveBudget, RunJob
from contracts.cost import NOTHING, Cost
from contracts.envelope import Context, Envelope
from contracts.events import (
    BudgetCharged,
    BudgetLimited,
    BudgetReleased,
    BudgetReserved,
    LedgerEvent,
    MechanismStarted,
)
from contracts.ids import derived_id
from contracts.jobs import NoopSpec, Use
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

    def __init__(self) -> None:
        self._metadata = tables()
        self._database = MemoryDatabase(self._metadata)
        self._checked = 0
        self._folded: dict[str, tuple[int, Cost, Cost, Cost | None]] = {}

    def close(self) -> None:
        self._database.close()

    def take(self, *envelopes: Envelope) -> None:
        """Handle messages, each in a transaction of its own."""
        for envelope in envelopes:
            self._database.do(lambda tx, e=envelope: handle(self._metadata, e, tx))  # type: ignore[misc]

    def crash_on(self, envelope: Envelope) -> None:
        """Handle a message, and end before the commit."""

        def change(tx: Any) -> None:
            handle(self._metadata, envelope, tx)
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
        return self._database.peek(lambda tx: Ledger(tx, self._metadata, nobody).account(account))

    def check(self) -> None:
        """Entries without gaps, totals that follow from the events to the unit, and no grant over a limit.

        Looks at what is new since the last time.
        """
        sent = self.sent()
        for envelope in sent[self._checked :]:
            if isinstance(envelope.message, LedgerEvent):
                self._fold(envelope.message)
        touched = {e.message.account for e in sent[self._checked :] if isinstance(e.message, LedgerEvent)}
        self._checked = len(sent)
        accounts = self._metadata.tables["accounts"]
        query = select(accounts).where(accounts.c.account.in_(touched))
        for row in self._database.peek(lambda tx: list(tx.connection.execute(query))):
            entries, spent, reserved, limit = self._folded[row.account]
            assert (row.entries, row.spent_rho, row.spent_delta) == (entries, spent.rho, spent.delta)
            assert (row.reserved_rho, row.reserved_delta) == (reserved.rho, reserved.delta)
            assert (row.limit_rho, row.limit_delta) == ((None, None) if limit is None else (limit.rho, limit.delta))

    def _fold(self, event: LedgerEvent) -> None:
        entries, spent, reserved, limit = self._folded.get(event.account, (0, NOTHING, NOTHING, None))
        assert event.entry == entries + 1, "an entry is missing"
        match event:
            case BudgetLimited():
                limit = event.limit
            case BudgetReserved():
                reserved += event.cost
                assert limit is not None
                assert (spent + reserved).within(limit), "granted over the limit"
            case BudgetCharged():
                spent, reserved = spent + event.cost, _less(reserved, event.cost)
            case BudgetReleased():
                reserved = _less(reserved, event.cost)
            case _:
                pass
        assert (event.spent, event.reserved, event.limit) == (spent, reserved, limit), json.dumps(event.model_dump(mode="json"))
        self._folded[event.account] = (event.entry, spent, reserved, limit)


def _less(total: Cost, part: Cost) -> Cost:
    return Cost(rho=total.rho - part.rho, delta=total.delta - part.delta)
