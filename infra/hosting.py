"""What a part of the system runs in: a process that a supervisor watches, one that was started alone, or one that all parts share."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextvars import ContextVar

READY_DESCRIPTOR = "HALFTONE_READY_DESCRIPTOR"
"""Environment variable with the descriptor of a pipe: READY on it says that the process serves, any other words why it does not."""
READY = b"+"


class Host:
    """A process of its own: a signal ends the part, and whoever started it is told that it serves."""

    def ready(self, where: str = "") -> None:  # noqa: ARG002  # for who has to be told
        """The part serves; the edge at some address."""
        descriptor = os.environ.get(READY_DESCRIPTOR)
        if descriptor is not None:
            os.write(int(descriptor), READY)

    def on_stop(self, stop: Callable[[], None]) -> None:
        """Have something called when the part is to end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)


HOST: ContextVar[Host] = ContextVar("HOST", default=Host())  # noqa: B039  # it holds nothing of its own
"""Set by the composition root for the tasks of one part."""
