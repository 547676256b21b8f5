"""ETags: an answer that a client has is not sent again, and one that changed is."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from contracts.events import JobCompleted, JobStarted

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_what_a_client_has_is_not_sent_again(system: Any) -> None:
    """304 without a body for a job, a dataset, a budget and a schema, however the tag is written; and 200 under another tag."""
    dataset = await system.ready()
    job = (await system.http.get(f"/v1/datasets/{dataset}")).json()["job"]
    for path in (f"/v1/jobs/{job}", f"/v1/datasets/{dataset}", f"/v1/budgets/{dataset}", f"/v1/datasets/{dataset}/schema"):
        first = await system.http.get(path)
        tag = first.headers["etag"]
        for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await system.http.get(path, headers={"If-None-Match": held})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), (path, held)
        for other in ('"other"', "nonsense", ""):
            assert (await system.http.get(path, headers={"If-None-Match": other})).json() == first.json()


async def test_a_tag_changes_with_what_is_answered(system: Any) -> None:
    """A job's with its events, a dataset's with its name: which no event tells of."""
    job = (await system.noop())["id"]
    tags = [(await system.http.get(f"/v1/jobs/{job}")).headers["etag"]]
    for event in (JobStarted(job=job, attempt=1), JobCompleted(job=job, attempt=1)):
        sequence = await system.say(event)
        seen = await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}", headers={"If-None-Match": tags[-1]})
        assert seen.status_code == 200
        tags.append(seen.headers["etag"])
    assert len(set(tags)) == 3
    path = f"/v1/datasets/{(await system.upload())['dataset']}"
    before = (await system.http.get(path)).headers["etag"]
    await system.http.patch(path, json={"name": "another"})
    assert (await system.http.get(path, headers={"If-None-Match": before})).json()["name"] == "another"


async def test_a_tag_is_good_for_those_who_see_the_same(system: Any) -> None:
    """What somebody without the right to raw data has seen is not taken for the whole, and caches are told so."""
    dataset = await system.ready()
    path = f"/v1/datasets/{dataset}"
    token = (await system.http.post("/v1/tokens", json={"name": "x", "role": "reader"})).json()["token"]
    async with httpx.AsyncClient(base_url=system.http.base_url, headers={"Authorization": f"Bearer {token}"}) as reader:
        seen = await reader.get(path)
    assert (seen.headers["vary"], seen.headers["cache-control"]) == ("Authorization", "private, no-cache")
    assert (await system.http.get(path, headers={"If-None-Match": seen.headers["etag"]})).status_code == 200


async def test_a_dataset_can_be_waited_for(system: Any) -> None:
    """``Prefer: wait=N`` answers when the rows are there; in vain, it answers with what there is."""
    registered = await system.upload()
    path = f"/v1/datasets/{registered['dataset']}"
    in_vain = await system.http.get(path, headers={"Prefer": "wait=0"})
    assert (in_vain.json()["state"], in_vain.headers["preference-applied"]) == ("ingesting", "wait=0")
    waiting = asyncio.create_task(system.http.get(path, headers={"Prefer": "wait=15"}))
    await system.http.get("/health/live")
    await system.ingest(registered["dataset"], registered["job"])
    assert (await waiting).json()["state"] == "ready"
