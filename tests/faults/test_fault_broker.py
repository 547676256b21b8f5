"""The broker killed, stopped, gone for long, parted from an actor: what it has acknowledged is there, and all find back by themselves."""

from __future__ import annotations

import random
import signal
import time

import httpx
import pytest

from contracts import subjects
from fault_invariant import Streams, check
from fault_load import Load, Material, Mix, back_at_work, synthesis
from fault_scale import SEED, Note, scale, some
from fault_system import FaultSystem
from infra.supervisor import ENTRIES
from running_system import eventually

NOOP = {"kind": "noop"}


def processes(system: FaultSystem) -> dict[str, int]:
    return {name: system.child(name).pid for name in ENTRIES}


def require_stored(system: FaultSystem, streams: Streams) -> None:
    """Whatever a database notes as acknowledged is in the stream, in that very place."""
    held = {message.sequence: message.message_id for message in streams[subjects.EVENTS]}
    for database in system.databases():
        query = "select sequence, message_id from outbox where sequence is not null and subject like 'halftone.evt.%'"
        noted = system.rows(database, query)
        assert [(sequence, held.get(sequence)) for sequence, _ in noted] == noted


@pytest.mark.fault(7, "kill -9 of the broker, again and again, under load")
def test_a_killed_broker_loses_nothing_that_it_acknowledged(system: FaultSystem, made: Material, note: Note) -> None:
    """Everybody finds it again, and no actor is started anew."""
    before = processes(system)
    load = Load(system, made, Mix(noop=scale(400, 40), ingest=scale(4, 1)), SEED)
    rng = random.Random(SEED)
    for n in range(scale(5, 2)):
        (broker,) = system.brokers()
        eventually(lambda n=n: load.under_way() > n * 5)
        time.sleep(rng.uniform(0, 0.2))  # the moment is what is random
        broker.kill()
        # The supervisor starts it again after half a second, and later each time.
        eventually(lambda broker=broker: broker not in (brokers := system.brokers()) and brokers)
        began = time.monotonic()
        system.probe()
        note("recovery", time.monotonic() - began)
    note("runs", len(load.promised()))
    require_stored(system, check(system))
    assert processes(system) == before


@pytest.mark.fault(8, "SIGSTOP of the broker for 20 s, then SIGCONT")
def test_a_broker_that_says_nothing_is_told_to_clients_and_waited_for(system: FaultSystem, made: Material, note: Note) -> None:
    """Nothing hangs: a promise is kept though the broker is silent, and soon none is made; all of it is done afterwards."""
    (broker,) = system.brokers()
    broker.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    statuses, slowest = set[int](), 0.0
    # Until it is known to be silent (a publish waits for five seconds), and for as long as the fault says.
    while 503 not in statuses or time.monotonic() - stopped < scale(20, 0):
        asked = time.monotonic()
        answer = system.http.post("/v1/jobs", json=NOOP)
        slowest = max(slowest, time.monotonic() - asked)
        statuses.add(answer.status_code)
        if answer.status_code == 202:
            system.accepted.add(answer.json()["id"])
        else:
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "bus-away", "1")
        assert time.monotonic() - stopped < 60
    assert statuses <= {202, 503}
    note("slowest answer", slowest)
    assert system.http.get("/health/ready").status_code == 503
    broker.send_signal(signal.SIGCONT)
    began = time.monotonic()
    system.probe()
    note("recovery", time.monotonic() - began)
    check(system)


@pytest.mark.fault(9, "no broker for 5 minutes")
def test_a_broker_that_was_away_for_long_is_found_again(system: FaultSystem, made: Material, note: Note) -> None:
    """Nobody gives up: far more attempts than a client makes by default, and then everything is as before, without a restart."""
    before = processes(system)
    system.proxy.refuse()
    gone = time.monotonic()
    eventually(lambda: system.http.post("/v1/jobs", json=NOOP).status_code == 503)
    eventually(lambda: system.proxy.refused > scale(600, 50) and time.monotonic() - gone > scale(300, 0), 400)
    system.proxy.accept()
    began = time.monotonic()
    system.probe()
    note("recovery", time.monotonic() - began)
    job = system.promise(synthesis(made.dataset))
    assert system.ended(job)["state"] == "completed"
    check(system)
    assert processes(system) == before


@pytest.mark.fault("partition", "an actor parted from the broker")
@pytest.mark.parametrize("actor", some(("synthesizer", "budget_keeper", "auditor", "edge"), "synthesizer"))
def test_an_actor_that_is_parted_from_the_broker_goes_on_where_it_was(system: FaultSystem, made: Material, note: Note, actor: str) -> None:
    """What it is given twice meanwhile is done once."""
    load = Load(system, made, Mix(noop=scale(200, 20), synthesize=2 if actor == "budget_keeper" else 0), SEED + len(actor))
    eventually(lambda: load.under_way() > 5)
    system.proxy.hold(actor)
    parted = time.monotonic()
    # Longer than the broker waits for an acknowledgement: what was under way is delivered again.
    eventually(lambda: time.monotonic() - parted > scale(20, 5))
    system.proxy.release()
    note("recovery", back_at_work(system, made, actor))
    note("runs", len(load.promised()))
    check(system)


@pytest.mark.fault("cuts", "connections to the broker cut every moment, traffic delayed")
def test_connections_that_break_all_the_time_lose_nothing(system: FaultSystem, made: Material, note: Note) -> None:
    """In the middle of whatever passes, of any actor, under load."""
    rng = random.Random(SEED)
    system.proxy.delay(0.005)
    load = Load(system, made, Mix(noop=scale(200, 30), synthesize=scale(4, 0)), SEED + 77)
    for n in range(scale(30, 5)):
        eventually(lambda n=n: load.under_way() >= min(n, 25))
        system.proxy.cut(rng.choice([*ENTRIES]))
        time.sleep(rng.uniform(0, 0.2))  # the moment is what is random
    note("runs", len(load.promised()))
    system.proxy.calm()
    check(system)


def test_the_edge_answers_while_no_broker_is_there(system: FaultSystem, made: Material) -> None:
    """What needs none is served, what does is refused at once, and readiness says why."""
    system.proxy.refuse()
    refused: httpx.Response = eventually(lambda: (answer := system.http.post("/v1/jobs", json=NOOP)).status_code == 503 and answer)
    assert refused.json()["code"] == "bus-away"
    assert system.get(f"/v1/datasets/{made.dataset}")["id"] == made.dataset
    assert system.http.get("/health/ready").json()["reasons"] == ["the broker is away"]
    assert system.http.get("/health/live").status_code == 200
