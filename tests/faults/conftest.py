"""Faults, one after the other, on a system that must come out of each as whole as it went in.

The ordinary suite runs a seeded sample; ``./just faults`` sets HALFTONE_FAULTS=full and runs all of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fault_load import Material, material
from fault_scale import FULL, SEED, Note
from fault_system import FaultSystem

RESULTS = os.environ.get("HALFTONE_FAULTS_RESULTS")
"""File to which every result is appended, as JSON lines."""


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultSystem]:
    """One system for all faults: each has to leave it fit for the next."""
    system = FaultSystem(tmp_path_factory.mktemp("faults") / "home")
    system.start()
    yield system
    system.close()


@pytest.fixture(scope="session")
def made(running: FaultSystem) -> Material:
    """A dataset with a budget, and a model."""
    return material(running, SEED)


@pytest.fixture
def system(running: FaultSystem, made: Material) -> Iterator[FaultSystem]:
    """The system, calm before and after."""
    running.calm()
    yield running
    running.calm()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[FaultSystem]:
    """A system of which the home itself may be taken apart."""
    system = FaultSystem(tmp_path / "home")
    system.start()
    yield system
    system.calm()
    system.close()


@pytest.fixture
def note(record_property: Note) -> Note:
    """Notes figures for the table."""
    return record_property


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what takes long to ``./just faults``."""
    if FULL:
        return
    long = [item for item in items if item.get_closest_marker("long") is not None]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Note how each fault was survived."""
    report = yield
    fault = item.get_closest_marker("fault")
    if RESULTS and fault is not None and (report.when == "call" or report.failed):
        noted = {"number": fault.args[0], "fault": fault.args[1], "test": item.nodeid, "outcome": report.outcome, "seed": SEED}
        noted["full"] = FULL
        noted |= {"seconds": round(report.duration, 1), "noted": item.user_properties}
        with Path(RESULTS).open("a") as file:
            file.write(json.dumps(noted) + "\n")
    return report
