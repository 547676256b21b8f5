"""Places in the code, by name, at which a test of faults has a process die, wait or fail. To everybody else they are not there.

A place is the beginning or the end of a function: ``@around("relay.publish")`` makes ``relay.publish:before`` and
``relay.publish:after``. Unless HALFTONE_FAILPOINTS names a directory when this is imported, ``around`` gives back the function that
it was given: nothing is looked up, wrapped or called. Where it does, a place is armed by a file in the directory, so that it can be
while the system runs: ``<process>:<place>`` holds what is to happen, and on which visit (``kill 3``). It happens once, and the file is
gone then; ``every`` instead of a number makes it happen on every visit for as long as the file is there.
"""

from __future__ import annotations

import functools
import inspect
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

DIRECTORY = "HALFTONE_FAILPOINTS"
"""Environment variable with the directory of armed places. Never set it on a system that is to be relied on."""

F = TypeVar("F", bound=Callable[..., Any])


class FailedOnPurpose(RuntimeError):
    """A test of faults has a function fail here."""


def around(name: str) -> Callable[[F], F]:
    """Make a function's beginning and end places that can be armed."""
    directory = os.environ.get(DIRECTORY)
    if directory is None:
        return _as_it_is
    return functools.partial(_watched, Places(Path(directory)), name)


def _as_it_is(function: F) -> F:
    return function


def _watched(places: Places, name: str, function: F) -> F:
    wrap = _awaited if inspect.iscoroutinefunction(function) else _called
    return cast("F", functools.wraps(function)(wrap(places, name, function)))


def _called(places: Places, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        places.visit(f"{name}:before")
        result = function(*args, **kwargs)
        places.visit(f"{name}:after")
        return result

    return watched


def _awaited(places: Places, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    async def watched(*args: Any, **kwargs: Any) -> Any:
        places.visit(f"{name}:before")
        result = await function(*args, **kwargs)
        places.visit(f"{name}:after")
        return result

    return watched


class Places:
    """What is armed in this process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._visits: Counter[tuple[str, int]] = Counter()

    def visit(self, place: str) -> None:
        """Do what is asked for here, if anything is. Raises FailedOnPurpose."""
        path = self._directory / f"{process_name()}:{place}"
        try:
            with path.open() as file:
                armed, since = file.read().split(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return
        action, on, *seconds = [*armed, "1"] if len(armed) == 1 else armed
        self._visits[place, since] += 1
        if on != "every":
            if self._visits[place, since] < int(on):
                return
            # Gone first: whoever is started again is not to fall into the same hole, and the test sees that it happened.
            path.unlink(missing_ok=True)
        _act(action, place, float(seconds[0]) if seconds else 0.0)


def process_name() -> str:
    """The actor or edge that this is; what no supervisor started is a worker."""
    return "worker" if multiprocessing.parent_process() is None else multiprocessing.current_process().name


def _act(action: str, place: str, seconds: float) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "block":
            # The thread, and with it an event loop that runs in it: that is the fault.
            time.sleep(seconds)
        case "fail":
            raise FailedOnPurpose(place)
        case _:
            raise ValueError(f"{place} is armed with {action!r}: kill, stop, block or fail")
