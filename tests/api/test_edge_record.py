"""What the edge itself enters into the log: who was shown raw data, who was refused what, from where, and under which settings."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.denied import Denied
from api.erasure import erase_logs
from api.recording import MOST_REFUSALS, Recorder
from api.tables import edge_tables
from contracts import subjects
from contracts.events import JobCompleted, JobFailed, JobStarted
from contracts.ids import ADMINISTRATOR, UNKNOWN, new_id
from contracts.jobs import Output
from contracts.recorded import Outcome, PayloadErased, RequestRecorded, SettingsChanged
from infra.database.store import Store
from infra.home import Home
from infra.settings import Settings
from tests.api.conftest import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader(system: Any) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Any]]]:
    issued = (await system.http.post("/v1/tokens", json={"name": "a reader", "role": "reader"})).json()
    headers = {"Authorization": f"Bearer {issued['token']}"}
    async with httpx.AsyncClient(base_url=system.http.base_url, headers=headers, timeout=20) as client:
        yield client, issued


async def recorded(system: Any, about: str, count: int = 1) -> list[Any]:
    """Envelopes of what was recorded about something, once there are as many."""
    found: list[Any] = []

    async def look() -> bool:
        found[:] = [e for e in await system.stored(subjects.EVENTS, about) if isinstance(e.message, RequestRecorded)]
        return len(found) >= count

    await eventually(look)
    return found


async def test_who_is_shown_raw_data_is_entered_before_it_is_shown(system: Any) -> None:
    """Rows, artifacts, evaluations, proposals: by whom, of what, from where; what is not shown is not entered."""
    dataset = await system.ready(attested=False)
    job = str((await system.noop())["id"])
    raw = system.objects.put(new_id("obj"), b"said", "text/plain", ".txt")
    sequence = await system.say(JobCompleted(job=job, attempt=1, outputs=(Output(role="log", object=raw),)))
    await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")
    assert (await system.http.get(f"/v1/artifacts/{raw}", headers={"Range": "bytes=1-2"})).content == b"ai"
    (told,) = [e for e in await recorded(system, raw) if e.message.outcome == Outcome.ALLOWED]
    assert (told.message.right, told.message.resource) == ("raw.read", raw)
    assert (told.principal, len(told.clientaddress)) == (ADMINISTRATOR, 32)
    assert "127.0.0.1" not in told.model_dump_json()
    assert (await system.http.get(f"/v1/datasets/{dataset}/schema")).json()["status"] == "proposed"
    (schema,) = await recorded(system, dataset)
    assert (schema.message.resource, schema.clientaddress) == (dataset, told.clientaddress)
    assert (await system.http.get(f"/v1/datasets/{dataset}/sample")).status_code == 404
    assert (await system.http.get("/v1/evaluations")).status_code == 200
    assert len(await recorded(system, dataset)) == 1


async def test_each_refusal_of_somebody_known_is_entered(system: Any, reader: tuple[httpx.AsyncClient, dict[str, Any]]) -> None:
    """By the gate, by a handler, and for a token that opens nothing any more; with what was asked for."""
    client, issued = reader
    dataset = await system.ready()
    table = (await system.http.get(f"/v1/datasets/{dataset}")).json()["versions"][0]["table"]
    await system.problem(await client.get(f"/v1/artifacts/{table}"), 403, "forbidden")
    await system.problem(await client.delete(f"/v1/datasets/{dataset}"), 403, "forbidden")
    (raw,) = await recorded(system, table)
    (deletion,) = await recorded(system, dataset)
    assert [(e.message.outcome, e.message.right, e.message.code, e.principal) for e in (raw, deletion)] == [
        (Outcome.REFUSED, "raw.read", "forbidden", issued["holder"]),
        (Outcome.REFUSED, "dataset.delete", "forbidden", issued["holder"]),
    ]
    gone = (await system.http.post("/v1/tokens", json={"name": "gone", "role": "reader"})).json()
    await system.http.delete(f"/v1/tokens/{gone['id']}")
    async with httpx.AsyncClient(base_url=system.http.base_url, headers={"Authorization": f"Bearer {gone['token']}"}) as revoked:
        await system.problem(await revoked.get("/v1/jobs"), 401, "token-revoked")
    (told,) = [e for e in await recorded(system, "token-revoked") if e.principal == gone["holder"]]
    assert told.message.outcome == Outcome.REFUSED


@pytest_asyncio.fixture(loop_scope="module")
async def recorder(tmp_path: Any) -> AsyncIterator[tuple[Recorder, Store]]:
    home = Home(tmp_path / "alone").prepare()
    store = Store(home.database_url("edge"), edge_tables())
    await store.open()
    yield Recorder(store, home), store
    await store.close()


def entered(store: Store) -> list[Any]:
    from contracts.envelope import Envelope

    return [Envelope.load(row.body) for row in store.take_sent()]


async def test_a_flood_of_refusals_is_counted(recorder: tuple[Recorder, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of a minute one by one, the rest as one entry with their number; those of others are none of theirs."""
    from contracts.envelope import Context

    one, store = recorder
    now = 1000.0
    monkeypatch.setattr("api.recording.time.monotonic", lambda: now)
    greedy, other = (Context.new("prn_" + digit * 32) for digit in "12")
    for _ in range(MOST_REFUSALS + 25):
        await one.refused(greedy, "forbidden", "budget.set")
    await one.refused(other, "forbidden", "budget.set")
    now += 60
    await one.refused(other, "forbidden", "budget.set")
    told = [(e.principal[4], e.message.count) for e in entered(store)]
    assert told == [("1", 1)] * MOST_REFUSALS + [("2", 1), ("1", 25), ("2", 1)]


