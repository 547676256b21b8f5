"""Rights: what each role may do on each route, and what tokens are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from litestar.routes import HTTPRoute
from structlog.testing import capture_logs

from api.app import make_app
from api.auth import OPEN, VERB
from api.denied import OTHERS, Denied
from api.metrics import Metrics
from api.policy import RIGHTS, Principal, Resource, Role, Verb, allowed
from contracts import subjects
from contracts.events import (
    JobCompleted,
    JobFailed,
    TokenIssued,
    TokenRevoked,
)
from contracts.ids import ADMINISTRATOR, new_id
from contracts.jobs import Output
from contracts.recorded import PayloadErased

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = Path(__file__).parents[2] / "docs" / "rights.md"
NOBODY = {"job": "job_" + "0" * 32, "dataset": "ds_" + "0" * 32, "token": "tok_" + "0" * 32}
HEALTH = {"/health/live", "/health/ready"}


def documented() -> dict[str, set[str]]:
    """The table of the page: rights by role."""
    table = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if line.startswith("|")]
    roles = table[0][1:4]
    rows = [row for row in table[2:] if "." in row[0]]
    return {role: {row[0] for row in rows if row[1 + n] == "yes"} for n, role in enumerate(roles)}


def routes() -> list[tuple[str, str, Any]]:
    """Path, method and handler of everything that is served."""
    served = make_app(cast("Any", None), cast("Any", None), Denied(), Metrics(Denied()), cast("Any", None))
    found = [
        (route.path, method, route.route_handler_map[method][0])
        for route in served.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
    ]
    return sorted(((path, method, handler) for path, method, handler in found if method != "OPTIONS"), key=lambda route: route[:2])


ROUTES = routes()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def as_role(system: Any) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client for each role, with a token that was given out."""
    clients = {}
    for role in Role:
        issued = (await system.http.post("/v1/tokens", json={"name": f"a {role}", "role": role})).json()
        headers = {"Authorization": f"Bearer {issued['token']}"}
        clients[role.value] = httpx.AsyncClient(base_url=system.http.base_url, headers=headers, timeout=20)
    yield clients
    for client in clients.values():
        await client.aclose()


async def test_each_role_holds_exactly_the_documented_rights() -> None:
    """The table of docs/rights.md and the one that decides are the same."""
    assert documented() == {role.value: {str(verb) for verb in rights} for role, rights in RIGHTS.items()}
    assert set().union(*documented().values()) == {str(verb) for verb in Verb}


@pytest.mark.parametrize(("path", "method", "handler"), ROUTES, ids=[f"{method} {path}" for path, method, _ in ROUTES])
async def test_each_route_declares_its_right(path: str, method: str, handler: Any) -> None:
    """Nothing but health is open, and whatever else is served says what it does: a route that did not would be closed to everybody."""
    if path in HEALTH:
        assert handler.opt[OPEN] is True
    else:
        assert OPEN not in handler.opt
        assert isinstance(handler.opt[VERB], Verb)


@pytest.mark.parametrize("role", list(Role))
async def test_each_route_asks_for_its_right_and_gives_what_the_table_says(
    system: Any, as_role: dict[str, httpx.AsyncClient], role: Role
) -> None:
    """Whoever lacks the right is told which, before the request is looked at; whoever holds it never hears of it."""
    held = documented()[role.value]
    for path, method, handler in ROUTES:
        if path in HEALTH:
            continue
        url = re.sub(r"{(\w+)[^}]*}", lambda match: NOBODY.get(match[1], "nothing"), path)
        response = await as_role[role.value].request(method, url)
        verb = str(handler.opt[VERB])
        if method == "HEAD":
            # No body says which; the one right of both methods is in the answer to the other.
            assert (response.status_code == 403) == (verb not in held), url
            continue
        right = response.json().get("right") if response.status_code == 403 else None
        assert right not in held, (method, url)
        if verb not in held:
            assert (response.status_code, right) == (403, verb), (method, url)


async def test_the_policy_knows_no_other_way() -> None:
    """A principal may do what its role holds, to whatever it is."""
    for role in Role:
        for verb in Verb:
            assert allowed(Principal(ADMINISTRATOR, role), verb, Resource("dataset", "x")) == (str(verb) in documented()[role.value])


