"""Messages that come thrice, out of order, slowly, or are none: the databases end up the same, and nothing else waits for them."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import Any

import pytest

from contracts.envelope import Envelope
from contracts.records import DeadLetter
from fault_invariant import check, read
from fault_load import Load, Material, Mix
from fault_scale import SEED, Note, scale, some
from fault_system import FaultSystem
from infra.bus.connection import connect, jetstream
from running_system import eventually

WORK = Mix(noop=scale(180, 15), ingest=scale(8, 1), sample=scale(4, 0), synthesize=scale(8, 1))
Shape = list[Any]


def shape(system: FaultSystem, jobs: list[str]) -> Shape:
    """What all databases say of jobs, in the order in which they were asked for, names and times apart."""
    return [_of(system, job) for job in jobs]


def _of(system: FaultSystem, job: str) -> Any:
    query = "select state, attempt, lost, mechanism_runs, cancel_requested from jobs where job = ?"
    executed = [system.rows(actor, query, job) for actor in ("ingestor", "synthesizer", "evaluator")]
    ledger = system.rows(
        "budget_keeper", "select kind, step, attempt, cost_rho, cost_delta, cost_pure from ledger where job = ? order by kind", job
    )
    seen = system.rows("views", "select kind, project, state, rank, attempt from jobs where job = ?", job)
    told = system.rows("views", "select type from job_events where job = ? order by type", job)
    entered = system.rows("views", "select kind, attempt, cost_rho, cost_delta from ledger where job = ? order by kind", job)
    roles = system.rows("views", "select role from artifacts where job = ? order by role", job)
    versions = system.rows("views", "select origin, version from versions where job = ?", job)
    (log,) = system.rows("auditor", "select count(*) from entries where cast(entry as text) like ?", f'%"job":"{job}"%')
    return executed, ledger, seen, told, entered, roles, versions, log


def run(system: FaultSystem, made: Material, seed: int) -> tuple[Shape, dict[str, int]]:
    """Do the work, and wait until it is done."""
    jobs = Load(system, made, WORK, seed).promised()
    check(system)
    return shape(system, jobs), Counter(job["state"] for job in system.jobs() if job["id"] in set(jobs))


@pytest.fixture(scope="module")
def undisturbed(running: FaultSystem, made: Material) -> tuple[Shape, dict[str, int]]:
    """What the work comes to when every message comes once, and in order."""
    running.calm()
    return run(running, made, SEED)


@pytest.mark.fault(11, "every message delivered three times")
def test_messages_that_come_thrice_leave_the_same_rows(system: FaultSystem, made: Material, note: Note, undisturbed: Any) -> None:
    """In every database, for every job; nothing was tried twice."""
    system.proxy.repeat(3)
    tripled = run(system, made, SEED + 1)
    assert sorted(tripled[0], key=repr) == sorted(undisturbed[0], key=repr)
    assert tripled[1] == undisturbed[1]
    note("runs", len(tripled[0]))


@pytest.mark.fault(12, "messages in random order within a second")
def test_messages_in_any_order_leave_the_same_rows(system: FaultSystem, made: Material, note: Note, undisturbed: Any) -> None:
    """Readers put events into the order of the stream, and handlers need none."""
    system.proxy.shuffle(1.0, SEED)
    shuffled = run(system, made, SEED + 2)
    assert sorted(shuffled[0], key=repr) == sorted(undisturbed[0], key=repr)
    assert shuffled[1] == undisturbed[1]
    note("runs", len(shuffled[0]))


def lag(system: FaultSystem) -> float:
    found = re.search(r'^halftone_view_lag_messages\{stream="EVENTS"\} (\S+)$', system.http.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.fault(13, "a projector that is slower than 10,000 events come")
def test_a_slow_projector_falls_behind_says_so_and_catches_up(system: FaultSystem, made: Material, note: Note) -> None:
    """Nothing is lost, memory stays bounded, lag is shown, and past the threshold the edge is not ready."""
    edge = system.child("edge")
    before = edge.memory_info().rss
    system.arm("edge", "views.fold:before", "block", "every", 2.0 if scale(1, 0) else 1.0)
    # Four events each: 10,400, against 5,000 by which a view may be behind.
    load = Load(system, made, Mix(noop=scale(2600, 30)), SEED + 3)
    if scale(1, 0):
        reasons = eventually(lambda: system.http.get("/health/ready").json().get("reasons"), 120)
        assert "messages behind" in reasons[0]
    eventually(lambda: lag(system) > 0)
    note("runs", len(load.promised()))
    system.calm()
    began = time.monotonic()
    eventually(lambda: lag(system) == 0, 240)
    note("recovery", time.monotonic() - began)
    grown = edge.memory_info().rss - before
    note("MB more", round(grown / 1e6))
    assert grown < 100e6
    assert system.http.get("/health/ready").status_code == 200
    check(system)


POISON = {
    "invalid JSON": b"{",
    "no envelope": b'{"a": 1}',
    "no UTF-8": b"\xff\xfe\x00",
    "much of nothing": b" " * 200_000,
}


async def publish(url: str, subject: str, body: bytes) -> int:
    client = await connect(url, "provisioner")
    try:
        return (await jetstream(client).publish(subject, body)).seq
    finally:
        await client.close()


def letters(system: FaultSystem) -> list[DeadLetter]:
    held = asyncio.run(read(system.bus_url(), "DEAD"))["DEAD"]
    found = [Envelope.load(message.body).message for message in held]
    return [letter for letter in found if isinstance(letter, DeadLetter)]


@pytest.mark.fault(14, "messages that are none, in a queue of commands")
@pytest.mark.parametrize("what", some(POISON, "no envelope"))
def test_what_cannot_be_read_is_buried_at_once_and_nobody_waits(system: FaultSystem, made: Material, note: Note, what: str) -> None:
    """One delivery, a letter with the reason, and the next job goes through."""
    for actor in ("synthesizer", "budget_keeper"):
        subject = f"halftone.cmd.{actor}.ctl.cancel.poison-{time.monotonic_ns()}"
        began = time.monotonic()
        asyncio.run(publish(system.bus_url(), subject, POISON[what]))
        (letter,) = eventually(lambda subject=subject: [each for each in letters(system) if each.stream_subject == subject])
        note("recovery", time.monotonic() - began)
        assert (letter.reason, letter.attempts) == ("unreadable", 1)
    system.probe()
    check(system)
