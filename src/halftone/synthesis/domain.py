"""The refusal of a column whose domain is not public."""

from __future__ import annotations


class DomainNotDeclared(ValueError):
    """The column has no public domain, and reading one off the data would reveal it."""

    code = "domain-not-declared"

    def __init__(self, column: str, declare: str) -> None:
        super().__init__(f"{self.__doc__} Declare for column {column!r}: {declare}.")
        self.column = column
        self.declare = declare