async def test_a_token_is_shown_once_and_only_its_hash_is_kept(system: Any) -> None:
    """It opens what its role allows, in the name of a principal of its own; no file of the home holds it."""
    response = await system.http.post("/v1/tokens", json={"name": "Ada", "role": "curator"})
    issued = response.json()
    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    assert response.headers["location"] == f"/v1/tokens/{issued['id']}"
    listed = (await system.http.get("/v1/tokens")).json()["items"]
    assert {name: value for name, value in issued.items() if name != "token"} in listed
    secret = issued["token"].encode()
    assert len(secret) > 40
    assert not any(secret in path.read_bytes() for path in system.home.path.rglob("*") if path.is_file())
    async with httpx.AsyncClient(base_url=system.http.base_url, headers={"Authorization": f"Bearer {issued['token']}"}) as ada:
        job = (await ada.post("/v1/jobs", json={"kind": "noop"})).json()["id"]
    assert (await system.http.get(f"/v1/jobs/{job}")).json()["principal"] == issued["holder"] != ADMINISTRATOR


async def test_giving_out_and_revoking_are_events_without_names(system: Any) -> None:
    """The log learns who gave whom which role, by ids."""
    issued = (await system.http.post("/v1/tokens", json={"name": "a telling name", "role": "reader"})).json()
    assert (await system.http.delete(issued_path := f"/v1/tokens/{issued['id']}")).status_code == 204
    assert (await system.http.delete(issued_path)).status_code == 204
    told = await system.stored(subjects.EVENTS, issued["id"])
    assert [event.message for event in told] == [
        TokenIssued(token=issued["id"], holder=issued["holder"], role="reader"),
        TokenRevoked(token=issued["id"]),
    ]
    assert {event.principal for event in told} == {ADMINISTRATOR}
    assert not any(b"telling" in event.dump() or issued["token"].encode() in event.dump() for event in told)


async def test_a_revoked_token_opens_nothing_from_the_next_request_on(system: Any) -> None:
    """Its listing says when; one that was never given out is not found."""
    issued = (await system.http.post("/v1/tokens", json={"name": "x", "role": "reader"})).json()
    headers = {"Authorization": f"Bearer {issued['token']}"}
    async with httpx.AsyncClient(base_url=system.http.base_url, headers=headers) as client:
        assert (await client.get("/v1/jobs")).status_code == 200
        await system.http.delete(f"/v1/tokens/{issued['id']}")
        await system.problem(await client.get("/v1/jobs"), 401, "token-revoked")
    listed = (await system.http.get("/v1/tokens")).json()["items"]
    assert next(token["revoked"] for token in listed if token["id"] == issued["id"]) is not None
    for unknown in (NOBODY["token"], NOBODY["job"], "nonsense"):
        await system.problem(await system.http.delete(f"/v1/tokens/{unknown}"), 404, "not-found")


async def test_a_token_expires(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """401 that says when it did."""
    issued = (await system.http.post("/v1/tokens", json={"name": "x", "role": "reader", "expires": "2099-01-01T00:00:00+01:00"})).json()
    assert issued["expires"] == "2098-12-31T23:00:00.000Z"
    headers = {"Authorization": f"Bearer {issued['token']}"}
    async with httpx.AsyncClient(base_url=system.http.base_url, headers=headers) as client:
        assert (await client.get("/v1/jobs")).status_code == 200
        monkeypatch.setattr("api.tokens.time.time", lambda: 4070905200.0)
        document = await system.problem(await client.get("/v1/jobs"), 401, "token-expired")
    assert "2098-12-31" in document["detail"]


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"name": "x"}, "role"),
        ({"role": "reader"}, "name"),
        ({"name": "", "role": "reader"}, "name"),
        ({"name": " ", "role": "reader"}, "name"),
        ({"name": "a\nb", "role": "reader"}, "name"),
        ({"name": "x" * 257, "role": "reader"}, "name"),
        ({"name": "x", "role": "king"}, "role"),
        ({"name": "x", "role": "reader", "expires": "2001-01-01T00:00:00Z"}, "expires"),
        ({"name": "x", "role": "reader", "expires": "2099-01-01T00:00:00"}, "expires"),
        ({"name": "x", "role": "reader", "expires": 4102444800}, "expires"),
        ({"name": "x", "role": "reader", "token": "mine"}, "token"),
    ],
)
async def test_a_token_that_cannot_be_given_out_names_the_parameter(system: Any, body: dict[str, Any], parameter: str) -> None:
    """A role that there is, a name to know it by, and a time to come."""
    document = await system.problem(await system.http.post("/v1/tokens", json=body), 422, "request-invalid")
    assert document["parameter"] == parameter


