"""A disk that takes nothing more, a database that somebody else holds: nothing is promised that is not kept, and it passes."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import httpx
import psutil
import pytest

from fault_invariant import check
from fault_load import Load, Material, Mix, back_at_work, table
from fault_scale import SEED, Note, scale, some
from fault_system import FaultSystem
from running_system import eventually

NOOP = {"kind": "noop"}


@contextlib.contextmanager
def full_disk(*processes: psutil.Process) -> Iterator[None]:
    """No file of these processes may be written past its first bytes: the kernel refuses, as it does on a full disk."""
    held = [process.rlimit(resource.RLIMIT_FSIZE) for process in processes]
    for process, (_, hard) in zip(processes, held, strict=True):
        process.rlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        for process, limits in zip(processes, held, strict=True):
            process.rlimit(resource.RLIMIT_FSIZE, limits)


def known(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem document."""
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    return answer.status_code, answer.json()["code"]


@pytest.mark.fault(17, "disk full under the edge")
def test_an_edge_without_room_promises_nothing(system: FaultSystem, made: Material, note: Note) -> None:
    """The answer tells it from a fault of ours, and from a promise; with room again, all goes on."""
    edge = system.child("edge")
    key = "asked-while-full"
    with full_disk(edge):
        answers = [system.http.post("/v1/jobs", json=NOOP, headers={"Idempotency-Key": key}) for _ in range(5)]
        uploaded = system.http.post("/v1/datasets", files={"file": ("t.csv", table(SEED))})
        assert system.http.get("/health/live").status_code == 200
    assert {known(answer) for answer in answers} <= {(507, "storage-full"), (503, "storage-away")}
    assert known(uploaded) == (507, "storage-full")
    began = time.monotonic()
    job = system.promise(NOOP, key)
    assert system.ended(job)["state"] == "completed"
    note("recovery", time.monotonic() - began)
    assert system.child("edge").pid == edge.pid
    check(system)


@pytest.mark.fault(17, "disk full under an actor")
@pytest.mark.parametrize("actor", some(("synthesizer", "budget_keeper", "auditor"), "synthesizer"))
def test_what_an_actor_cannot_keep_waits_until_it_can(system: FaultSystem, made: Material, note: Note, actor: str) -> None:
    """Nothing is acknowledged that is not on disk; with room again, every job ends as it would have."""
    with full_disk(system.child(actor)):
        load = Load(system, made, Mix(noop=scale(196, 10), synthesize=2 if actor == "budget_keeper" else 0), SEED + len(actor) + 40)
        jobs = load.promised()
        # Long enough for the first tries to fail.
        full = time.monotonic()
        eventually(lambda: time.monotonic() - full > scale(10, 2))
    note("recovery", back_at_work(system, made, actor))
    check(system)
    ended = Counter(job["state"] for job in system.jobs() if job["id"] in set(jobs))
    assert ended == {"completed": len(jobs)}
    note("runs", len(jobs))


@contextlib.contextmanager
def held(system: FaultSystem, database: str) -> Iterator[None]:
    """A database that another process holds for writing."""
    path = system.home / "db" / f"{database}.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


@pytest.mark.fault(18, "SQLite locked for 10 s by another process")
@pytest.mark.parametrize("database", some(("edge", "synthesizer", "budget_keeper"), "edge"))
def test_a_database_that_is_locked_is_waited_for(system: FaultSystem, made: Material, note: Note, database: str) -> None:
    """No client sees an error of ours; what was asked meanwhile is done."""
    with held(system, database):
        load = Load(system, made, Mix(noop=scale(198, 10), synthesize=2 if database == "budget_keeper" else 0), SEED + len(database) + 60)
        locked = time.monotonic()
        eventually(lambda: time.monotonic() - locked > scale(10, 2))
    note("recovery", back_at_work(system, made, database))
    note("runs", len(load.promised()))
    check(system)
