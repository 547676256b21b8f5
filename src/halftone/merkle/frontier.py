"""A tree that only grows: its right edge is all that is kept, so that a log of any length can be hashed in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from halftone.merkle.tree import EMPTY_ROOT, Node, appended, node_hash


class Frontier:
    """The roots of the complete subtrees of a growing tree; O(log n) memory.

    Its root is that of :func:`halftone.merkle.tree.root`, but needs no stored nodes; nor can it prove anything.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Append one leaf by its hash."""
        self.add(0, leaf)

    def add(self, level: int, subtree: bytes) -> None:
        """Append ``2**level`` leaves by the hash over them; the size must be a multiple of as many.

        Raises:
            ValueError: it is not.

        """
        if self.size % (1 << level):
            raise ValueError(f"a subtree of {1 << level} leaves cannot begin at leaf {self.size}")
        # A carry in the binary counter that the size is: every trailing one is a subtree that becomes a left child.
        carry = self.size >> level
        while carry & 1:
            subtree = node_hash(self._peaks.pop(), subtree)
            carry >>= 1
        self._peaks.append(subtree)
        self.size += 1 << level

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Append leaves by their hashes: what ``append`` does one by one, several times as fast."""
        start = 0
        while start < len(leaves):
            level = min((len(leaves) - start).bit_length() - 1, (self.size & -self.size).bit_length() - 1 if self.size else 64)
            row = leaves[start : start + (1 << level)]
            start += 1 << level
            while len(row) > 1:
                row = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=True)]
            self.add(level, row[0])

    def completed(self, leaves: Sequence[bytes]) -> list[Node]:
        """The complete nodes that come into being when these leaves are appended."""
        return appended(self.size, leaves, self._peak)

    def root(self) -> bytes:
        """The root over the leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        *rest, found = self._peaks
        for peak in reversed(rest):
            found = node_hash(peak, found)
        return found

    def _peak(self, level: int, index: int) -> bytes:
        # Left siblings of what is appended are peaks; there is one for each bit that is set in the size.
        assert index == (self.size >> level) - 1  # noqa: S101  # appended asks for no other
        return self._peaks[(self.size >> (level + 1)).bit_count()]