async def test_readers_see_jobs_and_datasets_without_their_raw_parts(system: Any, as_role: dict[str, httpx.AsyncClient]) -> None:
    """Ids of what was read off rows, and sentences that may quote them, are left out; codes, states and public facts are not."""
    dataset = await system.ready()
    reader, curator = as_role["reader"], as_role["curator"]
    ingest = (await reader.get(f"/v1/datasets/{dataset}")).json()["job"]
    assert (await reader.get(f"/v1/jobs/{ingest}")).json()["outputs"] == []
    (output,) = (await curator.get(f"/v1/jobs/{ingest}")).json()["outputs"]
    await system.problem(await reader.get(output["href"]), 403, "forbidden")
    for path in (f"/v1/datasets/{dataset}", f"/v1/datasets/{dataset}/versions"):
        seen, full = (await reader.get(path)).json(), (await curator.get(path)).json()
        assert (seen.get("versions") or seen["items"])[0]["proposal"] is None
        assert (full.get("versions") or full["items"])[0]["proposal"] is not None
    assert (await reader.get(f"/v1/datasets/{dataset}/schema")).json()["status"] == "attested"
    await system.problem(await reader.get(f"/v1/datasets/{await system.ready(attested=False)}/schema"), 403, "forbidden")


async def test_readers_learn_the_code_of_a_failure_and_not_its_words(system: Any, as_role: dict[str, httpx.AsyncClient]) -> None:
    """An ingest's problem document quotes values; its log does too."""
    registered = await system.upload()
    document = b'{"type":"urn:halftone:problem:bad","title":"Bad","status":422,"detail":"Line 7: Jane Doe.","code":"bad","line":7}'
    problem, log = system.objects.put(new_id("obj"), document), system.objects.put(new_id("obj"), b"Jane Doe", "text/plain", ".log")
    sequence = await system.say(JobFailed(job=registered["job"], attempt=1, code="bad", problem=problem, log=log))
    for path in (f"/v1/jobs/{registered['job']}", f"/v1/datasets/{registered['dataset']}"):
        seen = (await as_role["reader"].get(f"{path}?min_seq={sequence}")).json()
        assert (seen["state"], seen["problem"]["code"], seen["problem"]["title"]) == ("failed", "bad", "Bad")
        assert "Jane" not in str(seen)
        assert problem not in str(seen)
        assert log not in str(seen)
        assert (await as_role["curator"].get(path)).json()["problem"]["line"] == 7
    await system.problem(await as_role["reader"].get(f"/v1/jobs/{registered['job']}/log"), 403, "forbidden")


async def test_readers_download_synthetic_tables(system: Any, as_role: dict[str, httpx.AsyncClient]) -> None:
    """What a synthesis made is given out; the log beside it is not."""
    job = (await system.noop())["id"]
    table, log = system.objects.put(new_id("obj"), b"rows"), system.objects.put(new_id("obj"), b"said")
    outputs = (Output(role="report", object=table), Output(role="log", object=log))
    sequence = await system.say(JobCompleted(job=job, attempt=1, outputs=outputs))
    (output,) = (await as_role["reader"].get(f"/v1/jobs/{job}?min_seq={sequence}")).json()["outputs"]
    assert (await as_role["reader"].get(output["href"])).content == b"rows"
    await system.problem(await as_role["reader"].get(f"/v1/artifacts/{log}"), 403, "forbidden")


async def test_requests_without_a_principal_are_counted_per_source_and_told_once() -> None:
    """A line for each source, however many requests; beyond a thousand sources the rest are counted together."""
    denied = Denied()
    for source in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
        denied.note(source)
    with capture_logs() as lines:
        denied.tell()
        denied.tell()
    assert [(line["event"], line["source"], line["count"]) for line in lines] == [
        ("requests.denied", "10.0.0.1", 2),
        ("requests.denied", "10.0.0.2", 1),
    ]
    for n in range(1003):
        denied.note(f"source {n}")
    with capture_logs() as lines:
        denied.tell()
    assert len(lines) == 1001
    assert next(line["count"] for line in lines if line["source"] == OTHERS) == 3
    assert denied.total == 1006


async def test_a_request_with_a_wrong_token_is_counted_and_is_no_event(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guessing leaves a count by address, and nothing on the bus."""
    noted: list[str] = []
    monkeypatch.setattr(Denied, "note", lambda _, source: noted.append(source))
    await system.noop()
    before = await told(system)
    async with httpx.AsyncClient(base_url=system.http.base_url) as stranger:
        for header in ({}, {"Authorization": "Bearer ht_guess"}, {"Authorization": "Basic eDp5"}):
            assert (await stranger.get("/v1/jobs", headers=header)).status_code == 401
    assert noted == ["127.0.0.1"] * 3
    assert await told(system) == before


async def told(system: Any) -> list[Any]:
    """Every event but those of uploads that earlier tests are done with."""
    return [event for event in await system.stored(subjects.EVENTS, "") if event.type != PayloadErased.TYPE]
