"""Figures and descriptions: what a scraper and a subscriber are told."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import httpx
import jsonschema
import pytest
from litestar.routes import HTTPRoute
from prometheus_client.parser import text_string_to_metric_families

import contracts
from api.app import make_app
from api.auth import OPEN
from api.denied import Denied
from api.metrics import Metrics
from contracts.envelope import MESSAGES

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def figures(system: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, as Prometheus reads it."""
    response = await system.http.get("/metrics")
    assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, "text/plain")
    families = text_string_to_metric_families(response.text)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


async def test_requests_are_counted_by_route_and_status(system: Any) -> None:
    """By the route's template, never by what was asked for: an id or a stranger's path is no label."""
    job = (await system.noop())["id"]
    await system.http.get(f"/v1/jobs/{job}")
    await system.http.get("/v1/jobs/nothing")
    await system.http.get("/wp-admin/secret")
    seen = await figures(system)
    of_route = "/v1/jobs/{"
    of_job = {labels: value for (name, labels), value in seen.items() if name == "halftone_requests_total" and of_route in str(labels)}
    assert {dict(labels)["status"]: value for labels, value in of_job.items()} == {"200": 1.0, "404": 1.0}
    counted = [value for (name, labels), value in seen.items() if name == "halftone_request_seconds_count" and of_route in str(labels)]
    assert counted == [2.0]
    assert seen["halftone_requests_total", (("method", "GET"), ("route", "unserved"), ("status", "404"))] == 1.0
    assert not any(job in str(key) or "wp-admin" in str(key) for key in seen)


async def test_figures_tell_of_jobs_uploads_the_bus_and_the_views(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits, what is behind, what was sent."""
    monkeypatch.setattr("api.metrics.JOBS_EVERY", 0.0)
    job = await system.noop()
    await system.http.get(f"/v1/jobs/{job['id']}")
    before = (await figures(system))["halftone_upload_bytes_total", ()]
    await system.upload(b"x" * 50_000)
    seen = await figures(system)
    assert seen["halftone_jobs", (("kind", "noop"), ("state", "queued"))] >= 1
    assert 50_000 < seen["halftone_upload_bytes_total", ()] - before < 52_000
    assert seen["halftone_bus_connected", ()] == 1
    assert seen["halftone_view_lag_messages", (("stream", "EVENTS"),)] >= 0
    edge = (("process", "edge"),)
    assert {("halftone_outbox_waiting", edge), ("halftone_tasks_failing", edge), ("halftone_requests_denied", ())} <= seen.keys()


async def test_figures_need_a_token(system: Any) -> None:
    """Unless the setting opens them: counts tell what somebody works on."""
    async with httpx.AsyncClient(base_url=system.http.base_url) as stranger:
        await system.problem(await stranger.get("/metrics"), 401, "token-missing")


@pytest.mark.parametrize("opened", [False, True])
async def test_the_setting_opens_figures_to_everybody_and_nothing_else(opened: bool) -> None:
    """``HALFTONE_METRICS_OPEN`` is about this one route."""
    denied = Denied()
    served = make_app(cast("Any", None), cast("Any", None), denied, Metrics(denied, opened=opened), cast("Any", None))
    routes = [route for route in served.routes if isinstance(route, HTTPRoute)]
    found = {route.path for route in routes if any(handler.opt.get(OPEN) for handler, *_ in route.route_handler_map.values())}
    assert found == {"/health/live", "/health/ready"} | ({"/metrics"} if opened else set())


async def test_every_figure_is_in_the_docs(system: Any) -> None:
    """docs/metrics.md lists what is told, and no more."""
    text = (await system.http.get("/metrics")).text
    told = {family.name for family in text_string_to_metric_families(text) if not family.name.endswith("_created")}
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert {name.removesuffix("_total") for name in re.findall(r"^\| `(halftone_\w+)`", page, re.MULTILINE)} == told


async def test_the_bus_is_described_as_it_is_checked_in(system: Any) -> None:
    """The document byte for byte."""
    response = await system.http.get("/asyncapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.content == (Path(contracts.__file__).parent / "asyncapi.json").read_bytes()


class _Page(HTMLParser):
    """Collects what a page would load, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe"} or any(name == "src" for name, _ in attrs):
            self.loads.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_page_of_the_bus_tells_of_every_message_and_loads_nothing(system: Any) -> None:
    """Each type and each subject is on it; no script, no style sheet, no picture from anywhere."""
    response = await system.http.get("/asyncapi")
    page = _Page()
    page.feed(response.text)
    assert page.loads == []
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert set(MESSAGES) <= set(re.findall(r"halftone\.[a-z_.]+\.v\d+", page.text))
    addresses = {channel["address"] for channel in json.loads((await system.http.get("/asyncapi.json")).content)["channels"].values()}
    assert all(address in page.text for address in addresses)


async def test_each_body_has_an_example_that_is_what_it_describes(system: Any) -> None:
    """Titles and descriptions on every operation, an example for every JSON body, problems on everything that needs a token."""
    described = (await system.http.get("/schema")).json()
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["description"], path
            if operation.get("security") != [{}]:
                assert {"401", "403", "default"} <= operation["responses"].keys(), path
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                components = {"components": described["components"]}
                shown = [each["value"] for each in body["examples"].values()] if "examples" in body else [body["example"]]
                for example in shown:
                    jsonschema.Draft202012Validator({**body["schema"], **components}).validate(example)
