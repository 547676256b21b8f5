"""What is asked and what is answered, as values: no input or output happens here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from halftone.client.errors import AnswerWrong, Problem, problem_of


@dataclass(frozen=True)
class FilePart:
    """A file of a multipart form: it can be opened again when the request has to be sent again."""

    name: str
    open: Callable[[], BinaryIO]
    media_type: str = "application/octet-stream"

    @classmethod
    def of_bytes(cls, name: str, content: bytes, media_type: str = "application/octet-stream") -> FilePart:
        """A file that is in memory."""
        return cls(name, lambda: io.BytesIO(content), media_type)


@dataclass(frozen=True)
class Request:
    """One HTTP request below the address of a Halftone."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """Sent as JSON, if not None."""
    form: Mapping[str, str] = field(default_factory=dict)
    file: FilePart | None = None
    """Sent as a multipart form, beside ``form``."""
    seconds: float | None = None
    """Longest wait for a sign of the server, where it is not the client's own."""
    also: frozenset[int] = frozenset()
    """Statuses of errors that are answers all the same."""

    @property
    def content(self) -> bytes | None:
        """The JSON body."""
        return None if self.body is None else json.dumps(self.body).encode()


def get(path: str, **query: Any) -> Request:
    """A request to read; parameters that are None are left out."""
    return Request("GET", path, {name: str(value) for name, value in query.items() if value is not None})


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in small letters) and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server says that it is worth trying again."""
        value = self.headers.get("retry-after", "")
        return float(value) if value.isascii() and value.isdecimal() else None

    def json(self) -> Any:
        """The body as JSON. Raises AnswerWrong."""
        try:
            return json.loads(self.body)
        except ValueError:
            kind = self.headers.get("content-type", "no content type")
            raise AnswerWrong(
                f"The answer (status {self.status}, {kind}) is not JSON: is it a Halftone that listens at this address?",
                status=self.status,
            ) from None

    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def problem(self) -> Problem:
        """The error that this answer is."""
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            shown = self.text().strip()[:200] or "nothing"
            document = {"detail": f"The answer has status {self.status} and says: {shown}"}
        return problem_of(self.status, document)
