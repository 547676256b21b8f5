"""A ledger that was put back from an older copy grants nothing: the keeper does not start."""

from __future__ import annotations

import shutil

import pytest

from contracts.commands import SetBudget
from contracts.envelope import Context, Envelope
from contracts.events import BudgetLimited
from contracts.ids import new_id
from infra.bus.connection import jetstream
from infra.parts import Part, StartFailed
from infra.settings import Settings
from tests.conftest import Bus, Heard

KEEPER = "budget_keeper"


async def limited(bus: Bus, heard: Heard, account: str) -> None:
    """Have the keeper write something into its ledger, and tell of it."""
    asked = Envelope.wrap(SetBudget(account=account, epsilon=10**9, delta=10**9), Context.new(), source="/edge")
    await jetstream(await bus.connect("edge")).publish(asked.subject, asked.dump(), headers={"Nats-Msg-Id": asked.id})
    await heard.until(BudgetLimited, account=account)


async def test_a_keeper_with_an_older_ledger_does_not_start(bus: Bus, heard: Heard) -> None:
    """Neither with a copy made before its last entry nor with an empty one; with its own, and with a newer one than the stream, it does."""
    settings, home = Settings(home=bus.home.path), bus.home
    keeper = Part(KEEPER, settings)
    await keeper.start()
    await limited(bus, heard, new_id("acc"))
    await keeper.stop()
    shutil.copytree(home.databases, home.path / "older")
    keeper = Part(KEEPER, settings)
    await keeper.start()
    await limited(bus, heard, new_id("acc"))
    await keeper.stop()
    home.databases.rename(home.path / "newest")

    (home.path / "older").rename(home.databases)
    with pytest.raises(StartFailed, match="was put back from an older copy"):
        await Part(KEEPER, settings).start()
    shutil.rmtree(home.databases)
    home.databases.mkdir()
    with pytest.raises(StartFailed, match="does not know event"):
        await Part(KEEPER, settings).start()
    shutil.rmtree(home.databases)
    (home.path / "newest").rename(home.databases)
    again = Part(KEEPER, settings)
    await again.start()
    await again.stop()
