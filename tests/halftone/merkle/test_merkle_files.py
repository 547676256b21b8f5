"""Tiles, exports and rotations: what is handed out holds under the key alone, for us, for the single file, and for another's code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tlog_scales import signing, tlog
from tlog_scales.reader import TilesReader

from halftone import verify_log as single
from halftone.merkle import (
    MOST_ENTRY_BYTES,
    Checkpoint,
    Keys,
    LogError,
    MemoryNodes,
    Proof,
    ProofError,
    SignatureError,
    Stretch,
    TamperedError,
    Tile,
    canonical,
    consistency_proof,
    entry_bundle,
    generate_key,
    hash_tile,
    inclusion_proof,
    leaf_hash,
    root,
    sign_checkpoint,
    sign_rotation,
    subtrees,
    tiles,
    verifier_key,
    verify_export,
    verify_log,
    verify_proof,
)
from log_fixture import KEY, NAME, VKEY, exported, note

ENTRIES = [canonical({"id": f"01{i:06d}", "type": "halftone.job.completed.v1", "rows": i * 7}) for i in range(700)]
NODES = MemoryNodes(map(leaf_hash, ENTRIES))
TREE = (len(ENTRIES), root(len(ENTRIES), NODES.get))


class Served:
    """A log's files, made when they are asked for: what the independent reader reads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.known = {tile.path: tile for tile in tiles(size)}

    def get(self, *path: str) -> bytes | None:
        if path == ("checkpoint",):
            return note(NODES, self.size).encode()
        tile = self.known.get("/".join(path[1:]))
        if tile is None:
            return None
        return entry_bundle(ENTRIES[tile.start : tile.end]) if tile.level is None else hash_tile(tile, NODES.get)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 600, 700])
def test_another_implementation_reads_our_tiles_and_checks_our_checkpoint(size: int) -> None:
    """It finds the signature good, the entries where they should be, and computes from the tiles the root that was signed."""
    reader = TilesReader(Served(size))  # type: ignore[arg-type]
    checkpoint = reader.get_checkpoint()
    checkpoint.verify(signing.Vkey.from_string(VKEY))
    assert checkpoint.root_hash == reader.calculate_root_hash() == root(size, NODES.get)
    assert [reader.get_entry(i) for i in range(0, size, 7)] == ENTRIES[:size:7]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_another_implementation_accepts_our_proofs_and_makes_the_same(data: st.DataObject) -> None:
    """Inclusion and consistency, of any leaf and any two sizes."""
    size = data.draw(st.integers(1, 700))
    old, index = data.draw(st.integers(0, size)), data.draw(st.integers(0, size - 1))
    included, consistent = inclusion_proof(index, size, NODES.get), consistency_proof(old, size, NODES.get)
    tlog.InclusionProof(index, size, included).check(leaf_hash(ENTRIES[index]), root(size, NODES.get))
    tlog.ConsistencyProof(old, size, consistent).check(root(old, NODES.get), root(size, NODES.get))
    reader = TilesReader(Served(size))  # type: ignore[arg-type]
    reader.set_size(size)
    assert reader.get_inclusion_proof(index, size).node_hashes == included
    if 0 < old < size:
        assert reader.get_consistency_proof(old, size).node_hashes == consistent


def test_we_accept_what_another_implementation_signs() -> None:
    """Notes have one form."""
    signer = signing.PlainEd25519Signer(NAME, KEY.private_bytes_raw())
    theirs = tlog.Checkpoint.make_signed(NAME, *TREE, [signer])
    assert theirs.serialize() == note(NODES, 700)
    assert signer.vkey.serialize() == VKEY


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "0/000"),
        (Tile(None, 1234067), "entries/x001/x234/067"),
        (Tile(1, 5, 112), "1/005.p/112"),
        (Tile(63, 1000, 1), "63/x001/000.p/1"),
    ],
)
def test_a_tile_has_one_path(tile: Tile, path: str) -> None:
    """As C2SP tlog-tiles writes it, and read back."""
    assert tile.path == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path", ["", "0/0", "0/1000", "64/000", "-1/000", "0/x000/001", "0/000.p/256", "0/000.p/0", "0/000.p/01", "data/000"]
)
def test_what_is_no_path_of_a_tile_is_refused(path: str) -> None:
    """Every tile is served at one address."""
    with pytest.raises(ProofError):
        Tile.parse(path)


