"""Problem documents (RFC 9457): what went wrong, in a sentence that says what would be right."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from contracts.ids import Code


class Problem(BaseModel):
    """An error as clients see it. Fields of its own kind (column, line, left, ...) stand beside these."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(description="URI of the kind of problem: urn:halftone:problem:<code>")
    title: str = Field(description="the kind, in a few words")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="what is wrong here, and what would be right")
    code: Code


class ProblemError(Exception):
    """Something that a person can put right. The class's docstring is its title; its fields go into the document."""

    status: ClassVar[int] = 422
    code: ClassVar[Code] = "problem"

    def __init__(self, detail: str | None = None, **fields: Any) -> None:
        self.title = (type(self).__doc__ or "").strip().split("\n")[0].rstrip(".")
        self.detail = detail or self.title + "."
        self.fields = fields
        super().__init__(self.detail)

    def document(self) -> Problem:
        return Problem(
            type=f"urn:halftone:problem:{self.code}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            **self.fields,
        )
