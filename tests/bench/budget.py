"""Measure the budget keeper: durable reserve and charge, previews, and a ledger of a million entries.

Run with ``python tests/bench/budget.py [--entries N] [--pairs N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from actors.budget_keeper import handle
from actors.ledger import tables
from contracts.base import Message
from contracts.commands import ReserveBudget, RunJob, SetBudget
from contracts.cost import NOTHING, Cost
from contracts.envelope import Context, Envelope
from contracts.events import BudgetCharged, BudgetLimited, BudgetReserved, MechanismStarted
from contracts.ids import new_id
from contracts.jobs import NoopSpec, Use
from figures import Figure, percentiles, show
from halftone.privacy.conversion import budget_limit, job_cost
from halftone.privacy.fold import LedgerFold
from halftone.privacy.meaning import meaning
from infra.database.store import Store

CLIENTS = 64
ACCOUNTS = 8
LIMIT = budget_limit(1000, 1e-3)


def wrap(message: Message) -> Envelope:
    return Envelope.wrap(message, Context.new(), source="/edge")


def reserve(account: str, job: str) -> Envelope:
    run = RunJob(job=job, spec=NoopSpec())
    return wrap(ReserveBudget(account=account, job=job, step="measure", use=Use.CHARGE, cost=Cost(rho=1), then=run))


async def keeping(pairs: int) -> Iterator[Figure]:
    """Reserve and charge, each in a change of its own, with fsync: from one client, and from many."""
    with tempfile.TemporaryDirectory() as directory:
        store = Store(f"sqlite:///{Path(directory) / 'keeper.sqlite'}", tables(), synchronous="FULL")
        await store.open()
        accounts = [new_id("acc") for _ in range(ACCOUNTS)]
        for account in accounts:
            await store.write(partial(handle, wrap(SetBudget(account=account, epsilon=10**12, delta=10**15))))
        each: list[float] = []

        async def pair(n: int) -> None:
            account, job = accounts[n % ACCOUNTS], new_id("job")
            asked, started = reserve(account, job), wrap(MechanismStarted(job=job, step="measure", attempt=1, account=account))
            began = time.perf_counter()
            await store.write(partial(handle, asked))
            await store.write(partial(handle, started))
            each.append(time.perf_counter() - began)

        for n in range(200):
            await pair(n)
        alone = percentiles(each)

        async def client(share: int) -> None:
            for n in range(share, pairs, CLIENTS):
                await pair(n)

        began = time.perf_counter()
        await asyncio.gather(*(client(share) for share in range(CLIENTS)))
        rate = pairs / (time.perf_counter() - began)
        await store.close()
    return iter(
        [
            Figure("reserve + charge, durable, SQLite, one client: p50/p99", alone),
            Figure(f"reserve + charge, durable, SQLite, {CLIENTS} clients", f"{rate:,.0f}/s", "500/s"),
        ]
    )


def previews() -> Iterator[Figure]:
    """What a preview computes besides two reads: the cost and what it means, never the same twice."""
    each = []
    for n in range(200):
        began = time.perf_counter()
        cost = job_cost(0.5 + n / 1000, 1e-9)
        meaning(cost)
        meaning(Cost(rho=cost.rho * 3 + n))
        each.append(time.perf_counter() - began)
    yield Figure("preview: cost and meaning, without HTTP, p50/p99", percentiles(each))


def entries(count: int) -> Iterator[dict[str, Any]]:
    """Envelopes of a ledger: a limit, then reservations and charges."""
    account, spent = new_id("acc"), NOTHING
    totals = {"account": account, "spent": spent, "reserved": NOTHING, "limit": LIMIT}
    plain = json.loads(wrap(BudgetLimited(**totals, entry=1, epsilon=10**12, delta=10**15)).dump())
    yield plain
    costs = {"step": "measure", "cost": Cost(rho=1)}
    ask = json.loads(wrap(BudgetReserved(**totals, entry=2, job=new_id("job"), **costs)).dump())
    take = json.loads(wrap(BudgetCharged(**totals, entry=3, job=new_id("job"), **costs)).dump())
    for n in range(count // 2):
        job = f"job_{n:032x}"
        now = {"rho": n, "delta": 0, "pure": 0}
        one, none = {"rho": 1, "delta": 0, "pure": 0}, {"rho": 0, "delta": 0, "pure": 0}
        yield {**ask, "data": {**ask["data"], "entry": 2 * n + 2, "job": job, "spent": now, "reserved": one}}
        yield {**take, "data": {**take["data"], "entry": 2 * n + 3, "job": job, "spent": {**now, "rho": n + 1}, "reserved": none}}


def folding(count: int) -> Iterator[Figure]:
    """The whole ledger folded from its events, as ``halftone budget verify`` does it, and its rows on the disk."""
    bodies = [json.dumps(entry).encode() for entry in entries(count)]
    size = sum(map(len, bodies))
    began = time.perf_counter()
    fold = LedgerFold().take_all(json.loads(body) for body in bodies)
    took = time.perf_counter() - began
    if fold.wrong:
        sys.exit(f"the fold found fault: {fold.wrong[:3]}")
    yield Figure(f"fold of {len(bodies):,} entries from JSON", f"{took:.1f} s, {len(bodies) / took:,.0f}/s")
    yield Figure(f"{len(bodies):,} entries as events", f"{size / 2**20:,.0f} MiB")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "keeper.sqlite"
        from sqlalchemy import create_engine

        engine = create_engine(f"sqlite:///{path}")
        tables().create_all(engine)
        engine.dispose()
        database = sqlite3.connect(path)
        names = [row[1] for row in database.execute("PRAGMA table_info(ledger)")]
        database.executemany(f"INSERT INTO ledger VALUES ({','.join('?' * len(names))})", (_row(names, n) for n in range(len(bodies))))
        database.commit()
        database.close()
        yield Figure(f"{len(bodies):,} entries in the keeper's SQLite, with indexes", f"{path.stat().st_size / 2**20:,.0f} MiB")


def _row(names: list[str], n: int) -> tuple[Any, ...]:
    texts = {"account": "acc_" + "0" * 32, "kind": "charged" if n % 2 else "reserved", "job": f"job_{n // 2:032x}", "step": "measure"}
    texts |= {"principal": "prn_" + "0" * 32, "project": "prj_" + "0" * 32, "event": f"{n:036x}"}
    return tuple(texts.get(name, n + 1 if name == "entry" else 1_700_000_000_000 if name == "made_at" else 1) for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=10_000)
    chosen = parser.parse_args()
    show("Budget", [*asyncio.run(keeping(chosen.pairs)), *previews(), *folding(chosen.entries)])


if __name__ == "__main__":
    main()
