"""What a client can meet: one tree of exceptions, each with the fields of the problem document (RFC 9457) that it was told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contracts.views import JobView

_STANDARD = frozenset({"type", "title", "status", "detail", "code"})


class HalftoneError(Exception):
    """Something went wrong between this program and Halftone."""

    def __init__(
        self, detail: str | None = None, *, status: int | None = None, code: str = "client", title: str | None = None, **fields: Any
    ) -> None:
        self.title = title or (type(self).__doc__ or "").strip().split("\n")[0].rstrip(".")
        self.detail = detail or self.title + "."
        self.status = status
        """Status of the answer; None where there was none."""
        self.code = code
        """A stable word for the kind of problem; docs/errors.md lists them."""
        self.fields: dict[str, Any] = fields
        """What the problem says beside: parameter, line, column, left, ..."""
        super().__init__(self.detail)


class NotConfigured(HalftoneError):
    """It is not known which Halftone is meant, or with which token."""


class ConnectionFailed(HalftoneError):
    """Halftone cannot be reached."""


class AnswerWrong(HalftoneError):
    """The answer is not one that Halftone gives: something else listens there, or the answer was damaged on its way."""


class WaitedTooLong(HalftoneError):
    """The job has not ended within the time that was allowed; it goes on."""


class TableNotUsable(HalftoneError):
    """What was given cannot be sent as a table."""


class ResultMissing(HalftoneError):
    """The job has no such result."""


class Problem(HalftoneError):
    """The request was answered with a problem."""


class Invalid(Problem):
    """The request cannot be taken as it is."""


class Unauthorized(Problem):
    """The token is missing or not known."""


class Forbidden(Problem):
    """The token has no right to this."""


class NotFound(Problem):
    """There is no such thing."""


class Gone(NotFound):
    """It was there, and was deleted."""


class Conflict(Problem):
    """The state of things does not allow this now."""


class TooLarge(Invalid):
    """What was sent is larger than is allowed."""


class ServerFailed(Problem):
    """Halftone could not answer, for a reason of its own."""


class Unavailable(ServerFailed):
    """Halftone cannot take this right now: nothing was accepted, try again."""


class JobEnded(HalftoneError):
    """The job did not complete."""

    def __init__(self, job: JobView, problem: Mapping[str, Any] | None) -> None:
        known = dict(problem or {})
        fields = {name: value for name, value in known.items() if name not in _STANDARD}
        detail = str(known.get("detail") or f"Job {job.id} {job.state}.")
        super().__init__(detail, status=known.get("status"), code=str(known.get("code") or job.state), title=known.get("title"), **fields)
        self.job = job
        """The job as it ended."""


class JobFailed(JobEnded):
    """The job failed."""


class JobRefused(JobEnded):
    """The budget does not pay for the job; nothing was read."""


class JobCancelled(JobEnded):
    """The job was cancelled."""


_BY_STATUS: dict[int, type[Problem]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    429: Unavailable,
    503: Unavailable,
}


def problem_of(status: int, document: Mapping[str, Any]) -> Problem:
    """The exception that a problem document is."""
    kind = _BY_STATUS.get(status) or (ServerFailed if status >= 500 else Invalid)
    fields = {name: value for name, value in document.items() if name not in _STANDARD}
    detail, title = document.get("detail"), document.get("title")
    return kind(
        str(detail) if detail else None, status=status, code=str(document.get("code", f"http-{status}")), title=title or None, **fields
    )
