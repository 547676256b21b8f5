"""The tree's laws, against RFC 9162, section 2.1, written out word for word over lists."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from halftone.merkle import (
    EMPTY_ROOT,
    Frontier,
    MemoryNodes,
    MissingNodeError,
    ProofError,
    appended,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

DATA = [b"entry %d" % i for i in range(300)]
LEAVES = [leaf_hash(entry) for entry in DATA]
NODES = MemoryNodes(LEAVES)


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(data: list[bytes]) -> bytes:
    """The Merkle tree hash (2.1.1)."""
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = split(len(data))
    return sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: list[bytes]) -> list[bytes]:
    """PATH(m, D_n) (2.1.3.1)."""
    if len(data) == 1:
        return []
    k = split(len(data))
    return [*path(m, data[:k]), mth(data[k:])] if m < k else [*path(m - k, data[k:]), mth(data[:k])]


def shape(m: int, n: int) -> list[bool]:
    """Whether each sibling in PATH(m, D_n) is the left one."""
    if n == 1:
        return []
    k = split(n)
    return [*shape(m, k), False] if m < k else [*shape(m - k, n - k), True]


def subproof(m: int, data: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF(m, D_n, b) (2.1.4.1)."""
    if m == len(data):
        return [] if whole else [mth(data)]
    k = split(len(data))
    if m <= k:
        return [*subproof(m, data[:k], whole), mth(data[k:])]
    return [*subproof(m - k, data[k:], False), mth(data[:k])]


sizes = st.integers(1, len(DATA))


