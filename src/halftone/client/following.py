"""A job's story, told as it happens: over broken connections, and without server-sent events where they do not pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from contracts.jobs import JobState
from contracts.views import JobEventView, JobView
from halftone.client.errors import AnswerWrong, JobCancelled, JobFailed, JobRefused, WaitedTooLong
from halftone.client.flow import BUSY, Core, Flow, Lost, Open, Outage, Read, Sleep, Tell, ask
from halftone.client.reading import parsed
from halftone.client.request import Answer, Request
from halftone.client.sse import EventParser, ServerEvent

Progress = Callable[[float, str], object]
SILENCE = 40.0
"""Seconds without a ping (there is one every 15) after which a stream is taken to be dead."""
POLL = 5
"""Seconds that one look waits for the job's end, where there is no stream."""


@dataclass(frozen=True)
class Seen:
    """A job as it was answered: the view, and the problem document with all of its fields."""

    view: JobView
    problem: dict[str, Any] | None = None


def look(core: Core, job: str, wait: int | None = None) -> Flow[Seen]:
    """Where a job stands; with ``wait``, the answer comes when it has ended, or after so many seconds."""
    headers = {} if wait is None else {"Prefer": f"wait={wait}"}
    answer = yield from ask(core, Request("GET", f"/v1/jobs/{job}", headers=headers, seconds=None if wait is None else wait + SILENCE))
    return seen(answer.json())


def seen(data: Any) -> Seen:
    return Seen(parsed(JobView, data), data.get("problem"))


def require_completed(job: Seen) -> Seen:
    """The job, if it completed. Raises JobFailed, JobRefused or JobCancelled."""
    kinds = {JobState.FAILED: JobFailed, JobState.REFUSED: JobRefused, JobState.CANCELLED: JobCancelled}
    if job.view.state in kinds:
        raise kinds[job.view.state](job.view, job.problem)
    return job


def told(core: Core, job: str, after: int) -> Flow[None]:
    """Tell a job's events, until the one that ends it."""
    story = _Story(core, job, after)
    while not story.over:
        events = yield from story.more(SILENCE)
        if story.deaf:
            raise AnswerWrong(f"The events of job {job} do not come through: something between here and there stops them. Poll it instead.")
        for event in events:
            if isinstance(event, JobEventView):
                yield Tell(event)


def ended(core: Core, job: str, progress: Progress | None, timeout: float | None) -> Flow[Seen]:
    """A job once it has ended. Raises WaitedTooLong."""
    deadline = None if timeout is None else core.clock() + timeout
    story = _Story(core, job, 0)
    while not story.over:
        left = SILENCE if deadline is None else deadline - core.clock()
        if left <= 0:
            raise WaitedTooLong(f"Job {job} has not ended within {timeout:g} s; it goes on. Wait for it again, or cancel it.", job=job)
        events = [] if story.deaf else (yield from story.more(min(SILENCE, left)))
        if story.deaf:
            found = yield from look(core, job, max(1, min(POLL, int(left))))
            story.over = found.view.state.terminal
            events = [_Advanced(found.view.progress.fraction, found.view.progress.step)] if found.view.progress else []
        for event in events:
            if progress is not None:
                _report(progress, event)
    return (yield from look(core, job))


@dataclass(frozen=True)
class _Advanced:
    fraction: float
    step: str


def _report(progress: Progress, event: JobEventView | _Advanced) -> None:
    if isinstance(event, _Advanced):
        progress(event.fraction, event.step)
    else:
        progress(1.0 if event.terminal else 0.0, event.type.split(".")[2])


@dataclass
class _Story:
    """Where the telling of a job's events has come to."""

    core: Core
    job: str
    after: int
    over: bool = False
    deaf: bool = False
    """No stream comes through: something on the way does not let it."""
    _open: bool = False
    _window: float = 0.0
    _parser: EventParser = field(default_factory=EventParser)
    _outage: Outage = field(init=False)

    def __post_init__(self) -> None:
        self._outage = Outage(self.core)

    def more(self, seconds: float) -> Flow[list[JobEventView | _Advanced]]:
        """What comes next; nothing when the stream has ended before the job, and is to be opened again."""
        # How long a read may take is set when the stream is opened: near a deadline it is opened again, for shorter reads.
        self._open &= seconds > self._window / 2
        try:
            if not self._open:
                yield from self._begin(seconds)
                return []
            piece: bytes = yield Read()
        except Lost as error:
            self._open = False
            if self.core.heard and str(error) == "no answer in time":
                return []
            yield from self._outage.lost(error)
            return []
        self._outage.over()
        if not piece:
            self._open = False
            yield Sleep(0.1)
        return list(self._parsed(piece))

    def _begin(self, seconds: float) -> Flow[None]:
        headers = {"Accept": "text/event-stream"}
        if self.after:
            headers["Last-Event-ID"] = str(self.after)
        answer: Answer = yield Open(Request("GET", f"/v1/jobs/{self.job}/events", headers=headers, seconds=max(1.0, seconds)))
        self.core.heard = True
        if answer.status in {401, 403, 404}:
            raise answer.problem()
        if answer.status in BUSY and (yield from self._outage.busy(answer.retry_after or 1.0)):
            return
        self._parser, self._window = EventParser(), seconds
        self._open = answer.status == 200 and answer.headers.get("content-type", "").startswith("text/event-stream")
        self.deaf = not self._open

    def _parsed(self, piece: bytes) -> Iterator[JobEventView | _Advanced]:
        for event in self._parser.feed(piece):
            known = _known(event)
            if isinstance(known, JobEventView):
                self.after = max(self.after, known.sequence)
                self.over |= known.terminal
            yield known


def _known(event: ServerEvent) -> JobEventView | _Advanced:
    data = json.loads(event.data)
    if event.name == "progress":
        return _Advanced(float(data["fraction"]), str(data["step"]))
    return parsed(JobEventView, data)
