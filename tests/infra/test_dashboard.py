"""The dashboard draws what there is: metrics and labels that docs/metrics.md names, which other tests hold to the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "infra" / "deploy" / "grafana" / "halftone.json"
SCRAPED = {"instance", "job"}
"""Labels that a scraper adds."""


def documented() -> dict[str, set[str]]:
    """Each metric's labels; a histogram's under the names of its three series."""
    rows = re.findall(r"^\| `(halftone_\w+)` \| ([\w, ]*)\| (.*) \|$", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    found: dict[str, set[str]] = {}
    for name, labels, meaning in rows:
        has = set(re.findall(r"\w+", labels))
        if meaning.startswith("histogram"):
            found |= {f"{name}_count": has, f"{name}_sum": has, f"{name}_bucket": has | {"le"}}
        else:
            found[name] = has
    return found


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    held: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return held


def targets(dashboard: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel, target


def test_every_metric_that_is_drawn_is_told(dashboard: dict[str, Any]) -> None:
    """And each label by which it is chosen, summed up or named is one that it has."""
    known = documented()
    drawn = 0
    for panel, target in targets(dashboard):
        (metric,) = re.findall(r"halftone_\w+", target["expr"])
        assert metric in known, panel["title"]
        chosen = re.findall(r"(\w+)=~?\"", target["expr"])
        grouped = [label for labels in re.findall(r" by \(([^)]*)\)", target["expr"]) for label in re.findall(r"\w+", labels)]
        shown = re.findall(r"{{(\w+)}}", target["legendFormat"])
        assert {*chosen, *grouped, *shown} <= known[metric] | SCRAPED, panel["title"]
        assert set(shown) <= set(grouped), panel["title"]
        drawn += 1
    assert drawn >= 20
    for variable in dashboard["templating"]["list"]:
        assert set(re.findall(r"halftone_\w+", json.dumps(variable))) <= known.keys()


def test_every_metric_is_drawn(dashboard: dict[str, Any]) -> None:
    """By one of its series at least."""
    drawn = " ".join(target["expr"] for _, target in targets(dashboard))
    families = {re.sub(r"_(count|sum|bucket)$", "", name) for name in documented()}
    assert {family for family in families if not re.search(rf"\b{family}(_count|_bucket|_sum)?\b", drawn)} == set()


def test_a_rate_is_of_what_is_counted(dashboard: dict[str, Any]) -> None:
    """And never of what rises and falls; quantiles are of buckets."""
    for panel, target in targets(dashboard):
        for name in re.findall(r"(?:rate|increase)\((halftone_\w+)", target["expr"]):
            assert re.search(r"_(total|count|bucket|denied)$", name), panel["title"]
        if "histogram_quantile" in target["expr"]:
            assert re.search(r"by \([^)]*\ble\b[^)]*\) \(rate\(halftone_\w+_bucket", target["expr"]), panel["title"]


def test_panels_do_not_overlap_and_ask_the_source_that_was_chosen(dashboard: dict[str, Any]) -> None:
    """Each has a title, a description and an id of its own."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"]
    assert all(target["datasource"]["uid"] == "${source}" for _, target in targets(dashboard))
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
