"""Jobs tried again, found by when and where they were asked for, and what they wrote down."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from contracts import subjects
from contracts.cost import Cost
from contracts.events import JobAccepted, JobCancelled, JobCompleted, JobFailed, JobRefused, JobStarted
from contracts.ids import DEFAULT_PROJECT, new_id
from contracts.jobs import Output

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ended(system: Any, event: Any) -> None:
    """Tell of a job's end, and wait until it is seen."""
    sequence = await system.say(event)
    assert (await system.http.get(f"/v1/jobs/{event.job}?min_seq={sequence}")).json()["ended"]


async def refused(system: Any) -> tuple[str, dict[str, Any]]:
    """A synthesis that the budget did not pay for, and its dataset's id."""
    real = await system.ready()
    body = {"kind": "synthesize", "dataset": real, "epsilon": 1.0, "rows": 7, "seed": 3, "name": "a copy"}
    job = (await system.http.post("/v1/jobs", json=body)).json()
    account = (await system.http.get(f"/v1/datasets/{real}")).json()["account"]
    await ended(system, JobRefused(job=job["id"], code="budget-exhausted", account=account, asked=Cost(rho=9), left=Cost(rho=2)))
    return real, job


@pytest.mark.parametrize("end", [JobFailed, JobCancelled])
async def test_a_job_that_did_not_end_well_is_tried_again(system: Any, end: Any) -> None:
    """A new job of the same kind, which names the one that it tries again, on the bus too."""
    job = (await system.noop())["id"]
    await ended(system, end(job=job, attempt=1, **({"code": "worker-lost"} if end is JobFailed else {})))
    answer = await system.http.post(f"/v1/jobs/{job}:retry")
    assert answer.status_code == 202, answer.text
    again = answer.json()["id"]
    assert again != job
    seen = (await system.http.get(f"/v1/jobs/{again}")).json()
    assert (seen["kind"], seen["state"], seen["retry_of"]) == ("noop", "queued", job)
    (event,) = [e for e in await system.stored(subjects.EVENTS, again) if isinstance(e.message, JobAccepted)]
    assert event.message.retry_of == job
    assert len(await system.sent(again)) == 1


async def test_a_refused_synthesis_is_tried_again_into_a_dataset_of_its_own(system: Any) -> None:
    """All else is as it was asked for: rows, seed, cost, and what the dataset is called."""
    real, job = await refused(system)
    again = (await system.http.post(f"/v1/jobs/{job['id']}:retry")).json()
    before, after = [(await system.http.get(f"/v1/jobs/{one['id']}")).json()["spec"] for one in (job, again)]
    assert after["target"] != before["target"]
    assert {**after, "target": None} == {**before, "target": None}
    made = (await system.http.get(again["links"]["dataset"])).json()
    assert (made["id"], made["name"], made["parents"], made["state"]) == (after["target"], "a copy", [real], "ingesting")
    (command,) = await system.sent(again["id"])
    assert command.message.step == "measure"


async def test_a_job_that_runs_or_is_done_is_not_tried_again(system: Any) -> None:
    """409 with the state that it is in; nothing new is promised."""
    waiting, running, done = [(await system.noop())["id"] for _ in range(3)]
    sequence = await system.say(JobStarted(job=running, attempt=1))
    await system.http.get(f"/v1/jobs/{running}?min_seq={sequence}")
    await ended(system, JobCompleted(job=done, attempt=1))
    for job, state in ((waiting, "queued"), (running, "running"), (done, "completed")):
        problem = await system.problem(await system.http.post(f"/v1/jobs/{job}:retry"), 409, "not-retryable")
        assert (problem["id"], problem["state"]) == (job, state)


async def test_the_same_key_tries_again_once(system: Any) -> None:
    """A client that heard no answer asks again under its key, and there is one new job; without one there are two."""
    job = (await system.noop())["id"]
    await ended(system, JobCancelled(job=job, attempt=0))
    headers = {"Idempotency-Key": new_id("key")}
    keyed = [(await system.http.post(f"/v1/jobs/{job}:retry", headers=headers)).json()["id"] for _ in range(2)]
    plain = (await system.http.post(f"/v1/jobs/{job}:retry")).json()["id"]
    assert keyed[0] == keyed[1] != plain


