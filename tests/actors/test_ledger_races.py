"""Fifty jobs race for the last of a budget, before two keepers that share a database: one wins, every time.

HALFTONE_RACES sets how often (1,000 times for the long check).
"""

from __future__ import annotations

import asyncio
import os
import random
from functools import partial
from pathlib import Path

from sqlalchemy import select

from actors.budget_keeper import handle
from actors.ledger import tables
from contracts.commands import ReserveBudget, RunJob, SetBudget
from contracts.cost import Cost
from contracts.envelope import Context, Envelope
from contracts.events import BudgetReserved, JobCancelled, LedgerEvent, MechanismStarted
from contracts.ids import AccountId, derived_id, new_id
from contracts.jobs import NoopSpec, StepRun, Use
from halftone.privacy.conversion import budget_limit
from halftone.privacy.fold import LedgerFold
from infra.database.store import Store, Transaction

RACES = int(os.environ.get("HALFTONE_RACES", "4"))
RACERS = 50
LIMIT = budget_limit(1, 1e-9)


def wrap(message: object) -> Envelope:
    return Envelope.wrap(message, Context.new(), source="/edge")  # type: ignore[arg-type]


def asked(account: AccountId, job: str, rho: int) -> Envelope:
    run = RunJob(job=job, spec=NoopSpec())
    return wrap(ReserveBudget(account=account, job=job, step="measure", use=Use.CHARGE, cost=Cost(rho=rho), then=run))


async def test_one_of_fifty_wins_the_last_unit_however_many_keepers_there_are(tmp_path: Path) -> None:
    """All but one unit is spent; half the racers ask one keeper, half the other, in any order, some of them twice and both."""
    url = f"sqlite:///{tmp_path / 'keeper.sqlite'}"
    keepers = [Store(url, tables(), synchronous="OFF") for _ in range(2)]
    for keeper in keepers:
        await keeper.open()
    chance = random.Random(7)
    try:
        for race in range(RACES):
            await _race(keepers, new_id("acc"), race, chance)
        fold = await keepers[0].write(_folded)
        assert fold.wrong == []
        assert {ledger.account.spent + ledger.account.reserved for ledger in fold.ledgers.values()} == {Cost(rho=LIMIT.rho)}
    finally:
        for keeper in keepers:
            await keeper.close()


async def _race(keepers: list[Store], account: AccountId, race: int, chance: random.Random) -> None:
    first = derived_id("job", str(race), "first")
    await keepers[0].write(partial(handle, wrap(SetBudget(account=account, epsilon=10**9, delta=10**9))))
    await keepers[1].write(partial(handle, asked(account, first, LIMIT.rho - 1)))
    started = MechanismStarted(job=first, step="measure", attempt=1, account=account)
    asking = [(keepers[n % 2], asked(account, derived_id("job", str(race), str(n)), 1)) for n in range(RACERS)]
    # The broker may give a message to both, and the charge of what came before may come in between.
    asking += [(keepers[1], envelope) for keeper, envelope in asking[:10:2]] + [(chance.choice(keepers), wrap(started))]
    chance.shuffle(asking)
    await asyncio.gather(*(keeper.write(partial(handle, envelope)) for keeper, envelope in asking))
    winners = await keepers[race % 2].write(partial(_winners, account))
    assert len(winners) == 2, "the first, and one of the racers"


async def test_a_charge_and_a_release_that_cross_are_one_of_both(tmp_path: Path) -> None:
    """Before two keepers: whichever comes first, what was read is paid for, and nothing is counted twice."""
    url = f"sqlite:///{tmp_path / 'keeper.sqlite'}"
    keepers = [Store(url, tables(), synchronous="OFF") for _ in range(2)]
    for keeper in keepers:
        await keeper.open()
    try:
        for race in range(RACES):
            account, job = new_id("acc"), derived_id("job", str(race))
            await keepers[0].write(partial(handle, wrap(SetBudget(account=account, epsilon=10**9, delta=10**9))))
            await keepers[0].write(partial(handle, asked(account, job, 5)))
            ends = [
                wrap(MechanismStarted(job=job, step="measure", attempt=1, account=account)),
                wrap(JobCancelled(job=job, attempt=1, never_started=(StepRun(step="measure"),))),
            ]
            await asyncio.gather(*(keeper.write(partial(handle, end)) for keeper, end in zip(keepers, ends, strict=True)))
        fold = await keepers[1].write(_folded)
        assert fold.wrong == []
        assert {(ledger.account.spent, ledger.account.reserved) for ledger in fold.ledgers.values()} == {(Cost(rho=5), Cost(rho=0))}
    finally:
        for keeper in keepers:
            await keeper.close()


def _winners(account: AccountId, tx: Transaction) -> list[str]:
    t = tx.tables["ledger"]
    query = select(t.c.job).where((t.c.account == account) & (t.c.kind == BudgetReserved.VERB))
    return list(tx.connection.execute(query).scalars())


def _folded(tx: Transaction) -> LedgerFold:
    outbox, fold = tx.tables["outbox"], LedgerFold()
    for body in tx.connection.execute(select(outbox.c.body).order_by(outbox.c.n)).scalars():
        envelope = Envelope.load(body)
        if isinstance(envelope.message, LedgerEvent):
            fold.take(envelope.message, (envelope.principal, envelope.project))
    return fold
