"""Stopping under load, views made anew while all goes on, the last of a budget asked for by many."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from fault_invariant import check, view_rows
from fault_load import SCHEMA, Load, Material, Mix, synthesis, table
from fault_scale import SEED, Note, scale
from fault_system import FaultSystem
from running_system import eventually


@pytest.mark.fault("SIGTERM", "SIGTERM under load, then a new start")
def test_a_stop_under_load_finishes_or_hands_back(system: FaultSystem, made: Material, note: Note) -> None:
    """It ends in order within 30 s; after the next start all is done, and no attempt counts as lost."""
    load = Load(system, made, Mix(noop=scale(180, 10), ingest=scale(4, 0), sample=scale(4, 0), synthesize=scale(8, 1)), SEED + 100)
    jobs = load.promised()
    began = time.monotonic()
    assert system.stop(signal.SIGTERM) == 0
    note("seconds to stop", time.monotonic() - began)
    began = time.monotonic()
    system.start()
    system.probe()
    note("recovery", time.monotonic() - began)
    check(system)
    for actor in ("ingestor", "synthesizer"):
        marks = ", ".join("?" * len(jobs))
        assert set(system.rows(actor, f"select lost from jobs where job in ({marks})", *jobs)) <= {(0,)}
    assert Counter(job["state"] for job in system.jobs() if job["id"] in set(jobs)) == {"completed": len(jobs)}
    note("runs", len(jobs))


@pytest.mark.fault("rebuild", "views made anew while jobs come in")
def test_views_that_are_made_anew_under_load_have_the_same_rows(system: FaultSystem, made: Material, note: Note) -> None:
    """A file of another version is discarded when the edge starts, and folded from the streams' start while they grow."""
    before = view_rows(system)
    load = Load(system, made, Mix(noop=scale(200, 15)), SEED + 200)
    eventually(lambda: load.under_way() > 3)
    with closing(sqlite3.connect(system.home / "db" / "views.sqlite", timeout=30)) as views:
        views.execute("pragma user_version = 1")
    edge = system.child("edge")
    edge.kill()
    system.back("edge", edge)
    began = time.monotonic()
    system.probe()
    note("recovery", time.monotonic() - began)
    load.promised()
    check(system)
    after = view_rows(system)
    for name in ("ledger", "audit_entries", "artifacts", "job_events"):
        assert set(before[name]) <= set(after[name])
    log = (system.home / "logs" / "edge.log").read_text()
    assert "views.discarded" in log


def ask_for_the_last(system: FaultSystem, dataset: str, n: int, i: int) -> str:
    return system.promise(synthesis(dataset), f"last-{n}-{i}")


@pytest.mark.fault("last unit", "50 requests for the last unit of a budget")
@pytest.mark.long
def test_the_last_unit_of_a_budget_is_granted_once(system: FaultSystem, made: Material, note: Note) -> None:
    """However many ask at once, while the keeper is killed among them: one is granted, all others are refused."""
    rounds, rng = 10, random.Random(SEED)
    for n in range(rounds):
        dataset = system.promise_upload(table(SEED + 5000 + n))
        system.ended(dataset["job"])
        attested = system.put(f"/v1/datasets/{dataset['dataset']}/schema", SCHEMA)
        system.accepted.add(attested["job"])
        system.ended(attested["job"])
        # Costs go with the square of epsilon: this admits one job of 0.5, and not two.
        system.put(f"/v1/budgets/{dataset['dataset']}", {"epsilon": 0.6})
        keeper = system.child("budget_keeper")
        died = system.arm("budget_keeper", rng.choice(["keeper.apply:after", "transaction.send:after", "relay.publish:before"]), "kill", 5)
        ask = partial(ask_for_the_last, system, dataset["dataset"], n)
        with ThreadPoolExecutor(8) as clients:
            asked = list(clients.map(ask, range(50)))
        check(system)
        assert died()
        assert not keeper.is_running()
        ended = Counter(job["state"] for job in system.jobs() if job["id"] in set(asked))
        assert ended == {"completed": 1, "refused": len(asked) - 1}
    note("runs", rounds)
