"""The Merkle tree of RFC 9162, section 2.1: hashing, growing, roots and proofs, as pure functions over stored nodes.

Only nodes of complete subtrees are stored. Node ``(level, index)`` is the hash over the leaves from ``index * 2**level`` up to,
not including, ``(index + 1) * 2**level``; once written it never changes. The ragged right edge of a tree whose size is no power
of two is folded from complete nodes when it is asked for, so that every function reads O(log n) nodes. Storing perfect
subtrees by coordinates is the idea of Russ Cox, "Transparent Logs for Skeptical Clients" (2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import count, repeat
from typing import Protocol

from halftone.merkle.errors import MissingNodeError, ProofError

HASH_SIZE = 32
"""Bytes of a SHA-256 hash."""

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves."""

Get = Callable[[int, int], bytes]
"""Reads the hash of the complete node at (level, index)."""

Node = tuple[int, int, bytes]
"""A complete node to be stored: level, index, hash of 32 bytes."""


class Nodes(Protocol):
    """A store of complete nodes."""

    def get(self, level: int, index: int) -> bytes:
        """The hash of the perfect subtree at this level (leaves are 0) and index; 32 bytes."""
        ...


def leaf_hash(data: bytes) -> bytes:
    """Hash an entry to its leaf: SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children to their parent: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def appended(size: int, leaf_hashes: Iterable[bytes], get: Get) -> list[Node]:
    """Find the complete nodes that come into being when leaves are appended; storing them is the whole of appending.

    Args:
        size: leaves in the tree before.
        leaf_hashes: hashes of the new leaves, in order.
        get: reads nodes of the tree before; called at most once per level.

    Returns:
        The new nodes, level by level from the leaves up, by rising index.

    Raises:
        ValueError: a leaf hash has not 32 bytes.

    """
    row = list(leaf_hashes)
    if set(map(len, row)) - {HASH_SIZE}:
        raise ValueError("a leaf hash has 32 bytes")
    nodes: list[Node] = []
    level, first = 0, size
    while row:
        nodes.extend(zip(repeat(level), count(first), row, strict=False))
        if first % 2:
            row.insert(0, get(level, first - 1))
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=False)]
        level, first = level + 1, first // 2
    return nodes


def root(size: int, get: Get) -> bytes:
    """Compute the root over the first ``size`` leaves; reads one node per bit set in ``size``."""
    return _span(0, size, get) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, get: Get) -> list[bytes]:
    """Prove that a leaf is in the tree of ``size`` leaves: the siblings on its way to the root, from the leaf up.

    Raises:
        ProofError: the tree has no such leaf.

    """
    _require_leaf(index, size)
    low, high = 0, size
    siblings: list[bytes] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            siblings.append(_span(middle, high, get))
            high = middle
        else:
            siblings.append(_span(low, middle, get))
            low = middle
    return siblings[::-1]


def consistency_proof(old: int, new: int, get: Get) -> list[bytes]:
    """Prove that the tree of ``old`` leaves is a prefix of the tree of ``new`` leaves (RFC 9162, 2.1.4.1).

    It is empty for equal sizes, and for an empty old tree, which is a prefix of every tree.

    Raises:
        ProofError: not ``0 <= old <= new``.

    """
    _require_sizes(old, new)
    if old in (0, new):
        return []
    low, high = 0, new
    nodes: list[bytes] = []
    while high != old:
        middle = low + _split(high - low)
        if old <= middle:
            nodes.append(_span(middle, high, get))
            high = middle
        else:
            nodes.append(_span(low, middle, get))
            low = middle
    # A subtree that begins with the first leaf is the old tree itself, whose root the verifier has.
    if low:
        nodes.append(_span(low, high, get))
    return nodes[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes) -> None:
    """Check an inclusion proof against a root (RFC 9162, 2.1.3.2).

    The root must come from a checkpoint together with ``size``: a proof alone does not fix the size, since trees of several
    sizes can give one leaf a path of the same shape.

    Args:
        leaf: the leaf's hash, not its data.
        index: the leaf's position, from 0.
        size: leaves in the tree.
        proof: hashes of 32 bytes, from the leaf up.
        root_hash: the root of that tree.

    Raises:
        ProofError: the proof does not hold, or has not the length or form that index and size require.

    """
    _require_leaf(index, size)
    sides = list(_sides(index, size - 1))
    _require_hashes([leaf, root_hash, *proof])
    _require_length(proof, len(sides))
    found = leaf
    for sibling, left in zip(proof, sides, strict=True):
        found = node_hash(sibling, found) if left else node_hash(found, sibling)
    if found != root_hash:
        raise ProofError(f"The proof does not lead from leaf {index} to the root of {size} leaves.")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of ``old`` leaves is a prefix of the tree of ``new`` leaves (RFC 9162, 2.1.4.2).

    Both roots must come from checkpoints together with their sizes.

    Raises:
        ProofError: the proof does not hold, or has not the length or form that the sizes require.

    """
    _require_sizes(old, new)
    _require_hashes([old_root, new_root, *proof])
    if old in (0, new):
        _require_length(proof, 0)
        if old_root != (new_root if old else EMPTY_ROOT):
            raise ProofError(f"The roots of {old} and {new} leaves contradict each other.")
        return
    # The last complete subtree of the old tree is where its way and the new tree's join.
    whole = (old & -old).bit_length() - 1
    sides = list(_sides((old - 1) >> whole, (new - 1) >> whole))
    start = [old_root] if old == 1 << whole else []
    _require_length(proof, len(sides) + 1 - len(start))
    first, *siblings = [*start, *proof]
    found_old = found_new = first
    for sibling, left in zip(siblings, sides, strict=True):
        if left:
            found_old = node_hash(sibling, found_old)
        found_new = node_hash(sibling, found_new) if left else node_hash(found_new, sibling)
    if found_old != old_root:
        raise ProofError(f"The proof does not lead to the root of the older {old} leaves.")
    if found_new != new_root:
        raise ProofError(f"The proof does not lead to the root of the newer {new} leaves.")


