"""The checked-in golden messages, for every test that reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import contracts

GOLDEN = Path(contracts.__file__).parent / "golden"


@pytest.fixture(scope="session")
def goldens() -> dict[str, dict[str, Any]]:
    """Every golden envelope, by file name without its ending."""
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(GOLDEN.glob("*.json"))}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for one ``golden`` runs once for each file."""
    if "golden" in metafunc.fixturenames:
        paths = sorted(GOLDEN.glob("*.json"))
        metafunc.parametrize("golden", [path.read_bytes() for path in paths], ids=[path.stem for path in paths])
