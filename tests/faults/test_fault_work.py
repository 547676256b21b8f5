"""Work that goes wrong by itself: a handler that always fails, a job longer than any patience, an executor that is frozen and replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from fault_invariant import check
from fault_load import Material, synthesis
from fault_scale import Note
from fault_system import FaultSystem
from infra.bus.retries import FIRST_PAUSE, MOST_ATTEMPTS
from infra.bus.topology import ACK_WAIT
from running_system import REPOSITORY, eventually

ANOTHER = """
import asyncio
from actors.synthesizer import run
from infra.settings import Settings
asyncio.run(run(Settings.load()))
"""


@pytest.mark.fault(15, "a handler that always fails")
def test_a_handler_that_always_fails_is_given_up_and_its_job_fails(system: FaultSystem, made: Material, note: Note) -> None:
    """So many attempts with growing gaps, then a letter; nothing is reserved, and the next request is granted."""
    system.arm("budget_keeper", "keeper.apply:before", "fail", "every")
    job = system.promise(synthesis(made.dataset))
    at: dict[int, int] = {}

    def given_up() -> bool:
        at.update({n: ms for n, ms in system.rows("budget_keeper", "select attempts, last_at from failures") if n not in at})
        return system.rows("views", "select state from jobs where job = ?", job) == [("failed",)]

    eventually(given_up)
    system.calm()
    failed = system.ended(job)
    assert (failed["state"], failed["failure"]["code"]) == ("failed", "handler-failed")
    dead = system.get("/v1/dead-letters")["items"]
    (letter,) = [each for each in dead if each["reason"] == "handler-failed" and each["job"] == job]
    assert letter["attempts"] == MOST_ATTEMPTS
    gaps = [(at[n + 1] - at[n]) / 1000 for n in range(1, MOST_ATTEMPTS - 1)]
    assert all(gap >= 0.8 * FIRST_PAUSE * 2 ** (n - 1) for n, gap in enumerate(gaps, start=1)), gaps
    assert system.rows("budget_keeper", "select kind from ledger where job = ?", job) == []
    again = system.promise(synthesis(made.dataset))
    assert system.ended(again)["state"] == "completed"
    check(system)
    note("runs", 1)


@pytest.mark.fault(16, "a job that takes 10 times as long as the broker waits")
@pytest.mark.long
def test_a_long_job_is_executed_once(system: FaultSystem, made: Material, note: Note) -> None:
    """Signs of life keep it where it is."""
    system.arm("worker", "worker.measured:after", "block", 1, 10 * ACK_WAIT + 2)
    job = system.promise(synthesis(made.dataset))
    eventually(lambda: system.rows("views", "select state from jobs where job = ?", job) == [("completed",)], 120)
    assert system.ended(job)["attempt"] == 1
    check(system)


@pytest.mark.fault(16, "an executor whose event loop is blocked for twice as long as the broker waits")
@pytest.mark.long
def test_a_job_of_a_blocked_executor_is_executed_once(system: FaultSystem, made: Material, note: Note) -> None:
    """The message comes again, and finds that its job is at work, or done."""
    there = system.arm("synthesizer", "executor.write_end:before", "block", 1, 2 * ACK_WAIT + 1)
    job = system.promise(synthesis(made.dataset))
    eventually(there)
    ended = system.ended(job)
    assert (ended["state"], ended["attempt"]) == ("completed", 1)
    check(system)


@contextlib.contextmanager
def another_synthesizer(system: FaultSystem) -> Iterator[None]:
    """A second process of the actor, on the same database, which no supervisor knows."""
    environment = os.environ | {"HALFTONE_HOME": str(system.home)}
    process = subprocess.Popen([sys.executable, "-c", ANOTHER], env=environment, cwd=REPOSITORY)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.fault(16, "an executor that is frozen, loses its lease to another, and wakes up")
@pytest.mark.long
def test_an_executor_that_wakes_up_after_its_lease_cannot_write(system: FaultSystem, made: Material, note: Note) -> None:
    """The other one's attempt is the one that counts; what the first one made is removed."""
    fits = system.arm("worker", "worker.measured:after", "block", 1, 12)
    job = system.promise(synthesis(made.dataset))
    eventually(fits)
    first = system.child("synthesizer")
    first.send_signal(signal.SIGSTOP)
    frozen = time.monotonic()
    with another_synthesizer(system):
        eventually(lambda: system.rows("synthesizer", "select state, attempt from jobs where job = ?", job) == [("completed", 2)], 120)
        note("recovery", time.monotonic() - frozen)
    # Its worker has long finished: what it says is in the pipe.
    first.send_signal(signal.SIGCONT)
    system.probe()
    check(system)
    assert system.ended(job)["attempt"] == 2
    assert first.is_running()