async def test_strangers_are_counted_per_source(recorder: tuple[Recorder, Store]) -> None:
    """One entry for each source and minute, under nobody's name, with the address as a hash that the same address has again."""
    one, store = recorder
    denied = Denied()
    denied.record = one.denied
    for source, count in (("10.0.0.1", 7), ("10.0.0.2", 1)):
        for _ in range(count):
            denied.note(source)
    await denied.enter()
    await denied.enter()
    told = entered(store)
    assert [(e.principal, e.message.outcome, e.message.count, e.clientaddress) for e in told] == [
        (UNKNOWN, Outcome.DENIED, 7, one.address("10.0.0.1")),
        (UNKNOWN, Outcome.DENIED, 1, one.address("10.0.0.2")),
    ]
    assert one.address("10.0.0.1") != one.address("10.0.0.2")


async def test_settings_that_changed_are_told_and_secrets_are_not(recorder: tuple[Recorder, Store], tmp_path: Any) -> None:
    """Numbers as they are, paths and tokens as hashes; the same settings again are no news."""
    one, store = recorder
    settings = Settings(home=tmp_path, max_columns=77, admin_token="a-token-for-the-tests", read_paths="/data/secret")
    await one.settings(settings)
    await one.settings(settings)
    await one.settings(settings.model_copy(update={"max_columns": 78, "admin_token": "another-token-of-tests"}))
    first, second = [e.message for e in entered(store)]
    told = {change.name: change for change in first.changes}
    assert set(told) == {"home", "max_columns", "admin_token", "read_paths"}
    assert told["max_columns"].value == "77"
    assert told["admin_token"].value is told["read_paths"].value is None
    assert [change.name for change in second.changes] == ["admin_token", "max_columns"]
    assert isinstance(second, SettingsChanged)
    text = json.dumps([e.model_dump(mode="json") for e in (first, second)])
    assert "token-for" not in text
    assert "secret" not in text


async def test_what_is_erased_is_an_entry_and_what_told_of_it_stays(system: Any) -> None:
    """An upload once it is read, a dataset's objects once it is deleted: by the ids that older entries have."""
    dataset = await system.ready(attested=False)
    objects = (await system.http.get(f"/v1/datasets/{dataset}")).json()["versions"][0]
    assert (await system.http.delete(f"/v1/datasets/{dataset}")).status_code == 200
    found: list[Any] = []

    async def look() -> bool:
        found[:] = [e.message for e in await system.stored(subjects.EVENTS, dataset) if isinstance(e.message, PayloadErased)]
        return {"upload", "dataset"} <= {event.kind for event in found}

    await eventually(look)
    gone = {each for event in found if event.kind == "dataset" for each in event.objects}
    assert {objects["table"], objects["proposal"]} <= gone
    assert [e.type for e in await system.stored(subjects.EVENTS, objects["table"])][:1] == ["halftone.dataset.version_added.v1"]


async def test_old_logs_are_removed_when_the_settings_say_so(system: Any) -> None:
    """Those of jobs that ended longer ago; said once, whatever is looked at again."""
    job, other = [str((await system.noop())["id"]) for _ in range(2)]
    log, why = (system.objects.put(new_id("obj"), b"Traceback", "text/plain", ".txt") for _ in range(2))
    for each in (job, other):
        await system.say(JobStarted(job=each, attempt=1))
    await system.say(JobFailed(job=job, attempt=1, code="worker-lost", log=log, problem=why))
    sequence = await system.say(JobCompleted(job=other, attempt=1, outputs=(Output(role="table", object=why),)))
    await system.http.get(f"/v1/jobs/{job}?min_seq={sequence}")

    class Part:
        """As much of an edge as erasing asks for."""

        views, objects = system_views(system), system.objects
        settings = Settings(keep_logs_days=30)

    edge: Any = Part
    store = Store(f"sqlite:///{system.home.path / 'erasing.sqlite'}", edge_tables())
    await store.open()
    edge.runtime = type("Runtime", (), {"store": store, "source": "/edge"})
    await edge.views.open()
    now = dt.datetime.now(dt.UTC)
    assert await erase_logs(edge, now + dt.timedelta(days=29)) == 0
    assert await erase_logs(edge, now + dt.timedelta(days=31)) >= 1
    assert await erase_logs(edge, now + dt.timedelta(days=31)) == 0
    (event,) = [e.message for e in entered(store) if e.message.about == job]
    assert (event.kind, set(event.objects)) == ("log", {log, why})
    await edge.views.close()
    await store.close()


def system_views(system: Any) -> Any:
    from api.views.queries import Views

    return Views(system.home.database_url("views"))
