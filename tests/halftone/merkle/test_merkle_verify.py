"""Verifying a whole log, and proofs handed out: what holds passes, what was tampered with is found, and where."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from halftone.merkle import (
    EMPTY_ROOT,
    Checkpoint,
    Frontier,
    LogError,
    MemoryNodes,
    NoteError,
    Proof,
    ProofError,
    SignatureError,
    TamperedError,
    canonical,
    generate_key,
    leaf_hash,
    root,
    sign_checkpoint,
    verifier_key,
    verify_log,
    verify_proof,
)

NAME = "halftone.example/log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = verifier_key(NAME, KEY.public_key())

ENTRIES = [canonical({"id": f"01{i:06d}", "type": "halftone.job.completed.v1", "rows": i * 7, "share": i / 8}) for i in range(100)]
RECORDED = [leaf_hash(entry) for entry in ENTRIES]
NODES = MemoryNodes(RECORDED)


def note(size: int, *, of: MemoryNodes = NODES, origin: str = NAME) -> str:
    return sign_checkpoint(Checkpoint(origin, size, root(size, of.get)), KEY, NAME)


def edited(entries: list[bytes], random_: random.Random) -> int:
    """Change one number, so that the entry stays canonical."""
    place = random_.randrange(len(entries))
    value = json.loads(entries[place])
    entries[place] = canonical({**value, "rows": value["rows"] + random_.randint(1, 9)})
    return place


def mangled(entries: list[bytes], random_: random.Random) -> int:
    """Change one byte, whatever becomes of it."""
    place = random_.randrange(len(entries))
    entry = bytearray(entries[place])
    entry[random_.randrange(len(entry))] ^= random_.randint(1, 255)
    entries[place] = bytes(entry)
    return place


def dropped(entries: list[bytes], random_: random.Random) -> int:
    place = random_.randrange(len(entries))
    del entries[place]
    return place


def inserted(entries: list[bytes], random_: random.Random) -> int:
    place = random_.randrange(len(entries))
    entries.insert(place, canonical({"id": "forged", "n": random_.randrange(1000)}))
    return place


def swapped(entries: list[bytes], random_: random.Random) -> int:
    first, second = sorted(random_.sample(range(len(entries)), 2))
    entries[first], entries[second] = entries[second], entries[first]
    return first


def truncated(entries: list[bytes], random_: random.Random) -> int:
    place = random_.randrange(len(entries))
    del entries[place:]
    return place


TAMPERINGS: list[Callable[[list[bytes], random.Random], int]] = [edited, mangled, dropped, inserted, swapped, truncated]


@pytest.mark.parametrize("size", [0, 1, 2, 63, 64, 65, 100])
def test_an_untouched_log_holds(size: int) -> None:
    """Entries, checkpoint and key are enough; recorded hashes and older checkpoints agree where they are given."""
    earlier = [note(older) for older in (0, size // 2, size)]
    plain = verify_log(ENTRIES[:size], note(size), VKEY)
    full = verify_log(iter(ENTRIES[:size]), note(size), VKEY, leaf_hashes=iter(RECORDED), earlier=earlier, origin=NAME)
    assert plain == full
    assert (plain.checkpoint.size, plain.entries, plain.uncovered) == (size, size, 0)


def test_entries_after_the_checkpoint_are_counted_and_left_alone() -> None:
    """A log that is being written has entries not signed yet, the last perhaps torn: that is no fault."""
    report = verify_log([*ENTRIES[:70], b'{"torn":'], note(64), VKEY, leaf_hashes=RECORDED[:64])
    assert (report.checkpoint.size, report.entries, report.uncovered) == (64, 71, 7)


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_a_thousand_random_tamperings_are_found_and_named(tamper: Callable[[list[bytes], random.Random], int]) -> None:
    """Each of six kinds, 200 times: verification fails always, and with recorded hashes names the first bad entry."""
    random_ = random.Random(20_251_122)
    for _ in range(200):
        entries = list(ENTRIES[: random_.randint(2, 40)])
        signed = note(len(entries))
        place = tamper(entries, random_)
        with pytest.raises(TamperedError) as plain:
            verify_log(entries, signed, VKEY)
        assert place in plain.value.span
        with pytest.raises(TamperedError) as caught:
            verify_log(entries, signed, VKEY, leaf_hashes=RECORDED)
        assert caught.value.index == place
        assert list(caught.value.span) == [place]
        assert str(place) in str(caught.value)


@pytest.mark.parametrize("tamper", [edited, swapped, inserted])
def test_hashes_altered_together_with_the_entries_do_not_help_a_forger(tamper: Callable[[list[bytes], random.Random], int]) -> None:
    """The signature is over the root: a forger who rewrites the recorded hashes too is found all the same."""
    entries = list(ENTRIES[:50])
    tamper(entries, random.Random(1))
    with pytest.raises(TamperedError) as caught:
        verify_log(entries, note(50), VKEY, leaf_hashes=map(leaf_hash, entries))
    assert caught.value.index is None
    assert caught.value.span == range(50)


@given(st.integers(0, 99), st.sets(st.integers(1, 99), max_size=6))
def test_earlier_checkpoints_narrow_the_fault(place: int, sizes: set[int]) -> None:
    """Without recorded hashes, the first bad entry is between two checkpoints: the last that holds and the next."""
    entries = list(ENTRIES)
    entries[place] = canonical({"forged": True})
    with pytest.raises(TamperedError) as caught:
        verify_log(entries, note(100), VKEY, earlier=[note(size) for size in sizes])
    assert caught.value.span == range(
        max((size for size in sizes if size <= place), default=0), min((size for size in sizes if size > place), default=100)
    )


def test_a_fork_is_found() -> None:
    """Two checkpoints over different histories cannot both hold, not even when they have the same size."""
    fork = MemoryNodes([*RECORDED[:30], leaf_hash(b"{}"), *RECORDED[31:]])
    with pytest.raises(TamperedError, match="contradict each other"):
        verify_log(ENTRIES[:64], note(64), VKEY, earlier=[note(64, of=fork)])
    with pytest.raises(TamperedError) as caught:
        verify_log(ENTRIES, note(100), VKEY, earlier=[note(30, of=fork), note(64, of=fork)])
    assert caught.value.span == range(30, 64)


def test_a_log_rolled_back_behind_its_checkpoint_is_found() -> None:
    """A restored older copy lacks what was signed since: the first missing entry is named."""
    with pytest.raises(TamperedError, match="has 64 entries where 100 were signed: it ends before entry 64") as caught:
        verify_log(ENTRIES[:64], note(100), VKEY, earlier=[note(64)])
    assert caught.value.index == 64
    with pytest.raises(TamperedError, match="has 64 entries where 100 were signed; the first 50 hold") as caught:
        verify_log(ENTRIES[:64], note(100), VKEY, earlier=[note(50)])
    assert (caught.value.index, caught.value.span) == (None, range(50, 100))


def test_a_checkpoint_older_than_one_known_is_refused() -> None:
    """A rolled-back checkpoint that fits a rolled-back log is found by whoever kept a newer one; an old one over a whole log is none."""
    with pytest.raises(TamperedError, match="has 64 entries where 100 were signed") as caught:
        verify_log(ENTRIES[:64], note(64), VKEY, earlier=[note(100)])
    assert caught.value.index == 64
    assert verify_log(ENTRIES, note(64), VKEY, earlier=[note(100)]).checkpoint.size == 100


@pytest.mark.parametrize("bad", [b'{"b":1,"a":2}', b'{"a": 1}', b"not JSON", b"\xff", b""])
def test_an_entry_that_is_not_canonical_is_named(bad: bytes) -> None:
    """Also when it was signed: the log promises canonical entries, so that equal facts have equal hashes."""
    entries = [*ENTRIES[:5], bad, *ENTRIES[6:10]]
    nodes = MemoryNodes(map(leaf_hash, entries))
    with pytest.raises(TamperedError, match="Entry 5 is not as the log writes") as caught:
        verify_log(entries, note(10, of=nodes), VKEY)
    assert caught.value.index == 5


def test_a_missing_recorded_hash_is_named() -> None:
    """Recorded hashes that end early are tampered with too."""
    with pytest.raises(TamperedError) as caught:
        verify_log(ENTRIES[:20], note(20), VKEY, leaf_hashes=RECORDED[:7])
    assert caught.value.index == 7


def test_the_signature_is_checked_before_any_entry_is_read() -> None:
    """A forged checkpoint is refused at once, however long the log is."""
    forged = sign_checkpoint(Checkpoint(NAME, 1, RECORDED[0]), generate_key(), NAME)

    def unread() -> Iterator[bytes]:
        pytest.fail("an entry was read")
        yield b""

    for arguments in ({"checkpoint_note": forged}, {"checkpoint_note": note(1), "earlier": [forged]}):
        with pytest.raises(SignatureError):
            verify_log(unread(), vkey=VKEY, **arguments)
    with pytest.raises(NoteError, match="of the log"):
        verify_log(unread(), note(1), VKEY, origin="other.example/log")
    with pytest.raises(NoteError, match="of the log"):
        verify_log(unread(), note(1), VKEY, earlier=[note(1, origin="other.example/log")])


def test_the_empty_log_has_one_root() -> None:
    """A checkpoint of nothing holds for nothing, and no other root does."""
    assert verify_log([], sign_checkpoint(Checkpoint(NAME, 0, EMPTY_ROOT), KEY, NAME), VKEY).entries == 0
    with pytest.raises(TamperedError):
        verify_log([], sign_checkpoint(Checkpoint(NAME, 0, bytes(32)), KEY, NAME), VKEY)


def test_memory_does_not_grow_with_the_log() -> None:
    """Twenty thousand entries pass through in a third of what their hashes would take: the tree's right edge and a batch are kept."""
    frontier, size = Frontier(), 20_000
    for i in range(size):
        frontier.append(leaf_hash(b'{"n":%d}' % i))
    signed = sign_checkpoint(Checkpoint(NAME, size, frontier.root()), KEY, NAME)
    entries = (b'{"n":%d}' % i for i in range(size))
    # Once before, for what is made at the first use and kept.
    verify_log(iter(ENTRIES[:50]), note(50), VKEY)
    tracemalloc.start()
    try:
        verify_log(entries, signed, VKEY)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@given(st.data())
