"""Asking: tried again where that is safe, given up with a sentence, and problems told as exceptions."""

from __future__ import annotations

import json

import pytest

from halftone.client.errors import (
    AnswerWrong,
    ConnectionFailed,
    Forbidden,
    HalftoneError,
    Invalid,
    NotFound,
    Problem,
    ServerFailed,
    TooLarge,
    Unauthorized,
    Unavailable,
    problem_of,
)
from halftone.client.flow import Lost, ask
from halftone.client.handles import asking
from halftone.client.request import Answer, get
from played_flow import Play, recorded

REFUSED = Lost("Connection refused")
BUSY = Answer(503, {"retry-after": "2"}, b'{"code": "bus-away", "detail": "The broker is away.", "title": "Away"}')
DONE = Answer(202, {}, b"{}")


def test_a_lost_connection_is_tried_again_with_the_same_key() -> None:
    """The server knows the repetition by its key: nothing is made twice."""
    play = Play([REFUSED, Lost("reset"), DONE])
    assert play.run(ask(play.core, asking("/v1/jobs", {"kind": "noop"}))) == DONE
    keys = {request.headers["Idempotency-Key"] for request in play.asked}
    assert (len(play.asked), len(keys)) == (3, 1)


def test_two_requests_have_two_keys() -> None:
    """Asking for the same thing once more makes it once more."""
    assert asking("/v1/jobs", {}).headers != asking("/v1/jobs", {}).headers


def test_a_halftone_that_never_answered_is_not_waited_for() -> None:
    """A wrong address is told at once, with what to do."""
    play = Play([REFUSED], heard=False)
    with pytest.raises(ConnectionFailed, match=r"http://halftone\.test.*'halftone up'.*HALFTONE_URL"):
        play.run(ask(play.core, get("/v1/jobs")))
    assert play.slept == []


def test_patience_ends() -> None:
    """Tries come with growing pauses, and stop after the seconds that were said."""
    play = Play([REFUSED] * 6, retry_for=4.0)
    with pytest.raises(ConnectionFailed, match="it answered before"):
        play.run(ask(play.core, get("/v1/jobs")))
    assert play.slept == sorted(play.slept)
    assert 2.0 < sum(play.slept) <= 4.0


FULL = Answer(429, {"retry-after": "2"}, b'{"code": "too-many-jobs", "detail": "There are too many.", "title": "Too many"}')


@pytest.mark.parametrize("busy", [BUSY, FULL], ids=["away", "full"])
def test_a_busy_server_is_asked_again_when_it_says(busy: Answer) -> None:
    """Retry-After is heeded."""
    play = Play([busy, DONE])
    assert play.run(ask(play.core, get("/v1/jobs"))) == DONE
    assert play.slept == [2.0]


def test_a_server_that_stays_busy_is_given_up() -> None:
    """The last answer is the error."""
    play = Play([BUSY] * 3, retry_for=5.0)
    with pytest.raises(Unavailable, match="The broker is away") as caught:
        play.run(ask(play.core, get("/v1/jobs")))
    assert caught.value.code == "bus-away"


def test_an_error_without_retry_after_is_not_tried_again() -> None:
    """A fault of the server's own would only be repeated."""
    play = Play([Answer(500, {}, b"{}")])
    with pytest.raises(ServerFailed):
        play.run(ask(play.core, get("/v1/jobs")))


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("missing", NotFound, "not-found"),
        ("unknown", NotFound, "not-found"),
        ("unauthorized", Unauthorized, "token-wrong"),
        ("wrong_epsilon", Invalid, "request-invalid"),
    ],
)
def test_a_problem_document_becomes_an_exception(name: str, kind: type[Problem], code: str) -> None:
    """Its kind follows from the status; title, detail and code are the document's."""
    play = Play([recorded(name)])
    with pytest.raises(kind) as caught:
        play.run(ask(play.core, get("/x")))
    document = recorded(name).json()
    error = caught.value
    assert (error.code, error.status) == (code, document["status"])
    assert (error.title, error.detail, str(error)) == (document["title"], document["detail"], document["detail"])


def test_fields_of_a_problem_are_kept() -> None:
    """What a program needs to act on is there, beside the sentence for people."""
    error = recorded("wrong_epsilon").problem()
    assert error.fields["parameter"] == "epsilon"
    assert not {"type", "title", "status", "detail", "code"} & error.fields.keys()


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Invalid), (403, Forbidden), (413, TooLarge), (422, Invalid), (502, ServerFailed), (503, Unavailable)]
)
def test_every_status_has_its_exception(status: int, kind: type[Problem]) -> None:
    """All of them are HalftoneErrors."""
    assert type(problem_of(status, {})) is kind
    assert issubclass(kind, HalftoneError)


def test_an_error_that_is_no_document_is_told_as_it_came() -> None:
    """A proxy in between speaks HTML."""
    error = Answer(502, {"content-type": "text/html"}, b"<h1>Bad Gateway</h1>").problem()
    assert (error.code, error.status) == ("http-502", 502)
    assert "Bad Gateway" in error.detail


def test_what_is_no_json_is_no_halftone() -> None:
    """Something else listens there."""
    with pytest.raises(AnswerWrong, match="text/html"):
        Answer(200, {"content-type": "text/html"}, b"<html>").json()


def test_what_is_not_stated_is_not_sent() -> None:
    """Defaults are the server's."""
    sent = json.loads(asking("/v1/jobs", {"kind": "noop", "rows": None}).content or b"")
    assert sent == {"kind": "noop"}
