"""Cancelling wherever a job stands, also in the very moment of its completion."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from fault_invariant import check
from fault_load import Material, synthesis
from fault_scale import SEED, Note, scale, some
from fault_system import FaultSystem
from running_system import eventually

NOOP = {"kind": "noop"}


def race(system: FaultSystem, body: Any, seed: int, within: float) -> str:
    """Ask for a job, and for its end within so many seconds."""
    rng = random.Random(seed)
    job = system.promise(body, f"race-{seed}")
    # No waiting for anything: the moment is what is random.
    time.sleep(rng.uniform(0, within))
    system.cancel(job)
    return job


def decided(system: FaultSystem, job: str) -> str:
    """The job, once it has ended: the next race is not to wait behind it."""
    system.ended(job)
    return job


@pytest.mark.fault(19, "cancelling in the moment of completion: 1,000 races")
def test_a_race_between_end_and_cancellation_has_one_winner(system: FaultSystem, made: Material, note: Note) -> None:
    """Exactly one terminal event, and what it says is what everybody says."""
    count = scale(1000, 60)
    # Command and cancellation each come after a random while: which is first is anybody's guess, on a machine of any speed.
    system.proxy.shuffle(0.3, SEED, about=".run.")
    with ThreadPoolExecutor(8) as clients:
        jobs = list(clients.map(lambda n: decided(system, race(system, NOOP, SEED + n, 0.05)), range(count)))
    system.calm()
    check(system)
    states = Counter(job["state"] for job in system.jobs() if job["id"] in set(jobs))
    assert states.keys() <= {"completed", "cancelled"}
    # Of a thousand, each side wins some; of the sample's few, most likely.
    assert len(states) == 2 or not scale(1, 0)
    note("runs", count)
    note("cancelled", states["cancelled"])


def charges(system: FaultSystem, job: str) -> list[str]:
    return sorted(kind for (kind,) in system.rows("budget_keeper", "select kind from ledger where job = ?", job))


@pytest.mark.fault(19, "cancelling a job with a cost at a random moment of its life")
def test_a_reservation_comes_back_only_if_nothing_was_measured(system: FaultSystem, made: Material, note: Note) -> None:
    """Completed and charged, cancelled and charged, or cancelled and released: never anything else."""
    count = scale(60, 2)
    with ThreadPoolExecutor(4) as clients:
        jobs = list(clients.map(lambda n: race(system, synthesis(made.dataset), SEED + 10_000 + n, scale(6, 3)), range(count)))
    check(system)
    ended = {job["id"]: job["state"] for job in system.jobs()}
    for job in jobs:
        kinds = charges(system, job)
        assert (ended[job], kinds) in [
            ("completed", ["charged", "reserved"]),
            ("cancelled", ["charged", "reserved"]),
            ("cancelled", ["released", "reserved"]),
            ("cancelled", []),
        ]
    note("runs", count)


STATES = {
    "before the keeper": ("budget_keeper", "keeper.apply:before", "block", 2.0),
    "before it measures": ("worker", "worker.opening:before", "block", 60.0),
    "while it measures": ("worker", "worker.opening:after", "block", 60.0),
    "while it fits": ("worker", "worker.measured:after", "block", 60.0),
    "as it writes the end": ("synthesizer", "executor.write_end:before", "block", 0.5),
}


@pytest.mark.fault(19, "cancelling in each state")
@pytest.mark.parametrize("state", some(STATES, "before it measures", "while it fits"))
def test_a_job_is_cancelled_in_every_state(system: FaultSystem, made: Material, note: Note, state: str) -> None:
    """Its worker is gone within two seconds, its files are removed, and what never started is given back."""
    process, place, action, seconds = STATES[state]
    there = system.arm(process, place, action, 1, seconds)
    job = system.promise(synthesis(made.dataset))
    eventually(there)
    workers = system.workers()
    asked = time.monotonic()
    system.cancel(job)
    if process == "worker":
        psutil.wait_procs(workers, timeout=30)
        note("recovery", time.monotonic() - asked)
        assert not any(worker.is_running() for worker in workers)
    ended = system.ended(job)
    # Where the end is being written, either may be first.
    assert ended["state"] in ({"cancelled"} if state != "as it writes the end" else {"cancelled", "completed"})
    check(system)
    assert charges(system, job) in ([], ["released", "reserved"], ["charged", "reserved"])
    if state in {"while it measures", "while it fits"}:
        assert charges(system, job) == ["charged", "reserved"]
    if state == "before it measures":
        assert charges(system, job) == ["released", "reserved"]
