"""The documentation is complete: every route and every setting is in it, and what it names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import make_app
from api.metrics import Metrics
from contracts.jobs import JobKind, TableFormat
from infra.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"
API = DOCS / "api.md"
_ROUTE = re.compile(r"`(GET|POST|PUT|PATCH|DELETE|HEAD) (/[^`\s]*)`")
_CURL = re.compile(r"\$API(/[^\s\"|>]+)|http://127\.0\.0\.1:8787(/(?!v1\b)[^\s\"]+)")
_ID = re.compile(r"\b(ds|job|obj|tok|prj)_…")


def plain(path: str) -> str:
    """A path with its parameters unnamed; a verb behind one belongs to it, as the framework sees it."""
    return re.sub(r"\{[^}]*\}(:[a-z]+)?", "{}", path).rstrip("/")


def described() -> dict[str, Any]:
    # Nothing is served: the parts of an edge are not needed to say what it would serve.
    app = make_app(None, None, None, Metrics(None), None)  # type: ignore[arg-type]
    paths: dict[str, Any] = app.openapi_schema.to_schema()["paths"]
    return paths


def routes() -> set[tuple[str, str]]:
    return {(method.upper(), plain(path)) for path, methods in described().items() for method in methods}


def documented(*pages: Path) -> set[tuple[str, str]]:
    return {(method, plain(path.partition("?")[0])) for page in pages for method, path in _ROUTE.findall(page.read_text(encoding="utf-8"))}


def test_every_route_is_documented_and_no_other() -> None:
    """Whoever adds, renames or removes a route says so in docs/."""
    assert routes() - documented(*DOCS.glob("*.md")) == set()
    assert documented(API) - routes() == set()


def test_every_setting_is_documented_and_no_other() -> None:
    """By its environment variable, in docs/settings.md, with a row of its own."""
    rows = re.findall(r"^\| `HALFTONE_([A-Z_]+)` \|", (DOCS / "settings.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(name.upper() for name in Settings.model_fields)


def test_every_kind_of_job_and_every_format_is_documented() -> None:
    """Those that a client may ask for."""
    text = API.read_text(encoding="utf-8")
    for word in {*(kind for kind in JobKind if kind is not JobKind.INGEST), *TableFormat}:
        assert f"`{word}`" in text


def sections() -> Iterator[tuple[str, str]]:
    for section in re.split(r"^## ", API.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        yield title, body


@pytest.mark.parametrize(("title", "body"), [each for each in sections() if "| route |" in each[1]], ids=lambda value: value.split("\n")[0])
def test_every_section_with_routes_has_an_example(title: str, body: str) -> None:
    """Of a request that can be pasted."""
    assert re.search(r"```sh\n(curl .*\n)", body), title


def test_every_example_asks_for_a_route_that_there_is() -> None:
    """The paths of the curl examples, by whatever method."""
    paths = {path for _, path in routes()}
    found = [match[1] or match[2] for match in _CURL.finditer(API.read_text(encoding="utf-8"))]
    assert len(found) >= 10
    for path in found:
        prefix = "" if path.startswith("/health") else "/v1"
        asked = plain(_ID.sub("{id}", prefix + path.partition("?")[0]))
        known = {re.sub(r"/versions/\{\}/", "/versions/1/", each) for each in paths}
        assert asked in paths | known, path