def test_an_entry_that_no_bundle_can_hold_is_refused() -> None:
    """Its length is written in two bytes."""
    assert len(entry_bundle([bytes(MOST_ENTRY_BYTES)])) == MOST_ENTRY_BYTES + 2
    with pytest.raises(ProofError, match="does not fit"):
        entry_bundle([bytes(MOST_ENTRY_BYTES + 1)])


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_subtrees_cover_what_they_should_and_begin_where_the_tree_does(first: int, second: int) -> None:
    """Without gaps, each a complete node."""
    start, end = sorted((first, second))
    covered = [leaf for level, index in subtrees(start, end) for leaf in range(index << level, (index + 1) << level)]
    assert covered == list(range(start, end))


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_a_stretch_is_whole_or_refused(data: st.DataObject) -> None:
    """Its entries make the signed root with the hashes around them; one entry more, less or other does not. Two verifiers agree."""
    size = data.draw(st.integers(1, 120))
    start, end = sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    lines = exported(ENTRIES[:size], start, end)
    head, report = verify_export(lines, VKEY)
    assert (head.stretch.start, head.stretch.end, report.checkpoint.size) == (start, end, size)
    assert single.verify_export(lines, VKEY) == (size, root(size, NODES.get), end - start)
    if end - start < 2:
        return
    place = data.draw(st.integers(start, end - 2))
    at = 1 + place - start
    for forged in (
        [*lines[:at], *lines[at + 1 :]],
        [*lines[:at], lines[at], *lines[at:]],
        [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
        [*lines[:at], lines[at].replace(b'"rows":', b'"rows":1'), *lines[at + 1 :]],
        lines[:at],
    ):
        with pytest.raises(TamperedError) as caught:
            verify_export(forged, VKEY)
        with pytest.raises(single.Bad) as alone:
            single.verify_export(forged, VKEY)
        assert caught.value.index in {place, place + 1}
        assert alone.value.first == caught.value.index


def test_a_stretch_survives_json() -> None:
    """And what is not one is refused."""
    stretch = Stretch.make(5, 90, 300, NODES.get)
    data = json.loads(json.dumps(stretch.to_dict()))
    assert Stretch.from_dict(data) == stretch
    assert stretch.root([leaf_hash(entry) for entry in ENTRIES[5:90]]) == root(300, NODES.get)
    wrong: list[dict[str, Any]] = [{"start": True}, {"start": 91}, {"end": 301}, {"left": None}, {"left": ["AAAA"]}, {"right": "x"}]
    for change in wrong:
        with pytest.raises(ProofError):
            Stretch.from_dict({**data, **change})
    with pytest.raises(ProofError):
        Stretch(5, 90, 300, stretch.left[1:], stretch.right).root([leaf_hash(entry) for entry in ENTRIES[5:90]])


def test_an_export_is_compared_with_what_was_signed_before() -> None:
    """The same history goes on; another one, or a shorter one, is found, and other checkpoints in the head say between which entries."""
    lines = exported(ENTRIES[:100], checkpoints=(20, 60))
    older = note(NODES, 40)
    for since in ([], [older], [older, note(NODES, 100), note(NODES, 1)]):
        assert verify_export(lines, VKEY, since=since)[1].checkpoint.size == 100
        assert single.verify_export(lines, VKEY, since)[0] == 100
    forged = [*ENTRIES[:30], canonical({"forged": True}), *ENTRIES[31:100]]
    other = exported(forged, checkpoints=(20, 60))
    for checker in (lambda: verify_export(other, VKEY, since=[older]), lambda: single.verify_export(other, VKEY, [older])):
        with pytest.raises((TamperedError, single.Bad), match="20 to 39 are not those that were signed"):
            checker()
    for checker in (
        lambda: verify_export(lines, VKEY, since=[note(NODES, 101)]),
        lambda: single.verify_export(lines, VKEY, [note(NODES, 101)]),
    ):
        with pytest.raises((TamperedError, single.Bad), match="ends before entry 100"):
            checker()


OLD, NEW, NEWEST = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
VKEYS = [verifier_key(NAME, key.public_key()) for key in (OLD, NEW, NEWEST)]
ROTATIONS = [
    sign_rotation(Checkpoint(NAME, size, root(size, NODES.get)), old, new, NAME) for size, old, new in ((30, OLD, NEW), (50, NEW, NEWEST))
]


@pytest.mark.parametrize("trusted", VKEYS)
def test_a_log_holds_under_any_of_its_keys(trusted: str) -> None:
    """Both keys sign that one follows the other: whoever kept the first checks today's log, and today's key checks an old note."""
    keys = Keys(trusted, ROTATIONS)
    assert keys.current == VKEYS[2]
    notes = [note(NODES, 10, OLD), note(NODES, 30, OLD), note(NODES, 40, NEW), note(NODES, 60, NEWEST)]
    assert [keys.verify(each).size for each in notes] == [10, 30, 40, 60]
    assert [single.Keys(trusted, ROTATIONS).checkpoint(each)[1] for each in notes] == [10, 30, 40, 60]
    assert verify_log(ENTRIES[:60], notes[-1], trusted, earlier=notes, rotations=ROTATIONS).entries == 60
    proof = Proof.make(3, 60, NODES.get, notes[-1])
    assert verify_proof(ENTRIES[3], proof, trusted, rotations=ROTATIONS).size == 60
    bundle = {**proof.to_dict(), "entry": json.loads(ENTRIES[3]), "rotations": ROTATIONS}
    assert single.verify_proof(bundle, trusted)[:2] == (3, 60)


def test_a_key_signs_in_its_time_alone() -> None:
    """One that was given up signs nothing later, and one that was taken up nothing from before."""
    keys = Keys(VKEYS[0], ROTATIONS)
    for wrong in (note(NODES, 31, OLD), note(NODES, 20, NEW), note(NODES, 60, NEW), note(NODES, 40, generate_key())):
        with pytest.raises(SignatureError):
            keys.verify(wrong)
        with pytest.raises(single.Bad):
            single.Keys(VKEYS[0], ROTATIONS).checkpoint(wrong)


def test_a_rotation_that_one_key_alone_signed_is_refused() -> None:
    """Nor does a chain hold that misses a link, or that the trusted key is no part of."""
    thief = generate_key()
    forged = sign_rotation(Checkpoint(NAME, 30, root(30, NODES.get)), thief, NEW, NAME).replace(
        verifier_key(NAME, thief.public_key()), VKEYS[0]
    )
    third = sign_rotation(Checkpoint(NAME, 70, root(70, NODES.get)), OLD, thief, NAME)
    for trusted, rotations in ((VKEYS[0], [forged]), (VKEYS[0], [*ROTATIONS, third]), (VKEY, ROTATIONS), (VKEYS[0], ["no note"])):
        with pytest.raises(LogError):
            Keys(trusted, rotations)
        with pytest.raises(single.Bad):
            single.Keys(trusted, rotations)


def test_the_root_at_a_rotation_is_a_checkpoint_too() -> None:
    """Both keys have signed it: a history that was rewritten behind it is found."""
    forged = [canonical({"forged": True}), *ENTRIES[1:60]]
    nodes = MemoryNodes(map(leaf_hash, forged))
    signed = sign_checkpoint(Checkpoint(NAME, 60, root(60, nodes.get)), NEWEST, NAME)
    with pytest.raises(TamperedError, match="0 to 29"):
        verify_log(forged, signed, VKEYS[0], rotations=ROTATIONS)


VECTORS = [
    ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
]  # fmt: skip
"""RFC 8032, section 7.1."""


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_single_file_checks_ed25519_as_published(public: str, message: str, signature: str) -> None:
    """RFC 8032's vectors hold; with any byte altered, or s beyond the group's order, they do not."""
    key, text, good = map(bytes.fromhex, (public, message, signature))
    assert single.ed25519_verify(key, text, good)
    beyond = good[:32] + (int.from_bytes(good[32:], "little") + single.L).to_bytes(32, "little")
    for wrong in (beyond, good[:-1], bytes(64), *(good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :] for i in range(0, 64, 9))):
        assert not single.ed25519_verify(key, text, wrong)
    assert not single.ed25519_verify(key, text + b"!", good)
    assert not single.ed25519_verify(b"\xff" * 32, text, good)


