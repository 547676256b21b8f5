"""Output that nobody fails over: a log line that cannot be written is lost, and the work that it was about goes on."""

from __future__ import annotations

import contextlib
from typing import TextIO


class Unfailing:
    """As much of a text file as a logger uses. A full disk, or a pipe that nobody reads, raises nothing."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()
