"""What the edge tells of jobs, queues and processes: from events, from the broker, and from what actors say of themselves."""

from __future__ import annotations

import math
import secrets
from typing import Any

import pytest

from api import figures as figures_module
from api.figures import COARSE, coarse
from contracts import subjects
from contracts.cost import NOTHING, Cost
from contracts.events import BudgetRefused
from contracts.ids import new_id
from contracts.jobs import Actor
from contracts.records import Vitals
from edge_figures import figures, run_thrice, until
from infra.bus.topology import run_durable
from tests.conftest import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker is asked each time."""
    monkeypatch.setattr(figures_module, "ASK_EVERY", 0.0)


async def test_a_job_is_counted_when_it_is_seen_tried_again_and_ended(system: Any) -> None:
    """Once each, by its kind."""
    before = await figures(system)
    await run_thrice(system)
    seen = await figures(system)

    def more(*key: Any) -> float:
        return seen[key] - before.get(key, 0)

    assert more("halftone_job_visible_seconds_count", ("noop",)) == 1
    assert more("halftone_job_retries_total", ("noop",)) == 2
    assert more("halftone_job_seconds_count", ("failed", "noop")) == 1
    assert 0 <= more("halftone_job_seconds_sum", ("failed", "noop")) < PATIENCE


async def test_a_refusal_is_counted_by_its_code(system: Any) -> None:
    """Whatever the job was."""
    left = {"spent": NOTHING, "reserved": NOTHING, "left": NOTHING, "cost": Cost(rho=5)}
    code = "budget-delta-exhausted"
    refused = BudgetRefused(account=new_id("acc"), entry=1, job=new_id("job"), step="measure", attempt=1, code=code, **left)
    await system.say(refused)
    seen = await until(system, lambda seen: ("halftone_budget_refusals_total", (code,)) in seen)
    assert seen["halftone_budget_refusals_total", (code,)] == 1


def vitals(actor: Actor, instance: str, **more: Any) -> Vitals:
    return Vitals(actor=actor, instance=instance, **{"outbox_waiting": 0, "tasks_failing": 0, **more})


async def say(system: Any, *heard: Vitals) -> None:
    for each in heard:
        await system.bus.publish(subjects.vitals(each.actor), each.model_dump_json().encode())
    await system.bus.flush()


async def test_processes_of_an_actor_are_summed_up(system: Any) -> None:
    """What waits and fails is there in each of them; what they count goes on from where it was."""
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    actor = Actor.EVALUATOR
    await say(system, vitals(actor, first, outbox_waiting=3, workers_started=5), vitals(actor, second, outbox_waiting=4, tasks_failing=1))
    await say(system, vitals(actor, first, outbox_waiting=2, workers_started=7, workers_lost=1))
    seen = await until(system, lambda seen: seen.get(("halftone_workers_started_total", (actor,))) == 7)
    assert seen["halftone_processes", (actor,)] == 2
    assert seen["halftone_outbox_waiting", (actor,)] == 6
    assert seen["halftone_tasks_failing", (actor,)] == 1
    assert seen["halftone_workers_lost_total", (actor,)] == 1
    assert seen["halftone_process_restarts_total", (actor,)] == 1


async def test_of_a_process_that_is_silent_nothing_is_told(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is gone, or cut off; what it had counted stays counted, and the one that follows begins anew."""
    actor = Actor.AUDITOR
    await say(system, vitals(actor, secrets.token_hex(8), behind=40, workers_started=2))
    seen = await until(system, lambda seen: seen["halftone_processes", (actor,)] == 1)
    assert seen["halftone_audit_lag_events", ()] == 40
    with monkeypatch.context() as patch:
        patch.setattr(figures_module, "SILENT_SECONDS", 0.0)
        seen = await figures(system)
    assert seen["halftone_processes", (actor,)] == 0
    assert math.isnan(seen["halftone_audit_lag_events", ()])
    await say(system, vitals(actor, secrets.token_hex(8), behind=7, workers_started=1))
    seen = await until(system, lambda seen: seen["halftone_processes", (actor,)] == 1)
    assert seen["halftone_workers_started_total", (actor,)] == 3
    assert seen["halftone_process_restarts_total", (actor,)] == 1
    assert seen["halftone_audit_lag_events", ()] == 7


async def test_what_is_no_vitals_is_passed_over(system: Any) -> None:
    """And what comes after it is heard."""
    await system.bus.publish(subjects.vitals(Actor.INGESTOR), b"{}")
    await say(system, vitals(Actor.INGESTOR, secrets.token_hex(8)))
    await until(system, lambda seen: seen["halftone_processes", (Actor.INGESTOR,)] == 1)


async def test_a_queue_is_as_long_as_the_broker_says(system: Any) -> None:
    """There is no executor here: what is asked for waits."""
    durable = run_durable(Actor.SYNTHESIZER).name
    before = (await figures(system))["halftone_queue_waiting", (durable,)]
    await system.sent((await system.noop())["id"])
    seen = await figures(system)
    assert seen["halftone_queue_waiting", (durable,)] == before + 1
    assert seen["halftone_queue_in_flight", (durable,)] == 0


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1.0), (1.0, 1.0), (1.001, 5.0), (59.0, 60.0), (7200.0, 7200.0), (1e6, 14400.0)])
async def test_times_of_jobs_that_read_real_data_are_rounded_up(seconds: float, told: float) -> None:
    """To one of few, so that no sum of them tells more than which."""
    assert coarse(seconds) == told
    assert coarse(coarse(seconds)) in {told, COARSE[-1] * 2}
