"""Every error as a problem document (RFC 9457): what is wrong, and what would be right. Never what is inside."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from litestar.types import ExceptionHandlersMap
from litestar.typing import FieldDefinition
from pydantic_core import ErrorDetails
from sqlalchemy.exc import OperationalError

from contracts.ids import Code
from contracts.problems import Problem, ProblemError

log = structlog.get_logger()

PROBLEM_TYPE = "application/problem+json"
DISCONNECTED = "client disconnected prematurely"
"""The framework's words for a client that goes away while its body is read."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What the operating system says of a file that cannot grow."""
LONGEST_NAME = 160
"""Characters of a parameter's name that are repeated."""
CODE_OF_STATUS: dict[int, Code] = {
    400: "request-invalid",
    401: "token-missing",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "content-type-wrong",
}


class RequestInvalid(ProblemError):
    """The request cannot be taken as it is."""

    status, code = 422, "request-invalid"


class BodyNotJson(ProblemError):
    """The body is not JSON."""

    status, code = 400, "body-not-json"


class ContentTypeWrong(ProblemError):
    """The body is of a kind that this address does not take."""

    status, code = 415, "content-type-wrong"


class ClientGone(ProblemError):
    """The client went away before its request was read."""

    status, code = 400, "client-gone"


class TooLarge(ProblemError):
    """The body is larger than is allowed."""

    status, code = 413, "too-large"


class TokenMissing(ProblemError):
    """A token is needed: send the header 'Authorization: Bearer <token>'."""

    status, code = 401, "token-missing"


class TokenWrong(ProblemError):
    """The token is not known here."""

    status, code = 401, "token-wrong"


class TokenRevoked(ProblemError):
    """The token was revoked: ask for another."""

    status, code = 401, "token-revoked"


class TokenExpired(ProblemError):
    """The token has expired: ask for another."""

    status, code = 401, "token-expired"


class Forbidden(ProblemError):
    """The token has no right to this."""

    status, code = 403, "forbidden"


class NotFound(ProblemError):
    """There is no such thing here."""

    status, code = 404, "not-found"

    @classmethod
    def of(cls, what: str, name: str) -> NotFound:
        """Say of what kind the missing thing is; a name that is no id of ours is shortened."""
        return cls(f"There is no {what} {name[:80]!r}.", id=name[:80])


class Conflict(ProblemError):
    """The state of things does not allow this now."""

    status, code = 409, "conflict"


class KeyReused(ProblemError):
    """The Idempotency-Key was used before with another request: take a new key for a new request."""

    status, code = 409, "idempotency-key-reused"


class TooMany(ProblemError):
    """As many are under way as may be: try again in a moment."""

    status, code = 429, "too-many"
    retry_after: ClassVar[int] = 1
    """Seconds after which it is worth trying again."""


class Unavailable(ProblemError):
    """It cannot be promised right now: try again."""

    status, code = 503, "unavailable"
    retry_after: ClassVar[int] = 1
    """Seconds after which it is worth trying again."""


class BusAway(Unavailable):
    """The message broker is away: nothing was accepted, try again."""

    code = "bus-away"


class StorageAway(Unavailable):
    """The database cannot be written right now: nothing was accepted, try again."""

    code = "storage-away"


class StorageFull(ProblemError):
    """There is no room to store it: nothing was accepted."""

    status, code = 507, "storage-full"


class BacklogFull(Unavailable):
    """More was accepted than has been passed on: nothing was accepted, try again."""

    code = "backlog-full"
    retry_after = 2


def invalid(errors: Iterable[ErrorDetails], hints: Mapping[str, str], tags: frozenset[str] = frozenset()) -> RequestInvalid:
    """What pydantic found wrong with a body, naming each parameter.

    ``hints`` says, by parameter, what would be right where pydantic's own words do not; ``tags`` are the names of a union's members,
    which pydantic puts before the parameter's.
    """
    found = [_described(error, hints, tags) for error in _causes([*errors])]
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return RequestInvalid(first["detail"] + more, parameter=first["parameter"], errors=found)


