"""The table of results: a row for each fault, and nothing that failed looks as if it had held."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

SPEC = importlib.util.spec_from_file_location("all_faults", Path(__file__).with_name("all_faults.py"))
assert SPEC is not None
assert SPEC.loader is not None
ALL_FAULTS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(ALL_FAULTS)


def result(number: object, test: str, *noted: tuple[str, object], outcome: str = "passed") -> dict[str, Any]:
    return {
        "number": number,
        "fault": f"fault {number}",
        "test": f"a.py::{test}",
        "outcome": outcome,
        "seed": 7,
        "full": True,
        "noted": [list(n) for n in noted],
    }


def test_results_of_a_fault_are_one_row() -> None:
    """Runs are added up, the median and the longest way back are shown; numbered faults come first."""
    results = [
        result("further", "test_d"),
        result(2, "test_a", ("recovery", 1.0), ("runs", 200)),
        result(2, "test_b", ("recovery", 3.0), ("runs", 100), ("slowest", 0.25)),
    ]
    rows = ALL_FAULTS.tabled(results).splitlines()[2:]
    assert rows == ["| 2 | fault 2 | 300 | 7 | held; slowest 0.25 | 2.0 s, 3.0 s |", "| further | fault further | 1 | 7 | held |  |"]


def test_a_fault_that_was_not_survived_is_named() -> None:
    """Also where other tests of the same fault passed."""
    table = ALL_FAULTS.tabled([result(1, "test_a"), result(1, "test_b[x]", outcome="failed")])
    assert "| **failed**: test_b[x] |" in table


def test_a_sample_is_told_from_the_whole() -> None:
    """A row that names a thousand races does not stand for sixty."""
    assert "| 1 (sample) |" in ALL_FAULTS.tabled([{**result(1, "test_a"), "full": False}])


def test_the_page_has_a_place_for_the_table() -> None:
    """Once: what is between the marks is replaced."""
    text = ALL_FAULTS.PAGE.read_text(encoding="utf-8")
    assert (text.count(ALL_FAULTS.BEGIN), text.count(ALL_FAULTS.END)) == (1, 1)
