"""Why two tables cannot be compared. No message holds a row's value."""

from __future__ import annotations

import inspect
from typing import ClassVar


class EvaluationError(ValueError):
    """The two tables cannot be compared."""

    code: ClassVar[str] = "evaluation-impossible"

    def __init__(self, message: str | None = None, /, **fields: int | str | tuple[int | str, ...]) -> None:
        """Say what is wrong and what would be right; ``fields`` is what a program needs to act on it, JSON-able."""
        super().__init__(message or inspect.cleandoc(self.__doc__ or ""))
        self.fields = fields


class ColumnsMissing(EvaluationError):
    """The synthetic table lacks columns of the real one: synthesize from the same schema."""

    code = "columns-missing"


class TableEmpty(EvaluationError):
    """A table without rows or columns cannot be compared."""

    code = "table-empty"


class ColumnIncomparable(EvaluationError):
    """A column holds values of different kinds in the two tables: they must have the same type."""

    code = "column-incomparable"