def test_a_proof_survives_json_and_verifies(data: st.DataObject) -> None:
    """A proof handed out as JSON is checked with the entry and the public key alone."""
    size = data.draw(st.integers(1, 100))
    index = data.draw(st.integers(0, size - 1))
    proof = Proof.make(index, size, NODES.get, note(size))
    bundle = json.loads(json.dumps(proof.to_dict()))
    assert set(bundle) == {"index", "size", "leaf_hash", "hashes", "checkpoint"}
    assert Proof.from_dict({**bundle, "added_later": 1}) == proof
    assert verify_proof(ENTRIES[index], bundle, VKEY, origin=NAME) == Checkpoint(NAME, size, root(size, NODES.get))


@given(st.data())
def test_a_proof_with_anything_changed_is_refused(data: st.DataObject) -> None:
    """Entry, index, size, leaf hash, any sibling and the checkpoint: all of it counts."""
    size = data.draw(st.integers(1, 100))
    index = data.draw(st.integers(0, size - 1))
    proof = Proof.make(index, size, NODES.get, note(size))
    other = data.draw(st.integers(-1, 101))
    forged = [replace(proof, leaf_hash=leaf_hash(b"another")), replace(proof, hashes=(*proof.hashes, RECORDED[0]))]
    forged += [replace(proof, index=other)] * (other != index)
    forged += [replace(proof, size=other)] * (other != size)
    signed = note(min(max(other, 0), 100))
    forged += [replace(proof, checkpoint=signed)] * (signed != proof.checkpoint)
    forged += [replace(proof, hashes=(*proof.hashes[:i], leaf_hash(value), *proof.hashes[i + 1 :])) for i, value in enumerate(proof.hashes)]
    for wrong in forged:
        with pytest.raises(LogError):
            verify_proof(ENTRIES[index], wrong, VKEY)
    with pytest.raises(ProofError, match="another entry"):
        verify_proof(canonical({"forged": True}), proof, VKEY)
    with pytest.raises(LogError):
        verify_proof(ENTRIES[index], proof, verifier_key(NAME, generate_key().public_key()))


BUNDLE = Proof.make(1, 8, NODES.get, note(8)).to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"index": "1"},
        {"index": True},
        {"index": 1.0},
        {"index": None},
        {"size": [8]},
        {"leaf_hash": 7},
        {"leaf_hash": "?"},
        {"leaf_hash": "AAAA"},
        {"hashes": "AAAA"},
        {"hashes": [1, 2, 3]},
        {"hashes": ["é"]},
        {"hashes": ["AAAA"] * 3},
        {"hashes": {}},
        {"checkpoint": {}},
        {"index": 10**400},
    ],
)
def test_a_malformed_bundle_is_refused(change: dict[str, Any]) -> None:
    """A bundle comes from anywhere: fields of other types are errors of ours, not crashes."""
    with pytest.raises(ProofError):
        verify_proof(ENTRIES[1], {**BUNDLE, **change}, VKEY)


@pytest.mark.parametrize("field", sorted(BUNDLE))
def test_a_bundle_without_a_field_is_refused(field: str) -> None:
    """Every field is needed, and the missing one is named."""
    with pytest.raises(ProofError, match=field):
        verify_proof(ENTRIES[1], {name: value for name, value in BUNDLE.items() if name != field}, VKEY)