@st.composite
def leaves_in_trees(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(sizes)
    return draw(st.integers(0, size - 1)), size


@st.composite
def pairs_of_sizes(draw: st.DrawFn, least: int = 0) -> tuple[int, int]:
    new = draw(st.integers(least, len(DATA)))
    return draw(st.integers(least, new)), new


def flipped(value: bytes, bit: int) -> bytes:
    """The hash with one bit, of 256, the other way."""
    return (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(len(value), "big")


def test_every_size_has_the_root_of_the_definition() -> None:
    """The root is folded from complete nodes alone, also where the right edge is ragged, and the frontier agrees."""
    frontier = Frontier()
    for size in range(131):
        assert root(size, NODES.get) == mth(DATA[:size]) == frontier.root()
        assert frontier.size == size
        frontier.append(LEAVES[size])


def test_every_inclusion_proof_up_to_40_leaves_is_that_of_the_definition_and_verifies() -> None:
    """For every size and index, the proof is PATH(m, D_n) and holds against MTH(D_n)."""
    for size in range(1, 41):
        for index in range(size):
            proof = inclusion_proof(index, size, NODES.get)
            assert proof == path(index, DATA[:size])
            verify_inclusion(LEAVES[index], index, size, proof, mth(DATA[:size]))


def test_every_consistency_proof_up_to_40_leaves_is_that_of_the_definition_and_verifies() -> None:
    """For every two sizes, the proof is PROOF(m, D_n) and holds against both roots; an empty tree is a prefix of all."""
    for new in range(41):
        for old in range(new + 1):
            proof = consistency_proof(old, new, NODES.get)
            assert proof == (subproof(old, DATA[:new], True) if old else [])
            verify_consistency(old, new, mth(DATA[:old]), mth(DATA[:new]), proof)


@given(leaves_in_trees())
def test_inclusion_proofs_verify_in_larger_trees(place: tuple[int, int]) -> None:
    """What holds for all small trees holds for larger ones."""
    index, size = place
    proof = inclusion_proof(index, size, NODES.get)
    assert proof == path(index, DATA[:size])
    verify_inclusion(LEAVES[index], index, size, proof, root(size, NODES.get))


@given(pairs_of_sizes())
def test_consistency_proofs_verify_in_larger_trees(pair: tuple[int, int]) -> None:
    """What holds for all small pairs of sizes holds for larger ones."""
    old, new = pair
    verify_consistency(old, new, root(old, NODES.get), root(new, NODES.get), consistency_proof(old, new, NODES.get))


@given(st.lists(st.integers(0, 40), max_size=12))
def test_appending_in_batches_is_appending_at_once(batches: list[int]) -> None:
    """However leaves come, the same complete nodes are stored, each exactly once."""
    size = 0
    stored: dict[tuple[int, int], bytes] = {}
    for batch in batches:
        for level, index, value in appended(
            size, LEAVES[size : size + batch] if size + batch <= len(LEAVES) else [], lambda *at: stored[at]
        ):
            assert (level, index) not in stored
            stored[level, index] = value
        size += batch if size + batch <= len(LEAVES) else 0
    assert stored == {(level, index): value for level, index, value in appended(0, LEAVES[:size], NODES.get)}
    assert set(stored) == {(level, index) for level in range(size.bit_length()) for index in range(size >> level)}


@given(leaves_in_trees(), st.data())
def test_a_changed_leaf_proof_or_root_is_refused(place: tuple[int, int], data: st.DataObject) -> None:
    """One bit the other way in any hash, or one hash more, less or moved, and the proof does not hold."""
    index, size = place
    proof, top = inclusion_proof(index, size, NODES.get), root(size, NODES.get)
    bit = data.draw(st.integers(0, 255))
    forged = [
        (flipped(LEAVES[index], bit), proof, top),
        (LEAVES[index], proof, flipped(top, bit)),
        (LEAVES[index], [*proof, top], top),
        (LEAVES[index], [top, *proof], top),
        *((LEAVES[index], [*proof[:i], flipped(proof[i], bit), *proof[i + 1 :]], top) for i in range(len(proof))),
        *((LEAVES[index], [*proof[:i], *proof[i + 1 :]], top) for i in range(len(proof))),
        *((LEAVES[index], [*proof[:i], proof[i + 1], proof[i], *proof[i + 2 :]], top) for i in range(len(proof) - 1)),
    ]
    for leaf, hashes, claimed in forged:
        with pytest.raises(ProofError):
            verify_inclusion(leaf, index, size, hashes, claimed)


@given(leaves_in_trees(), st.integers(-2, 310))
def test_a_changed_index_is_refused(place: tuple[int, int], other: int) -> None:
    """A proof holds for one position only."""
    index, size = place
    assume(other != index)
    with pytest.raises(ProofError):
        verify_inclusion(LEAVES[index], other, size, inclusion_proof(index, size, NODES.get), root(size, NODES.get))


@given(leaves_in_trees(), st.integers(-2, 600))
def test_a_changed_size_is_refused_unless_the_path_has_the_same_shape(place: tuple[int, int], other: int) -> None:
    """The hashes fix the path's shape, not the size: this is why a size counts only as part of a signed checkpoint."""
    index, size = place
    proof, top = inclusion_proof(index, size, NODES.get), root(size, NODES.get)
    if other > index and shape(index, other) == shape(index, size):
        verify_inclusion(LEAVES[index], index, other, proof, top)
    else:
        with pytest.raises(ProofError):
            verify_inclusion(LEAVES[index], index, other, proof, top)


@given(pairs_of_sizes(least=1), st.data())
def test_a_changed_consistency_proof_or_root_is_refused(pair: tuple[int, int], data: st.DataObject) -> None:
    """One bit the other way in any hash, one hash more or less, or another old size, and the proof does not hold."""
    old, new = pair
    proof, before, after = consistency_proof(old, new, NODES.get), root(old, NODES.get), root(new, NODES.get)
    bit = data.draw(st.integers(0, 255))
    other = data.draw(st.integers(0, new).filter(lambda size: size != old))
    forged = [
        (old, flipped(before, bit), after, proof),
        (old, before, flipped(after, bit), proof),
        (other, before, after, proof),
        (old, before, after, [*proof, after]),
        *((old, before, after, [*proof[:i], flipped(proof[i], bit), *proof[i + 1 :]]) for i in range(len(proof))),
        *((old, before, after, [*proof[:i], *proof[i + 1 :]]) for i in range(len(proof))),
    ]
    for size, first, second, hashes in forged:
        with pytest.raises(ProofError):
            verify_consistency(size, new, first, second, hashes)


@given(pairs_of_sizes(least=1), st.data())
def test_a_forked_log_has_no_consistency_proof(pair: tuple[int, int], data: st.DataObject) -> None:
    """A tree whose first entries differ in one place cannot pass for the continuation of the old one."""
    old, new = pair
    place = data.draw(st.integers(0, old - 1))
    fork = MemoryNodes([*LEAVES[:place], leaf_hash(b"another"), *LEAVES[place + 1 : new]])
    with pytest.raises(ProofError):
        verify_consistency(old, new, root(old, NODES.get), root(new, fork.get), consistency_proof(old, new, fork.get))


@given(pairs_of_sizes(least=1), st.data())
def test_every_function_reads_few_nodes_and_only_complete_ones(pair: tuple[int, int], data: st.DataObject) -> None:
    """A root, a proof or an append reads at most twice the tree's height of nodes, none of them beyond its size."""
    old, new = pair
    index = data.draw(st.integers(0, new - 1))
    reads: list[int] = []

    def get(level: int, at: int) -> bytes:
        assert at + 1 << level <= new
        reads.append(level)
        return NODES.get(level, at)

    for work in (
        lambda: root(new, get),
        lambda: inclusion_proof(index, new, get),
        lambda: consistency_proof(old, new, get),
        lambda: appended(new, LEAVES[:20], get),
    ):
        reads.clear()
        work()
        assert len(reads) <= 2 * new.bit_length()


def test_a_contradiction_between_equal_or_empty_trees_is_refused() -> None:
    """Equal sizes have equal roots, the empty tree has one root, and neither needs or takes a proof."""
    one, two = root(1, NODES.get), root(2, NODES.get)
    verify_consistency(0, 2, EMPTY_ROOT, two, [])
    for arguments in ((2, 2, one, two, []), (0, 2, one, two, []), (2, 2, two, two, [one]), (0, 2, EMPTY_ROOT, two, [one])):
        with pytest.raises(ProofError):
            verify_consistency(*arguments)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (7, 5)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    """There is nothing to prove, and nothing that verifies."""
    with pytest.raises(ProofError, match=f"has no leaf {index}"):
        inclusion_proof(index, size, NODES.get)
    with pytest.raises(ProofError, match=f"has no leaf {index}"):
        verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])


