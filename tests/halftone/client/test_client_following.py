"""Following a job: over broken streams, without streams, and no longer than was said."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftone.client.errors import AnswerWrong, NotFound, WaitedTooLong
from halftone.client.flow import Lost
from halftone.client.following import ended, told
from halftone.client.request import Answer
from halftone.client.sse import EventParser, ServerEvent
from played_flow import Play, recorded

STORY = recorded("story").body
JOB = recorded("ingested").json()["id"]
STREAM = Answer(200, {"content-type": "text/event-stream; charset=utf-8"})
SILENT = Lost("no answer in time")
FIRST = STORY[: STORY.index(b"id: 3")]
REST = STORY[STORY.index(b"id: 3") :]
PROGRESS = b'event: progress\ndata: {"attempt": 1, "step": "draw", "fraction": 0.75}\n\n'


@given(st.lists(st.integers(0, len(STORY)), max_size=8).map(sorted), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_do_not_depend_on_how_bytes_are_cut(cuts: list[int], ending: bytes) -> None:
    """However a network cuts the stream, and whichever of the three line ends it uses, the same events come out."""
    whole = STORY.replace(b"\r\n", b"\n")
    expected = list(EventParser().feed(whole + b"\n"))
    parser, stream = EventParser(), whole.replace(b"\n", ending) + ending
    edges = [0, *(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[low:high] for low, high in itertools.pairwise(edges)]
    found = [event for piece in [*pieces, ending] for event in parser.feed(piece)]
    assert found == expected
    assert [event.id for event in found][:2] == ["2", "3"]


def test_pings_and_several_data_lines_are_read() -> None:
    """Comments say nothing; data lines are joined."""
    assert list(EventParser().feed(b": ping\n\ndata: a\ndata: b\n\n")) == [ServerEvent("message", "a\nb")]


def test_a_story_is_told_to_its_end() -> None:
    """Every event once, in order; progress is no event."""
    play = Play([STREAM, FIRST + PROGRESS, REST])
    play.run(told(play.core, JOB, 0))
    assert [event.type.split(".")[2] for event in play.told] == ["accepted", "started", "completed"]


@pytest.mark.parametrize("end", [b"", Lost("reset"), SILENT], ids=["closed", "reset", "silent"])
def test_a_broken_stream_is_taken_up_after_the_last_event(end: bytes | Lost) -> None:
    """Nothing is told twice, nothing is missed."""
    play = Play([STREAM, FIRST, end, STREAM, REST])
    play.run(told(play.core, JOB, 0))
    assert [request.headers.get("Last-Event-ID") for request in play.asked] == [None, "2"]
    assert [event.sequence for event in play.told] == [2, 3, 6]


def test_a_wait_reports_progress_and_gives_the_job() -> None:
    """Steps and fractions as they come."""
    play, heard = Play([STREAM, FIRST + PROGRESS, REST, recorded("ingested")]), []
    job = play.run(ended(play.core, JOB, lambda fraction, step: heard.append((fraction, step)), None))
    assert job.view.state == "completed"
    assert heard == [(0.0, "accepted"), (0.75, "draw"), (0.0, "started"), (1.0, "completed")]


def test_without_a_stream_the_job_is_polled() -> None:
    """A proxy that knows no event streams is no hindrance to waiting."""
    page = Answer(200, {"content-type": "text/html"})
    play = Play([page, recorded("ingested"), recorded("ingested")])
    assert play.run(ended(play.core, JOB, None, None)).view.state == "completed"
    assert play.asked[1].headers["Prefer"].startswith("wait=")


def test_events_without_a_stream_are_an_error() -> None:
    """They cannot be polled; that is said."""
    play = Play([Answer(200, {"content-type": "text/html"})])
    with pytest.raises(AnswerWrong, match="Poll it"):
        play.run(told(play.core, JOB, 0))


def test_a_wait_ends_when_it_was_said_to() -> None:
    """Reads get shorter towards the deadline, so that silence does not carry the wait beyond it."""
    play = Play([STREAM, SILENT])
    with pytest.raises(WaitedTooLong, match="it goes on"):
        play.run(ended(play.core, JOB, None, 10.0))
    assert play.now - 1000.0 == pytest.approx(10.0)


def test_an_unknown_job_is_not_waited_for() -> None:
    """Its absence is told at once."""
    play = Play([recorded("missing")])
    with pytest.raises(NotFound):
        play.run(ended(play.core, "job_x", None, None))
