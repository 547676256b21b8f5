"""The figures of an edge, as a scraper reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from contracts.events import JobFailed, JobStarted

PATIENCE = 30.0
Seen = dict[tuple[str, tuple[str, ...]], float]


async def figures(system: Any) -> Seen:
    """Every sample, by its name and its labels' values."""
    text = (await system.http.get("/metrics")).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


async def until(system: Any, so: Callable[[Seen], bool]) -> Seen:
    """The figures once they are so."""
    async with asyncio.timeout(PATIENCE):
        while not so(seen := await figures(system)):  # noqa: ASYNC110  # a scraper polls
            await asyncio.sleep(0.02)
    return seen


async def run_thrice(system: Any) -> str:
    """A job that ends badly at its third attempt."""
    job = (await system.noop())["id"]
    for attempt in (1, 2, 3):
        await system.say(JobStarted(job=job, attempt=attempt))
    sequence = await system.say(JobFailed(job=job, attempt=3, code="worker-lost"))
    await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")
    return str(job)