class MemoryNodes:
    """Nodes in memory, with a size: for tests, and for proofs made from a log's entries alone."""

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._nodes: dict[tuple[int, int], bytes] = {}
        self.size = 0
        self.append(leaf_hashes)

    def append(self, leaf_hashes: Iterable[bytes]) -> None:
        """Append leaves by their hashes."""
        nodes = appended(self.size, leaf_hashes, self.get)
        self._nodes.update(((level, index), value) for level, index, value in nodes)
        self.size += sum(level == 0 for level, _, _ in nodes)

    def get(self, level: int, index: int) -> bytes:
        """Read a node.

        Raises:
            MissingNodeError: it is not, or not yet, complete.

        """
        try:
            return self._nodes[level, index]
        except KeyError:
            raise MissingNodeError(level, index) from None


def _split(size: int) -> int:
    """The greatest power of two below ``size``, where RFC 9162 splits a tree."""
    return 1 << ((size - 1).bit_length() - 1)


def _span(low: int, high: int, get: Get) -> bytes:
    """The hash over leaves ``low`` to ``high``, where ``low`` is a place at which RFC 9162 begins a subtree of that length."""
    length = high - low
    level = (length & -length).bit_length() - 1
    end = high - (1 << level)
    found = get(level, end >> level)
    while end > low:
        rest = end - low
        level = (rest & -rest).bit_length() - 1
        end -= 1 << level
        found = node_hash(get(level, end >> level), found)
    return found


def _sides(index: int, last: int) -> Iterator[bool]:
    """For each sibling on the way up from node ``index`` of a level that ends with node ``last``: whether it is the left one."""
    while last:
        if index % 2:
            yield True
        elif index < last:
            yield False
        index, last = index // 2, last // 2


def _require_leaf(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ProofError(f"A tree of {size} leaves has no leaf {index}.")


def _require_sizes(old: int, new: int) -> None:
    if not 0 <= old <= new:
        raise ProofError(f"A tree of {old} leaves is no prefix of one of {new}.")


def _require_length(proof: Sequence[bytes], length: int) -> None:
    if len(proof) != length:
        raise ProofError(f"The proof has {len(proof)} hashes where these sizes require {length}.")


def _require_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(value) != HASH_SIZE for value in hashes):
        raise ProofError(f"A hash has {HASH_SIZE} bytes.")
