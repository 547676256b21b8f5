"""One guess about a table, and why it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Confidence = Literal["certain", "likely", "unsure"]
About = Literal["type", "semantic", "categories", "bounds", "pii", "key"]

NAME = "name"
VALUES = "values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """Something that a draft says of a column."""

    column: str
    about: About
    value: str
    """What was guessed, in a word or two; never a value of a row."""
    taken_from: tuple[str, ...]
    """'name', 'values', 'package: ...', 'standard: ...' or 'convention: ...'. Only what was not taken from values is public by itself."""
    confidence: Confidence
    check: str
    """What a person should make sure of before attesting it."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "column": self.column,
            "about": self.about,
            "value": self.value,
            "taken_from": list(self.taken_from),
            "confidence": self.confidence,
            "check": self.check,
        }