@pytest.mark.parametrize(("old", "new"), [(6, 5), (-1, 5)])
def test_sizes_out_of_order_have_no_proof(old: int, new: int) -> None:
    """A longer tree is no prefix of a shorter one."""
    with pytest.raises(ProofError, match="no prefix"):
        consistency_proof(old, new, NODES.get)
    with pytest.raises(ProofError, match="no prefix"):
        verify_consistency(old, new, LEAVES[0], LEAVES[0], [])


def test_hashes_of_another_length_are_refused() -> None:
    """Lengths are checked before hashing: bytes must not move between a node's two children."""
    proof, top = inclusion_proof(0, 2, NODES.get), root(2, NODES.get)
    with pytest.raises(ProofError, match="32 bytes"):
        verify_inclusion(LEAVES[0][:-1], 0, 2, [LEAVES[0][-1:] + proof[0]], top)
    with pytest.raises(ValueError, match="32 bytes"):
        appended(0, [LEAVES[0], b"short"], NODES.get)


def test_a_node_that_is_not_stored_is_named() -> None:
    """A store with a hole says which node it lacks."""
    with pytest.raises(MissingNodeError, match="node 2 at level 1") as caught:
        MemoryNodes(LEAVES[:5]).get(1, 2)
    assert (caught.value.level, caught.value.index) == (1, 2)
