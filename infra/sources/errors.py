"""Why rows could not be had. No message holds a value of a row, an address or a credential."""

from __future__ import annotations

from contracts.problems import ProblemError


class SourceUnknown(ProblemError):
    """No source has that name: an administrator names them in the settings."""

    status, code = 404, "source-unknown"


class SourceUnreachable(ProblemError):
    """The source does not answer: try the job again in a while, or ask whoever runs the source."""

    status, code = 503, "source-unreachable"


class SourceDenied(ProblemError):
    """The source does not let Halftone in: an administrator should see to the credentials in the settings."""

    status, code = 502, "source-denied"


class QueryRefused(ProblemError):
    """The database does not take the query."""

    status, code = 422, "query-refused"


class QueryFailed(ProblemError):
    """The query failed while it ran."""

    status, code = 422, "query-failed"


class QueryTooSlow(ProblemError):
    """The query takes longer than is allowed: select fewer rows, or have HALFTONE_SQL_SECONDS raised."""

    status, code = 422, "query-too-slow"


class KeyUnknown(ProblemError):
    """The store holds nothing under that key."""

    status, code = 404, "source-key-unknown"


class KeyTooLarge(ProblemError):
    """What the store holds under that key is larger than is allowed."""

    status, code = 413, "too-large"
