"""That a stretch of the log is whole: every entry from one index up to another, none left out, none added.

The tree is cut into three: complete subtrees before the stretch, its leaves, and complete subtrees behind it. Together they must make
the signed root, and they can only do so if the leaves are all there, in their places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from halftone.merkle.encoding import from_base64, to_base64
from halftone.merkle.errors import ProofError
from halftone.merkle.frontier import Frontier
from halftone.merkle.tree import HASH_SIZE, Get


@dataclass(frozen=True, slots=True)
class Stretch:
    """The entries from ``start`` up to, not including, ``end`` of a log of ``size``, and the hashes of all others."""

    start: int
    end: int
    size: int
    #: Of the complete subtrees before it, from the first entry on.
    left: tuple[bytes, ...] = ()
    #: Of those behind it.
    right: tuple[bytes, ...] = ()

    @classmethod
    def make(cls, start: int, end: int, size: int, get: Get) -> Stretch:
        """Prove a stretch; reads O(log n) nodes.

        Raises:
            ProofError: not ``0 <= start <= end <= size``.

        """
        _require(start, end, size)
        left, right = (tuple(get(level, index) for level, index in subtrees(*part)) for part in ((0, start), (end, size)))
        return cls(start, end, size, left, right)

    def root(self, leaves: Sequence[bytes]) -> bytes:
        """The root that the stretch with these leaves makes.

        Raises:
            ProofError: there are not as many leaves or hashes as there must be.

        """
        frontier = self.begin()
        if len(leaves) != self.end - self.start:
            raise ProofError(f"The stretch has {self.end - self.start} entries, not {len(leaves)}.")
        frontier.extend(leaves)
        return self.close(frontier)

    def begin(self) -> Frontier:
        """The tree before the stretch: its leaves are to be appended.

        Raises:
            ProofError: it has not the hashes that its bounds require.

        """
        _require(self.start, self.end, self.size)
        frontier = Frontier()
        _add(frontier, self.start, self.left)
        return frontier

    def close(self, frontier: Frontier) -> bytes:
        """The root, once all leaves of the stretch are appended.

        Raises:
            ProofError: it has not the hashes that its bounds require.

        """
        _add(frontier, self.size, self.right)
        return frontier.root()

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; hashes in base64."""
        numbers = {"start": self.start, "end": self.end, "size": self.size}
        return {**numbers, "left": list(map(to_base64, self.left)), "right": list(map(to_base64, self.right))}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Stretch:
        """Read what :meth:`to_dict` wrote; unknown fields are ignored.

        Raises:
            ProofError: a field is missing, or not of its type.

        """
        numbers = [data.get(name) for name in ("start", "end", "size")]
        if not all(type(number) is int for number in numbers):
            raise ProofError("A stretch has the numbers 'start', 'end' and 'size'.")
        try:
            left, right = (tuple(map(from_base64, data[name])) for name in ("left", "right"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProofError("A stretch has lists of hashes in base64: 'left' and 'right'.") from error
        found = cls(data["start"], data["end"], data["size"], left, right)
        _require(found.start, found.end, found.size)
        if any(len(value) != HASH_SIZE for value in (*left, *right)):
            raise ProofError(f"A hash has {HASH_SIZE} bytes.")
        return found


def subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The fewest complete subtrees over the leaves from ``start`` up to ``end``, by level and index, in order."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def _add(frontier: Frontier, end: int, hashes: Sequence[bytes]) -> None:
    wanted = list(subtrees(frontier.size, end))
    if len(wanted) != len(hashes):
        raise ProofError(f"The stretch has {len(hashes)} hashes where its bounds require {len(wanted)}.")
    for (level, _), value in zip(wanted, hashes, strict=True):
        frontier.add(level, value)


def _require(start: int, end: int, size: int) -> None:
    if not 0 <= start <= end <= size < 1 << 63:
        raise ProofError(f"A log of {size} entries has no stretch from {start} to {end}.")
