"""Parameters that several routes take."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, cast

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter, SkipValidation

from api.edge import LONGEST_WAIT, Edge
from api.gateway import Key
from api.policy import Principal
from api.problems import RequestInvalid
from api.recording import ADDRESS
from contracts.envelope import Context
from contracts.ids import DEFAULT_PROJECT, ProjectId
from infra import tracing

Asked = Request[Principal, None, State]
TheEdge = NamedDependency[SkipValidation[Edge]]

Limit = Annotated[int, QueryParameter(ge=1, le=500, description="most items of the answer")]
Cursor = Annotated[str | None, QueryParameter(max_length=80, description="'next' of the page before")]
MinSequence = Annotated[int | None, QueryParameter(ge=0, le=2**62, description="wait, up to 2 s, until this event is in the answer")]
DatasetPath = Annotated[str, PathParameter(description="id of the dataset")]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(name="Idempotency-Key", max_length=255, description="the same key and request again give the same job"),
]
Prefer = Annotated[
    str | None,
    HeaderParameter(name="Prefer", max_length=200, description="wait=N: answer when the job has ended, or after N s (60 at most)"),
]

_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,9})(?:$|[,;\s])")


def context(request: Asked, project: ProjectId = DEFAULT_PROJECT) -> Context:
    """Who asks, for which project, in whose trace."""
    address = cast("dict[str, Any]", request.scope).get(ADDRESS)
    return Context.new(request.user.id, project, tracing.carried(), address)


def wait_seconds(prefer: str | None) -> float | None:
    """How long ``Prefer: wait=N`` (RFC 7240) asks to wait; None where it does not."""
    match = _WAIT.search(prefer) if prefer else None
    return min(float(match[1]), LONGEST_WAIT) if match else None


def key_of(header: str | None, *asked: bytes | str) -> Key | None:
    """The idempotency key of a request for this. Raises RequestInvalid for an empty one."""
    if header is None:
        return None
    if not header.strip():
        raise RequestInvalid("The Idempotency-Key is empty: make one up per request, such as a UUID.", parameter="Idempotency-Key")
    return Key.of(header, *asked)


def bad_cursor(given: str) -> RequestInvalid:
    """The answer to a cursor that no page gave out."""
    return RequestInvalid(f"{given[:80]!r} is no cursor: give 'next' of the page before, or none.", parameter="cursor")


def moment(parameter: str, given: dt.datetime | None) -> str | None:
    """A time as events have theirs: in UTC, to the millisecond (the next one, where it lies between two). Raises RequestInvalid."""
    if given is None:
        return None
    try:
        moment = (given if given.tzinfo else given.replace(tzinfo=dt.UTC)).astimezone(dt.UTC) + dt.timedelta(microseconds=999)
    except OverflowError:
        raise RequestInvalid(f"{parameter}: must lie within the years 1 to 9999 in UTC.", parameter=parameter) from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
