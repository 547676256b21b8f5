"""Events that are sent again after a loss come in another interleaving: each part's own order is kept, and the views say the same."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.views.fold import ENDS
from api.views.projector import Fold
from api.views.queries import Views
from api.views.tables import FOLDED
from contracts import events as e
from contracts import subjects
from contracts.envelope import Envelope
from infra.bus.tail import Stored

PLACES = {"sequence", "accepted", "profiled_at", "declared_at"}
"""Columns that say where in its stream something was: of these nothing is promised but their order."""
EXECUTED: tuple[type[e.Event], ...] = (e.JobStarted, e.MechanismStarted, e.DatasetVersionAdded, e.DatasetProfiled, *ENDS)


def outboxes(held: list[Stored]) -> list[list[Stored]]:
    """Messages by whose outbox they come from, in the order of each. An executor's are in order; so are the edge's and the keeper's."""
    by_part: defaultdict[str, list[Stored]] = defaultdict(list)
    for stored in held:
        message = Envelope.load(stored.body).message
        part = "executor" if isinstance(message, EXECUTED) else "keeper" if isinstance(message, e.LedgerEvent) else "edge"
        by_part[part].append(stored)
    return list(by_part.values())


def interleaved(held: list[Stored], chance: random.Random) -> Iterator[Stored]:
    """The same messages, as several relays may send them again."""
    waiting = [list(reversed(outbox)) for outbox in outboxes(held)]
    sequence = 0
    while waiting:
        outbox = chance.choice(waiting)
        stored, sequence = outbox.pop(), sequence + 1
        yield Stored(sequence, stored.message_id, stored.body)
        waiting = [each for each in waiting if each]


async def rows(views: Views) -> dict[str, list[Any]]:
    """What the views say, places left out."""
    found = {}
    for name in FOLDED[subjects.EVENTS]:
        columns = [column for column in views.tables[name].columns if column.name not in PLACES]
        found[name] = sorted((tuple(row) for row in await views.all(select(*columns))), key=repr)
    return found


@pytest.mark.parametrize("seed", range(12))
async def test_any_interleaving_gives_the_same_rows(views: Views, full_story: Any, tmp_path: Path, seed: int) -> None:
    """Started before accepted, ended before reserved: once all is here, it is as it was."""
    held = full_story.messages[subjects.EVENTS]
    fold = Fold(views.tables, subjects.EVENTS)
    await views.write(lambda tx: fold.apply(held, tx.connection))
    expected = await rows(views)
    await views.wipe(subjects.EVENTS)
    again = list(interleaved(held, random.Random(seed)))
    assert [stored.message_id for stored in again] != [stored.message_id for stored in held]
    for n in range(0, len(again), 7):
        batch = again[n : n + 7]
        await views.write(lambda tx, batch=batch: fold.apply(batch, tx.connection))  # type: ignore[misc]
    assert await rows(views) == expected
