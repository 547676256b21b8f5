"""A handler that raises: what passes is tried until it has, what does not a few times, and then the reason is kept."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise

import pytest
from nats.errors import NoRespondersError
from sqlalchemy import MetaData
from sqlalchemy.exc import OperationalError

from contracts import subjects
from contracts.commands import RunJob, SetBudget
from contracts.envelope import Context, Envelope
from contracts.ids import new_id
from contracts.jobs import Actor, NoopSpec
from contracts.records import DeadLetter
from infra.bus import control, retries
from infra.bus.connection import jetstream
from infra.bus.retries import MOST_ATTEMPTS, Given, Hopeless, Verdict, passes, pause
from infra.bus.runs import Delivery, RunLoop
from infra.bus.topology import ctl_durable, run_durable
from infra.database.store import Transaction
from infra.runtime import Runtime, running
from infra.settings import Settings
from tests.conftest import PATIENCE, Bus


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.02)


class Poisoned:
    """A handler that raises, and notes when it was tried."""

    def __init__(self, *errors: Exception | None) -> None:
        self._errors, self.done = list(errors), asyncio.Event()
        self.tried: list[float] = []
        self.tries: asyncio.Queue[float] = asyncio.Queue()
        self.given: list[Given] = []

    def attempt(self) -> None:
        self.tried.append(asyncio.get_running_loop().time())
        self.tries.put_nowait(self.tried[-1])
        error = self._errors.pop(0) if len(self._errors) > 1 else self._errors[0]
        if error is not None:
            raise error
        self.done.set()

    async def run(self, _delivery: Delivery) -> Verdict:
        self.attempt()
        return Verdict.DONE

    async def control(self, _envelope: Envelope) -> None:
        self.attempt()

    def give_up(self, given: Given, _tx: Transaction) -> None:
        self.given.append(given)


def serve_runs(runtime: Runtime, poisoned: Poisoned) -> None:
    """Serve the synthesizer's run durable, with one slot, until the runtime ends."""
    loop = RunLoop(runtime, run_durable(Actor.SYNTHESIZER), poisoned.run, lambda _: False, poisoned.give_up)
    runtime.keep("runs", partial(loop.run, 1))


@pytest.fixture
async def dead(bus: Bus) -> asyncio.Queue[Envelope]:
    """What comes to lie in DEAD."""
    letters: asyncio.Queue[Envelope] = asyncio.Queue()

    async def hear(message: object) -> None:
        await letters.put(Envelope.load(message.data))  # type: ignore[attr-defined]

    client = await bus.connect("provisioner")
    await client.subscribe(subjects.DEAD_ALL, cb=hear)
    await client.flush()
    return letters


async def publish(bus: Bus, envelope: Envelope) -> None:
    await jetstream(await bus.connect("edge")).publish(envelope.subject, envelope.dump(), headers={"Nats-Msg-Id": envelope.id})


def run() -> Envelope:
    return Envelope.wrap(RunJob(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")


@pytest.mark.parametrize("kind", ["run", "control"])
async def test_a_handler_that_always_fails_is_tried_a_few_times_and_given_up(bus: Bus, dead: asyncio.Queue[Envelope], kind: str) -> None:
    """Exactly so many attempts, each pause longer than the last, one copy in DEAD with the reason, and the queue is empty after it."""
    poisoned = Poisoned(LookupError("never"))
    actor = Actor.SYNTHESIZER if kind == "run" else Actor.BUDGET_KEEPER
    async with running(actor, Settings(home=bus.home.path), MetaData()) as runtime:
        if kind == "run":
            asked = run()
            serve_runs(runtime, poisoned)
        else:
            asked = Envelope.wrap(SetBudget(account=new_id("acc"), epsilon=1, delta=1), Context.new(), source="/edge")
            runtime.keep("control", partial(control.serve, runtime, {ctl_durable(actor): poisoned.control}, poisoned.give_up))
        await publish(bus, asked)
        letter = await asyncio.wait_for(dead.get(), PATIENCE)
        assert len(poisoned.tried) == MOST_ATTEMPTS
        told = letter.message
        assert isinstance(told, DeadLetter)
        assert (told.reason, told.attempts, told.stream_subject) == ("handler-failed", MOST_ATTEMPTS, asked.subject)
        assert letter.causationid == asked.id
        assert [(given.envelope, given.reason) for given in poisoned.given] == [(asked, "handler-failed")]
        assert dead.empty()


async def test_what_passes_is_tried_until_it_has_passed(bus: Bus) -> None:
    """More often than a defect would be, and nothing is counted against the message."""
    away: list[Exception | None] = [NoRespondersError(), OSError("the store is away"), OperationalError("x", None, Exception("locked"))]
    poisoned = Poisoned(*away * 3, None)
    async with running(Actor.SYNTHESIZER, Settings(home=bus.home.path), MetaData()) as runtime:
        serve_runs(runtime, poisoned)
        await publish(bus, run())
        await asyncio.wait_for(poisoned.done.wait(), PATIENCE)
        assert len(poisoned.tried) == 10 > MOST_ATTEMPTS
        assert poisoned.given == []


async def test_what_cannot_be_handled_is_not_tried_again(bus: Bus, dead: asyncio.Queue[Envelope]) -> None:
    """Input at fault: one attempt."""
    poisoned = Poisoned(Hopeless("misaddressed"))
    async with running(Actor.SYNTHESIZER, Settings(home=bus.home.path), MetaData()) as runtime:
        serve_runs(runtime, poisoned)
        await publish(bus, run())
        letter = await asyncio.wait_for(dead.get(), PATIENCE)
        assert (letter.data["reason"], letter.data["attempts"], len(poisoned.tried)) == ("misaddressed", 1, 1)


async def test_attempts_are_counted_across_restarts(bus: Bus, dead: asyncio.Queue[Envelope]) -> None:
    """The count is in the database: an actor that starts anew does not begin at one again."""
    asked, poisoned = run(), Poisoned(LookupError("never"))
    await publish(bus, asked)
    for _ in range(2):
        async with running(Actor.SYNTHESIZER, Settings(home=bus.home.path), MetaData()) as runtime:
            serve_runs(runtime, poisoned)
            await asyncio.wait_for(poisoned.tries.get(), PATIENCE)
            await asyncio.wait_for(poisoned.tries.get(), PATIENCE)
    async with running(Actor.SYNTHESIZER, Settings(home=bus.home.path), MetaData()) as runtime:
        serve_runs(runtime, poisoned)
        letter = await asyncio.wait_for(dead.get(), PATIENCE)
        # An attempt that the end of an actor overtook was not counted, and is made again.
        assert letter.data["attempts"] == MOST_ATTEMPTS <= len(poisoned.tried) <= MOST_ATTEMPTS + 2


def test_pauses_grow_and_end_somewhere() -> None:
    """Each is longer than the one before, whatever the chance in it; none is longer than the longest."""
    pauses = [pause(n) for n in range(1, 6)]
    assert all(later > earlier for earlier, later in pairwise(pauses))
    assert pause(10_000) <= retries.LONGEST_PAUSE * 1.2


def test_a_defect_does_not_pass() -> None:
    """Only what is away comes back."""
    assert not any(passes(error) for error in (ValueError(), LookupError(), TypeError(), KeyError()))
    assert all(passes(error) for error in (TimeoutError(), ConnectionResetError(), NoRespondersError(), OSError("disk")))