def _causes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without what follows from others: a list that is too short because something in it could not be read."""
    within = {error["loc"][:depth] for error in errors for depth in range(len(error["loc"]))}
    return [error for error in errors if error["type"] != "too_short" or error["loc"] not in within]


_SAID = {"missing": "is missing", "extra_forbidden": "is not known here"}


def _described(error: ErrorDetails, hints: Mapping[str, str], tags: frozenset[str]) -> dict[str, str]:
    parts = [str(part) for part in error["loc"]]
    if parts and parts[0] in tags:
        del parts[0]
    if error["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        parts = ["kind"]
        said = f"must be one of {', '.join(sorted(tags))}"
    else:
        said = _SAID.get(error["type"], _lower(error["msg"])).replace("tuple should have", "must have").replace(" after validation", "")
    name = ".".join(parts)[:LONGEST_NAME]
    hint = hints.get(parts[-1]) if parts and error["type"] == "missing" else None
    return {"parameter": name, "detail": f"{name or 'the body'}: {said}" + (f": {hint}" if hint else "")}


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ").replace("Input should ", "must ", 1)
    return message[:1].lower() + message[1:]


def answer(document: Problem, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """A problem document as a response."""
    body = document.model_dump_json(exclude_none=True).encode()
    return Response(body, media_type=PROBLEM_TYPE, status_code=document.status, headers=dict(headers or {}))


REFUSED = "halftone.refused"
"""Where a request keeps what it was refused for want of a right: code, right and resource."""


def on_problem(request: Request[Any, Any, Any], error: ProblemError) -> Response[bytes]:
    """A problem that we found ourselves. What somebody was refused for want of a right is entered into the log when it is answered."""
    if error.status == HTTPStatus.FORBIDDEN:
        asked = next(iter(request.path_params.values()), None)
        request.scope[REFUSED] = (error.code, error.fields.get("right"), asked)  # type: ignore[literal-required]  # ours
    headers = {}
    if isinstance(error, Unavailable | TooMany):
        headers["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="halftone"'
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # What is still being sent is not worth reading.
        headers["Connection"] = "close"
    return answer(error.document(), headers)


def on_validation(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    """A path, query or header parameter that is not what its route declares."""
    fields = request.route_handler.parsed_fn_signature.parameters
    errors = []
    for found in error.extra if isinstance(error.extra, list) else []:
        key = str(found.get("key", ""))
        if key == "data":
            # Bodies are read by ``bodies``; only for one that is empty does the framework not ask it.
            return answer(BodyNotJson("The body is empty: a JSON object is needed.").document())
        name = getattr(getattr(fields.get(key), "kwarg_definition", None), "name", None) or key
        errors.append({"parameter": name, "detail": f"{name}: {_right(fields.get(key)) or _lower(str(found.get('message')))}"})
    # Without one of ours, the framework has said it in words: a parameter is missing.
    first = errors[0] if errors else {"parameter": "", "detail": error.detail}
    return answer(RequestInvalid(first["detail"], parameter=first["parameter"], errors=errors).document())


def _right(field: FieldDefinition | None) -> str | None:
    """What a parameter may be, where its type says so."""
    types = () if field is None else (field.annotation, *(inner.annotation for inner in field.inner_types))
    for kind in types:
        if isinstance(kind, type) and issubclass(kind, Enum):
            return f"must be one of {', '.join(str(member.value) for member in kind)}"
    if int in types and field is not None and (limits := field.kwarg_definition) is not None:
        low, high = getattr(limits, "ge", None), getattr(limits, "le", None)
        return "must be a whole number" + (f" from {low}" if low is not None else "") + (f" to {high}" if high is not None else "")
    return None


def on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refused: an unknown address, a method that is not served, a body that is too large."""
    status = error.status_code
    if isinstance(error, InternalServerException) and error.detail == DISCONNECTED:
        # Nobody reads this; what matters is that it is not taken for a fault of ours.
        return answer(ClientGone().document())
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return on_anything(request, error)
    title = HTTPStatus(status).phrase
    detail = {
        404: f"Nothing is served at {request.url.path[:200]!r}: see /schema for what is.",
        405: f"{request.method} is not served at {request.url.path[:200]!r}.",
        413: TooLarge().detail,
    }.get(status, title + ".")
    code = CODE_OF_STATUS.get(status, "request-refused")
    document = Problem(type=f"urn:halftone:problem:{code}", title=title, status=status, detail=detail, code=code)
    return answer(document, error.headers)


def on_os_error(request: Request[Any, Any, Any], error: OSError) -> Response[bytes]:
    """The disk is full, a quota used up, or the file system cannot be written; anything else is a fault of ours."""
    return _without_room(request, error) if error.errno in NO_ROOM else on_anything(request, error)


def on_database_error(request: Request[Any, Any, Any], error: OperationalError) -> Response[bytes]:
    """The database is locked, gone, or has no room: its transaction is undone."""
    if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return _without_room(request, error)
    log.error("request.database_away", route=request.scope.get("path_template", ""), error=str(error.orig))
    return on_problem(request, StorageAway())


def _without_room(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("request.no_room", route=request.scope.get("path_template", ""), error=str(error))
    return on_problem(request, StorageFull())


def on_anything(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A fault of ours: logged with its traceback, told without."""
    log.error("request.failed", method=request.method, route=request.scope.get("path_template", ""), exc_info=error)
    detail = "The request failed for a reason that is not its own; the edge's log says more."
    code = "internal-error"
    return answer(Problem(type=f"urn:halftone:problem:{code}", title="Internal error", status=500, detail=detail, code=code))


HANDLERS: ExceptionHandlersMap = {
    ProblemError: on_problem,
    ValidationException: on_validation,
    HTTPException: on_http,
    OSError: on_os_error,
    OperationalError: on_database_error,
    Exception: on_anything,
}
