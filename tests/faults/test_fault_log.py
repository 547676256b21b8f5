"""The log tampered with: whatever is changed, dropped, moved or cut off, the offline check fails, and names the first bad entry."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from fault_invariant import check
from fault_load import Material
from fault_scale import SEED, Note, scale
from fault_system import FaultSystem
from halftone.merkle import TamperedError, leaf_hash, verify_log

Entries = list[bytes]


def edit(entries: Entries, rng: random.Random) -> int:
    """Change one byte of an entry."""
    index = rng.randrange(len(entries))
    place = rng.randrange(len(entries[index]))
    changed = bytearray(entries[index])
    changed[place] ^= rng.randrange(1, 256)
    entries[index] = bytes(changed)
    return index


def drop(entries: Entries, rng: random.Random) -> int:
    """Take an entry out."""
    index = rng.randrange(len(entries))
    del entries[index]
    return index


def move(entries: Entries, rng: random.Random) -> int:
    """Put an entry somewhere else."""
    index, other = rng.sample(range(len(entries)), 2)
    entries.insert(other, entries.pop(index))
    return min(index, other)


def truncate(entries: Entries, rng: random.Random) -> int:
    """Cut the end off."""
    index = rng.randrange(len(entries))
    del entries[index:]
    return index


def insert(entries: Entries, rng: random.Random) -> int:
    """Put a copy of an entry in."""
    index = rng.randrange(len(entries))
    entries.insert(index, entries[rng.randrange(len(entries))])
    # A copy beside its original differs only from the next one on.
    return index


TAMPERINGS: list[Callable[[Entries, random.Random], int]] = [edit, drop, move, truncate, insert]


@pytest.mark.fault(20, "1,000 random tamperings with the audit log")
def test_every_tampering_is_found_and_placed(system: FaultSystem, made: Material, note: Note) -> None:
    """All of them, in the log of a system that went through faults: against the hashes as they were recorded, to the entry."""
    check(system)
    rows = system.rows("auditor", "select entry, leaf from entries order by idx")
    entries, leaves = [entry for entry, _ in rows], [leaf for _, leaf in rows]
    audit = system.home / "audit"
    note_, key = (audit / "checkpoint").read_text(), (audit / "public-key").read_text().strip()
    assert verify_log(entries, note_, key, leaf_hashes=leaves).uncovered == 0
    rng = random.Random(SEED)
    count = scale(1000, 20)
    for n in range(count):
        tampered = list(entries)
        TAMPERINGS[n % len(TAMPERINGS)](tampered, rng)
        first = next((i for i, (a, b) in enumerate(zip(tampered, entries, strict=False)) if a != b), min(len(tampered), len(entries)))
        if first == len(entries):
            continue
        with pytest.raises(TamperedError) as found:
            verify_log(tampered, note_, key, leaf_hashes=leaves)
        assert found.value.index == first
        # Without the recorded hashes it is found as well: the checkpoint alone tells.
        with pytest.raises(TamperedError):
            verify_log(tampered, note_, key)
        # Nor does it help to change the recorded hash along with its entry.
        with pytest.raises(TamperedError):
            verify_log(tampered, note_, key, leaf_hashes=[leaf_hash(entry) for entry in tampered])
    note("runs", count)
