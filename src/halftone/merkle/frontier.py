"""A tree that only grows: its right edge is all that is kept, so that a log of any length can be hashed in one pass."""

from __future__ import annotations

from halftone.merkle.tree import EMPTY_ROOT, node_hash


class Frontier:
    """The roots of the complete subtrees of a growing tree; O(log n) memory.

    Its root is that of :func:`halftone.merkle.tree.root`, but needs no stored nodes; nor can it prove anything.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Append one leaf by its hash."""
        # A carry in the binary counter that the size is: every trailing one is a subtree that becomes a left child.
        carry = self.size
        while carry & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            carry >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root over the leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        *rest, found = self._peaks
        for peak in reversed(rest):
            found = node_hash(peak, found)
        return found
