"""Log lines on a disk that takes nothing more: lost, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from running_system import REPOSITORY

ON_A_FULL_DISK = """
import structlog
from infra import logs
logs.configure("info")
structlog.get_logger().error("something", why="happened")
print("went on")
"""


def test_a_line_that_cannot_be_written_fails_nobody() -> None:
    """What was being told of goes on: /dev/full is a disk without room."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", ON_A_FULL_DISK]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True, check=False, cwd=REPOSITORY)
    assert done.stdout == "went on\n"