@given(st.binary(max_size=200))
@settings(max_examples=15, deadline=None)
def test_the_single_file_agrees_with_openssl(message: bytes) -> None:
    """On signatures of fresh keys."""
    key = generate_key()
    assert single.ed25519_verify(key.public_key().public_bytes_raw(), message, key.sign(message))


def test_the_single_file_runs_alone(tmp_path: Path) -> None:
    """With an interpreter that sees no package: a log that holds is 0, one that does not 1 with the entry named, nonsense 2."""
    lines = exported(ENTRIES[:50])
    log, bad, key, kept = (tmp_path / name for name in ("log.jsonl", "bad.jsonl", "key", "kept"))
    log.write_bytes(b"".join(lines))
    bad.write_bytes(b"".join(lines).replace(b'"rows":70,', b'"rows":71,'))
    key.write_text(VKEY + "\n")
    kept.write_text(note(NODES, 20))
    (tmp_path / "proof").write_text(
        json.dumps({**Proof.make(3, 50, NODES.get, note(NODES, 50)).to_dict(), "entry": json.loads(ENTRIES[3])})
    )

    def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", single.__file__, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    good = run(log, "--key", key, "--since", kept)
    assert (good.returncode, good.stdout) == (0, f"verified: 50 of 50 entries, root {root(50, NODES.get).hex()}\n")
    wrong = run(bad, "--key", VKEY)
    assert (wrong.returncode, wrong.stderr.count("first bad entry: 10")) == (1, 1), wrong.stderr
    assert run(log, "--key", verifier_key(NAME, generate_key().public_key())).returncode == 1
    assert run("--proof", tmp_path / "proof", "--key", key).stdout.startswith("proved: entry 3 is in the log of 50 entries")
    for nonsense in ((key, "--key", key), (log, "--key", "no-key"), ("--key", key), (log, "--key", key, "--since", tmp_path / "none")):
        assert run(*nonsense).returncode == 2, nonsense
