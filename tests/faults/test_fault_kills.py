"""kill -9 at every step: of a worker and its executor, between commit and acknowledgement, before and after publishing."""

from __future__ import annotations

import random
import time
from functools import partial

import pytest

from fault_invariant import check
from fault_load import Load, Material, Mix, back_at_work, synthesis
from fault_scale import SEED, Note, scale, some
from fault_system import FaultSystem
from running_system import eventually


def load_of(process: str) -> Mix:
    """Work for a process, and little of what would keep the slots of others busy."""
    return Mix(noop=scale(194, 20), ingest=scale(4, 0), synthesize=2 if process == "budget_keeper" else 0)


def attempts(system: FaultSystem, job: str) -> int:
    found = system.rows("synthesizer", "select attempt from jobs where job = ?", job)
    return int(found[0][0]) if found else 0


def ledger(system: FaultSystem, job: str) -> list[str]:
    return [kind for (kind,) in system.rows("budget_keeper", "select kind from ledger where job = ? order by entry", job)]


@pytest.mark.fault(1, "kill -9 of the synthesizer in the middle of a fit")
def test_a_synthesizer_killed_while_it_fits_is_paid_once(system: FaultSystem, made: Material, note: Note) -> None:
    """The job goes on from its measurements in a second attempt: one charge, soon."""
    rng = random.Random(SEED)
    for _ in range(scale(20, 1)):
        fits = system.arm("worker", "worker.measured:after", "block", 1, 60)
        job = system.promise(synthesis(made.dataset))
        eventually(fits)
        victim = system.child("synthesizer")
        # No waiting for anything: the moment is what is random.
        time.sleep(rng.uniform(0, 0.3))
        killed = time.monotonic()
        victim.kill()
        eventually(lambda job=job: attempts(system, job) == 2)
        note("recovery", time.monotonic() - killed)
        ended = system.ended(job)
        assert (ended["state"], ended["attempt"]) == ("completed", 2)
        assert ledger(system, job) == ["reserved", "charged"]
    check(system)


def killed_at(number: int, process: str, place: str, what: str, *, long: bool = False) -> object:
    marks = [pytest.mark.fault(number, what), *([pytest.mark.long] if long else [])]
    return pytest.param(process, place, marks=marks, id=f"{process} {place}")


UNACKNOWLEDGED = partial(killed_at, place="message.settle:before", what="kill -9 between commit and acknowledgement")
UNPUBLISHED = partial(killed_at, place="relay.publish:before", what="kill -9 between commit and publishing")
UNMARKED = partial(killed_at, place="relay.publish:after", what="kill -9 after publishing, before that is noted")


@pytest.mark.parametrize(
    ("process", "place"),
    [
        UNACKNOWLEDGED(2, "synthesizer"),
        UNACKNOWLEDGED(2, "budget_keeper", long=True),
        UNACKNOWLEDGED(2, "ingestor", long=True),
        UNPUBLISHED(3, "edge"),
        UNPUBLISHED(3, "synthesizer", long=True),
        UNPUBLISHED(3, "budget_keeper", long=True),
        UNPUBLISHED(3, "auditor", long=True),
        UNMARKED(4, "synthesizer"),
        UNMARKED(4, "edge", long=True),
        UNMARKED(4, "budget_keeper", long=True),
        UNMARKED(4, "auditor", long=True),
    ],
)
def test_whatever_dies_between_two_steps_the_next_run_goes_on(
    system: FaultSystem, made: Material, note: Note, process: str, place: str
) -> None:
    """Under load: nothing is lost, done twice, or told twice; after the restart the next job goes through at once."""
    victim = system.child(process)
    happened = system.arm(process, place, "kill", random.Random(SEED).randint(1, 3))
    load = Load(system, made, load_of(process), SEED + hash_of(process + place))
    eventually(happened)
    system.back(process, victim)
    note("recovery", back_at_work(system, made, process))
    note("runs", len(load.promised()))
    check(system)


def hash_of(text: str) -> int:
    """A number that stays the same from run to run."""
    return sum(text.encode())


KEEPER_STEPS = {
    "a request has come": "keeper.apply:before",
    "the entry is written": "transaction.send:before",
    "the next command is in the outbox": "keeper.handle:after",
    "all of it is committed": "keeper.apply:after",
    "it is acknowledged, and not published": "relay.publish:before",
    "it is published, and not noted": "relay.publish:after",
}


@pytest.mark.fault(5, "kill -9 of the budget keeper at each of its six steps")
@pytest.mark.parametrize("step", some(KEEPER_STEPS, "the entry is written", "all of it is committed"))
def test_a_keeper_killed_at_a_step_grants_once(system: FaultSystem, made: Material, note: Note, step: str) -> None:
    """One reservation and one charge per job, whatever was written, sent or acknowledged when it died."""
    for _ in range(scale(2, 1)):
        victim = system.child("budget_keeper")
        happened = system.arm("budget_keeper", KEEPER_STEPS[step], "kill", 1)
        jobs = [system.promise(synthesis(made.dataset)) for _ in range(scale(3, 1))]
        eventually(happened)
        system.back("budget_keeper", victim)
        began = time.monotonic()
        eventually(lambda job=jobs[0]: "reserved" in ledger(system, job))
        note("recovery", time.monotonic() - began)
        for job in jobs:
            assert system.ended(job)["state"] == "completed"
            assert ledger(system, job) == ["reserved", "charged"]
    check(system)


EDGE_STEPS = ("gateway.promise:before", "gateway.promise:after", "store.commit:after", "gateway.accept:after", "relay.publish:before")


@pytest.mark.fault(6, "kill -9 of the edge during a POST")
@pytest.mark.parametrize("place", some(EDGE_STEPS, "gateway.promise:after", "store.commit:after"))
def test_a_client_that_asks_again_under_its_key_has_one_job(system: FaultSystem, made: Material, note: Note, place: str) -> None:
    """Wherever the edge died, the same Idempotency-Key gives the same job, and there is one."""
    before = {job["id"] for job in system.jobs()}
    jobs = set()
    for n in range(scale(10, 1)):
        victim = system.child("edge")
        happened = system.arm("edge", place)
        began = time.monotonic()
        key = f"post-{place}-{n}"
        job = system.promise({"kind": "noop"}, key)
        note("recovery", time.monotonic() - began)
        assert happened()
        assert not victim.is_running()
        assert system.promise({"kind": "noop"}, key) == job
        jobs.add(job)
    check(system)
    assert {job["id"] for job in system.jobs()} - before == jobs
