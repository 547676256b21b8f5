"""Conversations without input or output: what both clients share.

A flow is a generator that yields what is to be done (send this, wait so long, read on) and is sent what came of it; it decides,
retries and parses, and never touches a socket. A blocking and an awaiting driver carry flows out. (The idea is that of sans-I/O
protocols, as the h11 and wsproto libraries practise it.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from halftone.client.errors import ConnectionFailed
from halftone.client.request import Answer, Request

T = TypeVar("T")
BUSY = frozenset({429, 503})
"""Statuses of a server that has no room now, and says when to try again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two tries: the first pause, and what it doubles up to."""


@dataclass(frozen=True)
class Send:
    """Send a request; gives its Answer. ``Lost`` is raised in the flow where there is none."""

    request: Request


@dataclass(frozen=True)
class Open:
    """Send a request and keep its answer open: gives an Answer without a body (of an error, with it).

    A flow reads one such answer at a time: opening another, or the flow's end, closes it.
    """

    request: Request


@dataclass(frozen=True)
class Read:
    """Read on in the open answer: gives bytes, and b"" at its end. ``Lost`` is raised in the flow when it breaks off."""


@dataclass(frozen=True)
class Sleep:
    """Let some seconds pass."""

    seconds: float


@dataclass(frozen=True)
class Tell:
    """Hand a value to who iterates over the flow."""

    value: Any


Effect = Send | Open | Read | Sleep | Tell
Flow: TypeAlias = Generator[Effect, Any, T]


class Steps(Generic[T]):
    """A flow while it is carried out: what it wants next, and at the end what it has returned."""

    def __init__(self, flow: Flow[T]) -> None:
        self._flow = flow
        self.result: T
        self.effect: Effect | None = None
        self.done(None)

    def done(self, value: Any) -> None:
        """Tell the flow what came of its effect."""
        self._advance(lambda: self._flow.send(value))

    def failed(self, lost: Lost) -> None:
        """Tell the flow that the connection was lost."""
        self._advance(lambda: self._flow.throw(lost))

    def _advance(self, step: Callable[[], Effect]) -> None:
        try:
            self.effect = step()
        except StopIteration as end:
            self.effect, self.result = None, end.value


class Lost(Exception):
    """The connection was not made, or broke."""

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.hopeless = hopeless
        """Trying again would not help: the address itself is wrong."""


@dataclass
class Core:
    """What a client knows, whichever way it does its input and output."""

    url: str
    retry_for: float = 15.0
    """Seconds of silence or of 503 after which a client gives up."""
    clock: Callable[[], float] = field(default=time.monotonic)
    heard: bool = False
    """Whether this Halftone has ever answered: only then is a refused connection worth a second try."""
    sequence: int = 0
    """The last event that this client has caused: what it reads next should show it."""

    def saw(self, sequence: int | None) -> None:
        """Remember an event that this client has caused."""
        self.sequence = max(self.sequence, sequence or 0)

    @property
    def min_seq(self) -> int | None:
        return self.sequence or None


class Outage:
    """The pauses between tries, and the end of patience."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._began: float | None = None
        self._pause = FIRST_PAUSE

    def over(self) -> None:
        """There was an answer: the next trouble is another one."""
        self._began, self._pause = None, FIRST_PAUSE

    def lost(self, error: Lost) -> Flow[None]:
        """Wait before the next try. Raises ConnectionFailed when there is no point in one."""
        if error.hopeless or not self._core.heard or not self._left(self._pause):
            raise unreachable(self._core, error) from error
        yield from self._wait(self._pause)

    def busy(self, seconds: float) -> Flow[bool]:
        """Wait as the server asks; False where that would take too long."""
        pause = max(seconds, self._pause)
        if not self._left(pause):
            return False
        yield from self._wait(pause)
        return True

    def _left(self, pause: float) -> bool:
        now = self._core.clock()
        self._began = now if self._began is None else self._began
        return now + pause - self._began <= self._core.retry_for

    def _wait(self, seconds: float) -> Flow[None]:
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
        yield Sleep(seconds)


def unreachable(core: Core, error: Lost) -> ConnectionFailed:
    """A sentence that says what to do."""
    what = f"No Halftone answers at {core.url} ({error})"
    if core.heard:
        return ConnectionFailed(f"{what}: it answered before, so it may have been stopped; start it with 'halftone up' and try again.")
    return ConnectionFailed(f"{what}: start one with 'halftone up', or say where it is with HALFTONE_URL and HALFTONE_TOKEN.")


def ask(core: Core, request: Request) -> Flow[Answer]:
    """Send a request until it is answered. Raises Problem, or ConnectionFailed.

    Everything is sent again when the connection is lost or the server says that it is busy: a POST that makes something carries an
    Idempotency-Key, and all else may be done twice.
    """
    return (yield from _answered(core, request, Send(request)))


def opened(core: Core, request: Request) -> Flow[Answer]:
    """Open an answer to read on from. Raises Problem, or ConnectionFailed."""
    return (yield from _answered(core, request, Open(request)))


def _answered(core: Core, request: Request, effect: Send | Open) -> Flow[Answer]:
    outage = Outage(core)
    while True:
        try:
            answer: Answer = yield effect
        except Lost as error:
            yield from outage.lost(error)
            continue
        core.heard = True
        if answer.status < 400 or answer.status in request.also:
            return answer
        wait = answer.retry_after if answer.status in BUSY else None
        if wait is None or not (yield from outage.busy(wait)):
            raise answer.problem()
