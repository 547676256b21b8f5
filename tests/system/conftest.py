"""Systems for the tests of this folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from running_system import System


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for every test that leaves it running."""
    running = System(tmp_path_factory.mktemp("system") / "home")
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def own_system(tmp_path: Path) -> Iterator[System]:
    """A system that a test may break."""
    running = System(tmp_path / "home")
    running.start()
    yield running
    if running.process.poll() is None:
        running.stop(signal.SIGTERM)
