"""What the budget keeper can make nothing of: kept in DEAD, and nobody waits for it."""

from __future__ import annotations

import asyncio

import pytest

from actors import budget_keeper
from contracts import subjects
from contracts.commands import ReserveBudget, RunJob, SetBudget
from contracts.cost import Cost
from contracts.envelope import Context, Envelope
from contracts.events import BudgetLimited, MechanismStarted
from contracts.ids import new_id
from contracts.jobs import NoopSpec, Use
from contracts.records import DeadLetter
from infra.bus import retries
from infra.bus.connection import jetstream
from infra.settings import Settings
from tests.conftest import PATIENCE, Bus, Heard, Keep


async def test_poison_is_kept_and_what_follows_is_done(bus: Bus, heard: Heard, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start without a reservation, and a request whose run is another job's: both in DEAD; neither charges, nor holds the next up."""
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.02)
    letters: asyncio.Queue[Envelope] = asyncio.Queue()

    async def hear(message: object) -> None:
        await letters.put(Envelope.load(message.data))  # type: ignore[attr-defined]

    await (await bus.connect("provisioner")).subscribe(subjects.DEAD_ALL, cb=hear)
    edge = jetstream(await bus.connect("provisioner"))
    account, job = new_id("acc"), new_id("job")
    started = MechanismStarted(job=job, step="measure", attempt=1, account=account)
    then = RunJob(job=new_id("job"), spec=NoopSpec())
    other = ReserveBudget(account=account, job=job, step="measure", use=Use.CHARGE, cost=Cost(rho=1), then=then)
    limit = SetBudget(account=account, epsilon=1, delta=10**9)
    for message in (started, other, limit):
        envelope = Envelope.wrap(message, Context.new(), source="/edge")
        await edge.publish(envelope.subject, envelope.dump(), headers={"Nats-Msg-Id": envelope.id})
    serving = keep(budget_keeper.run(Settings(home=bus.home.path)))
    told = [(await asyncio.wait_for(letters.get(), PATIENCE)).message for _ in range(2)]
    reasons = {letter.reason for letter in told if isinstance(letter, DeadLetter)}
    assert reasons == {"request-of-another", "handler-failed"}
    (limited,) = await heard.until(BudgetLimited, account=account)
    assert (limited.spent, limited.reserved) == (Cost(rho=0), Cost(rho=0))
    assert heard.of(MechanismStarted) == [started]
    assert not serving.done()
