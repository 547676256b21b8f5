"""What a column's name says."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+|\d+")


def words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: ``dateOfBirth``, ``DATE_OF_BIRTH`` and ``date of birth`` are the same three."""
    return tuple(word.lower() for word in _WORD.findall(name))


class Hints:
    """A set of phrases that a name may hold, as whole words next to each other."""

    def __init__(self, *phrases: str) -> None:
        self._phrases = tuple(tuple(phrase.split()) for phrase in phrases)

    def __call__(self, name: tuple[str, ...]) -> bool:
        """Whether the words of a name hold one of the phrases, apart or written as one word."""
        joined = "".join(name)
        return any(joined == "".join(phrase) or _within(phrase, name) for phrase in self._phrases)


def _within(phrase: tuple[str, ...], name: tuple[str, ...]) -> bool:
    size = len(phrase)
    return any(name[begin : begin + size] == phrase for begin in range(len(name) - size + 1))