async def test_an_upload_that_failed_must_be_sent_again(system: Any) -> None:
    """Its bytes are not kept; a new profile of stored rows needs none, and is tried again."""
    answer = await system.upload()
    await ended(system, JobFailed(job=answer["job"], attempt=1, code="row-ragged"))
    problem = await system.problem(await system.http.post(f"/v1/jobs/{answer['job']}:retry"), 409, "source-gone")
    assert problem["dataset"] == answer["dataset"]
    dataset = await system.ready(attested=False)
    schema = (await system.http.get(f"/v1/datasets/{dataset}/schema")).json()
    profiling = (await system.http.put(f"/v1/datasets/{dataset}/schema", json=schema)).json()["job"]
    await ended(system, JobFailed(job=profiling, attempt=1, code="worker-lost"))
    again = (await system.http.post(f"/v1/jobs/{profiling}:retry")).json()["id"]
    specs = [(await system.http.get(f"/v1/jobs/{job}")).json()["spec"] for job in (profiling, again)]
    assert specs[0] == specs[1]


@pytest.mark.parametrize("target", ["job_" + "0" * 32 + ":retry", "nonsense:retry", ":retry", "job_" + "0" * 32 + ":again"])
async def test_what_is_no_job_or_no_verb_is_not_found(system: Any, target: str) -> None:
    """The answer says which verbs there are, or that there is no such job."""
    await system.problem(await system.http.post(f"/v1/jobs/{target}"), 404, "not-found")


async def test_jobs_are_found_by_project_and_time(system: Any) -> None:
    """``since`` holds the moment itself, ``until`` does not; a time without a zone is in UTC; filters hold together."""
    jobs = [(await system.noop())["id"] for _ in range(3)]
    created = [(await system.http.get(f"/v1/jobs/{job}")).json()["created"] for job in jobs]

    async def found(**query: str) -> set[str]:
        answer = await system.http.get("/v1/jobs", params={"project": DEFAULT_PROJECT, **query})
        assert answer.status_code == 200, answer.text
        return {job["id"] for job in answer.json()["items"]} & set(jobs)

    def those(keep: Any) -> set[str]:
        return {job for job, at in zip(jobs, created, strict=True) if keep(at)}

    middle = created[1]
    assert await found() == set(jobs)
    assert await found(since=middle) == those(lambda at: at >= middle)
    assert await found(until=middle) == those(lambda at: at < middle)
    assert await found(since=middle.removesuffix("Z")) == await found(since=middle)
    elsewhere = dt.datetime.fromisoformat(middle).astimezone(dt.timezone(dt.timedelta(hours=9))).isoformat()
    assert await found(since=elsewhere, kind="noop") == await found(since=middle)
    later = (dt.datetime.fromisoformat(created[2]) + dt.timedelta(microseconds=1)).isoformat()
    assert await found(since=later) == set()
    assert await found(until=later) == set(jobs)
    assert await found(state="failed") == set()


@pytest.mark.parametrize(
    ("name", "value"), [("since", "yesterday"), ("until", "2026-13-01T00:00:00Z"), ("since", "0001-01-01T00:00:00+10:00")]
)
async def test_a_time_that_is_none_is_refused(system: Any, name: str, value: str) -> None:
    """422, which names the parameter."""
    problem = await system.problem(await system.http.get("/v1/jobs", params={name: value}), 422, "request-invalid")
    assert problem["parameter"] == name


async def test_a_completed_job_shows_its_log_if_it_has_one(system: Any) -> None:
    """What a worker wrote down is shown; where nothing was, or it is gone, the answer says so."""
    logged, bare, gone = [(await system.noop())["id"] for _ in range(3)]
    log = system.objects.put(new_id("obj"), b"drawn in 3 s", "text/plain", ".log")
    await ended(system, JobCompleted(job=logged, attempt=1, outputs=(Output(role="log", object=log),)))
    await ended(system, JobCompleted(job=bare, attempt=1))
    await ended(system, JobCompleted(job=gone, attempt=1, outputs=(Output(role="log", object=new_id("obj")),)))
    links = (await system.http.get(f"/v1/jobs/{logged}")).json()["links"]
    assert (await system.http.get(links["log"])).text == "drawn in 3 s"
    assert "log" not in (await system.http.get(f"/v1/jobs/{bare}")).json()["links"]
    problem = await system.problem(await system.http.get(f"/v1/jobs/{bare}/log"), 404, "not-found")
    assert "completed" in problem["detail"]
    await system.problem(await system.http.get(f"/v1/jobs/{gone}/log"), 404, "not-found")
