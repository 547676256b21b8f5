"""Figures across what an edge may lose: its view, and its broker."""

from __future__ import annotations

from typing import Any

import pytest

from api import figures as figures_module
from edge_figures import figures, run_thrice, until


async def test_what_a_view_is_rebuilt_from_is_not_counted_again(fresh: Any) -> None:
    """It happened before: a scraper would take it for what happens now."""
    job = await run_thrice(fresh)
    await fresh.stop()
    held = list(fresh.home.databases.glob("views*"))
    assert held
    for path in held:
        path.unlink()
    await fresh.start()
    seen = await until(fresh, lambda seen: seen.get(("halftone_jobs", ("noop", "failed"))) == 1)
    assert (await fresh.http.get(f"/v1/jobs/{job}")).json()["state"] == "failed"
    counted = {key: value for key, value in seen.items() if key[0].startswith(("halftone_job_", "halftone_budget")) and value}
    assert {key for key in counted if not key[0].endswith("_created")} == set()


async def test_of_queues_nothing_is_told_while_the_broker_is_away(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure of before would be taken for one of now."""
    monkeypatch.setattr(figures_module, "ASK_EVERY", 0.0)
    assert ("halftone_queue_waiting", ("synthesizer-run",)) in await figures(fresh)
    fresh.broker.process.kill()
    await fresh.broker.process.wait()
    seen = await until(fresh, lambda seen: seen["halftone_bus_connected", ()] == 0)
    assert not any(name.startswith("halftone_queue_") for name, _ in seen)
    await fresh.broker.start()
    await until(fresh, lambda seen: ("halftone_queue_waiting", ("synthesizer-run",)) in seen)
