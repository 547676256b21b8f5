"""Fixed answers from elsewhere: the 8 leaves of Certificate Transparency's own tests, with their roots and proofs."""

from __future__ import annotations

import pytest

from halftone.merkle import (
    EMPTY_ROOT,
    Frontier,
    MemoryNodes,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
H0 = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
H1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
H01 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
H23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
H4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
H45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
H67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
H03 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
H47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"

INCLUSION = [(0, 8, [H1, H23, H47]), (5, 8, [H4, H67, H03]), (2, 3, [H01]), (1, 5, [H0, H23, H4])]
CONSISTENCY = [(1, 1, []), (1, 8, [H1, H23, H47]), (6, 8, [H45, H67, H03]), (2, 5, [H23, H4])]


@pytest.fixture(scope="module")
def nodes() -> MemoryNodes:
    return MemoryNodes(map(leaf_hash, LEAVES))


def hashes(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def test_leaves_and_nodes_hash_to_the_known_values() -> None:
    """Leaves are prefixed with 0x00 and nodes with 0x01, so that neither can pass for the other."""
    assert leaf_hash(b"abcdefg").hex() == "6b43f785b72386e132b275bc918c25dbc687ab8427836bef6ce4509b64f4f54d"
    assert node_hash(b"abcd", b"efgh").hex() == "41561b1297f692dad705e28ece8bf47060fba1abeeebda0aa67c43570a36bf79"
    assert EMPTY_ROOT.hex() == ROOTS[0]


@pytest.mark.parametrize("size", range(9))
def test_each_prefix_of_the_eight_leaves_has_its_known_root(nodes: MemoryNodes, size: int) -> None:
    """Stored nodes and the one-pass frontier both give the published root."""
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf_hash(leaf))
    assert root(size, nodes.get).hex() == ROOTS[size]
    assert frontier.root().hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "expected"), INCLUSION)
def test_inclusion_proofs_are_the_known_ones(nodes: MemoryNodes, index: int, size: int, expected: list[str]) -> None:
    """The proof has the published hashes, in the published order, and leads to the published root."""
    assert inclusion_proof(index, size, nodes.get) == hashes(expected)
    verify_inclusion(leaf_hash(LEAVES[index]), index, size, hashes(expected), bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new", "expected"), CONSISTENCY)
def test_consistency_proofs_are_the_known_ones(nodes: MemoryNodes, old: int, new: int, expected: list[str]) -> None:
    """The proof has the published hashes, in the published order, and leads to both published roots."""
    assert consistency_proof(old, new, nodes.get) == hashes(expected)
    verify_consistency(old, new, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]), hashes(expected))
