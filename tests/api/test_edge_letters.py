"""Dead letters over HTTP, from the client and on the command line: listed, looked at, replayed once, discarded."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.policy import Role
from contracts import subjects
from contracts.commands import RunJob
from contracts.envelope import Context, Envelope
from contracts.events import JobAccepted, JobFailed, LetterSettled
from contracts.ids import JobId, MessageId, new_message_id
from contracts.jobs import NoopSpec
from contracts.records import DeadLetter
from halftone.client import Conflict, Halftone
from infra.cli import app
from tests.api.conftest import TOKEN, System, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def bury(system: System, job: JobId | None, body: bytes = b"no message") -> MessageId:
    """Give a message up, as an executor does; with a job, its command, whose job has failed."""
    if job is not None:
        body = Envelope.wrap(RunJob(job=job, spec=NoopSpec()), Context.new(), source="/edge").dump()
        await system.say(JobFailed(job=job, attempt=0, code="handler-failed"))
    subject = f"halftone.cmd.synthesizer.run.{job}" if job else "halftone.evt.mechanism.x.started"
    letter, message_id = (
        DeadLetter(reason="handler-failed", attempts=5, stream_subject=subject, body=base64.b64encode(body).decode()),
        new_message_id(),
    )
    await system.say(letter, message_id)

    async def listed() -> bool:
        return (await system.http.get(f"/v1/dead-letters/{message_id}")).status_code == 200

    await eventually(listed)
    return message_id


async def test_a_letter_is_listed_and_shown_with_its_message(system: System) -> None:
    """Lists leave the message out; one that cannot be read is shown as it came."""
    job = (await system.noop())["id"]
    letter, other = await bury(system, job), await bury(system, None)
    page = (await system.http.get("/v1/dead-letters?settled=false&limit=2")).json()
    assert [item["id"] for item in page["items"]] == [other, letter]
    (item,) = (each for each in page["items"] if each["id"] == letter)
    told = (item["reason"], item["attempts"], item["job"], item["type"], item["settled"], item["message"])
    assert told == ("handler-failed", 5, job, RunJob.TYPE, None, None)
    following = (await system.http.get(f"/v1/dead-letters?limit=1&cursor={other}")).json()
    assert following["items"][0]["id"] == letter
    assert (await system.http.get(f"/v1/dead-letters/{letter}")).json()["message"]["data"]["job"] == job
    shown = (await system.http.get(f"/v1/dead-letters/{other}")).json()
    assert (shown["message"], base64.b64decode(shown["body"])) == (None, b"no message")


async def test_a_letter_is_replayed_once_as_a_new_job(system: System) -> None:
    """The new job names the one that failed; the letter names the new job, and cannot be replayed or discarded after that."""
    job = (await system.noop())["id"]
    letter = await bury(system, job)
    answers = await asyncio.gather(*(system.http.post(f"/v1/dead-letters/{letter}:replay") for _ in range(5)))
    (made,) = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    for answer in answers:
        if answer.status_code != 202:
            await system.problem(answer, 409, "not-replayable")
    view = (await system.http.get(f"/v1/jobs/{made}")).json()
    assert (view["retry_of"], view["kind"]) == (job, "noop")
    for verb in ("discard", "discard"):
        settled = (await system.http.post(f"/v1/dead-letters/{letter}:{verb}")).json()
        assert (settled["settled"], settled["replayed_as"]) == ("replayed", made)
    told = [envelope.message for envelope in await system.stored(subjects.EVENTS, letter)]
    assert [type(event) for event in told] == [LetterSettled]
    accepted = [envelope.message for envelope in await system.stored(subjects.EVENTS, job)]
    assert [event.job for event in accepted if isinstance(event, JobAccepted)] == [job, made]


async def test_a_letter_is_discarded_and_stays_listed(system: System) -> None:
    """Again changes nothing; it waits no more, and is not replayed."""
    letter = await bury(system, (await system.noop())["id"])
    for _ in range(2):
        answer = await system.http.post(f"/v1/dead-letters/{letter}:discard")
        assert (answer.status_code, answer.json()["settled"]) == (200, "discarded")
    assert len([e for e in await system.stored(subjects.EVENTS, letter) if isinstance(e.message, LetterSettled)]) == 1
    await system.problem(await system.http.post(f"/v1/dead-letters/{letter}:replay"), 409, "not-replayable")
    waiting = (await system.http.get("/v1/dead-letters?settled=false")).json()["items"]
    settled = (await system.http.get("/v1/dead-letters?settled=true")).json()["items"]
    assert letter not in {item["id"] for item in waiting}
    assert letter in {item["id"] for item in settled}


async def test_what_cannot_be_replayed_is_refused_with_the_reason(system: System) -> None:
    """A letter about no job, one whose job has not failed, one that there is not, and a verb that there is not."""
    bare = await bury(system, None)
    await system.problem(await system.http.post(f"/v1/dead-letters/{bare}:replay"), 409, "not-replayable")
    going = (await system.noop())["id"]
    body = Envelope.wrap(RunJob(job=going, spec=NoopSpec()), Context.new(), source="/edge").dump()
    await system.problem(await system.http.post(f"/v1/dead-letters/{await bury(system, None, body)}:replay"), 409, "not-retryable")
    for target in (f"{new_message_id()}:replay", f"{bare}:burn", "nothing:discard", bare):
        await system.problem(await system.http.post(f"/v1/dead-letters/{target}"), 404, "not-found")
    await system.problem(await system.http.get("/v1/dead-letters/nothing"), 404, "not-found")
    assert (await system.http.get("/v1/dead-letters?cursor=nothing")).status_code == 422


@pytest.mark.parametrize("role", [Role.CURATOR, Role.READER])
async def test_letters_are_for_those_who_run_the_system(system: System, role: Role) -> None:
    """They may hold anything; nobody else sees them or settles one."""
    letter = await bury(system, None)
    token = (await system.http.post("/v1/tokens", json={"name": "x", "role": role})).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    for method, path in (("GET", ""), ("GET", f"/{letter}"), ("POST", f"/{letter}:replay"), ("POST", f"/{letter}:discard")):
        answer = await system.http.request(method, f"/v1/dead-letters{path}", headers=headers)
        await system.problem(answer, 403, "forbidden")


async def test_the_client_settles_letters(system: System) -> None:
    """Listed, shown, replayed, discarded; a refusal is an exception with its code."""
    job = (await system.noop())["id"]
    letter, other = await bury(system, job), await bury(system, None)

    def use() -> None:
        with Halftone(system.home.edge_url(), TOKEN) as client:
            assert {letter, other} <= {view.id for view in client.dead_letters.list(settled=False)}
            assert client.dead_letters.get(letter).job == job
            assert client.dead_letters.replay(letter).refresh().retry_of == job
            with pytest.raises(Conflict, match="about no job"):
                client.dead_letters.replay(other)
            assert client.dead_letters.discard(other).settled == "discarded"

    await asyncio.to_thread(use)


async def test_the_command_line_settles_letters(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made is written alone, so that a script can use it; what waits is listed, and all of it with --all."""
    monkeypatch.setenv("HALFTONE_URL", system.home.edge_url())
    monkeypatch.setenv("HALFTONE_TOKEN", TOKEN)
    job = (await system.noop())["id"]
    letter, other = await bury(system, job), await bury(system, None)

    async def dead(*words: str, code: int = 0) -> str:
        run: Callable[..., Any] = CliRunner().invoke
        result: Result = await asyncio.to_thread(run, app, ["dead", *words])
        assert result.exit_code == code, result.output
        # The edge of this test runs in the same process, and its log lines go the same way.
        return "\n".join(line for line in result.stdout.splitlines() if " [info " not in line)

    assert {letter, other} <= {line.split("\t")[0] for line in (await dead("list")).splitlines()}
    assert job in await dead("show", letter)
    made = (await dead("replay", letter)).strip()
    assert (await system.http.get(f"/v1/jobs/{made}")).json()["retry_of"] == job
    assert "discarded" in await dead("discard", other)
    listed = {line.split("\t")[0] for line in (await dead("list", "--all")).splitlines()}
    assert {letter, other} <= listed
    assert not {letter, other} & {line.split("\t")[0] for line in (await dead("list")).splitlines()}
    await dead("show", new_message_id(), code=4)
