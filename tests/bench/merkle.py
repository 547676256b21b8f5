"""Measure the Merkle tree: appends per second, and proving and verifying one leaf of ten million.

Run with ``python tests/bench/merkle.py [--leaves N]``. Ten million leaves take 640 MB of nodes.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter

from halftone.merkle import (
    HASH_SIZE,
    Checkpoint,
    Proof,
    appended,
    canonical,
    consistency_proof,
    generate_key,
    leaf_hash,
    root,
    sign_checkpoint,
    verifier_key,
    verify_consistency,
    verify_log,
    verify_proof,
)
from halftone.merkle.tree import Node

NAME = "bench.halftone.example/log"
BATCH = 50_000
PROOFS = 2_000
LOG = 50_000
TARGET = 5.0  # ms, to prove and verify one leaf of ten million


class PackedNodes:
    """Nodes of each level end to end in one bytearray: 32 bytes a node and nothing else."""

    def __init__(self) -> None:
        self.levels: list[bytearray] = []

    def put(self, nodes: list[Node]) -> None:
        for level, row in groupby(nodes, key=itemgetter(0)):
            if level == len(self.levels):
                self.levels.append(bytearray())
            self.levels[level] += b"".join(map(itemgetter(2), row))

    def get(self, level: int, index: int) -> bytes:
        return bytes(self.levels[level][index * HASH_SIZE : (index + 1) * HASH_SIZE])


def entry(index: int) -> bytes:
    return b'{"id":"%d","type":"halftone.job.completed.v1"}' % index


def build(leaves: int) -> PackedNodes:
    """Append in batches, entries made up on the way."""
    nodes = PackedNodes()
    begin = time.perf_counter()
    for size in range(0, leaves, BATCH):
        batch = range(size, min(size + BATCH, leaves))
        nodes.put(appended(size, [leaf_hash(entry(i)) for i in batch], nodes.get))
    seconds = time.perf_counter() - begin
    print(f"append, batches of {BATCH:,}: {leaves / seconds:,.0f} leaves/s ({leaves:,} leaves in {seconds:.1f} s)")
    return nodes


def append_singly(nodes: PackedNodes, size: int, count: int = 20_000) -> None:
    """Append one leaf at a time to the full tree."""
    begin = time.perf_counter()
    for i in range(size, size + count):
        nodes.put(appended(i, [leaf_hash(entry(i))], nodes.get))
    print(f"append, one by one: {count / (time.perf_counter() - begin):,.0f} leaves/s")


def timed(work: Callable[[int], object], arguments: list[int]) -> list[float]:
    """Milliseconds of each call."""
    took = []
    for argument in arguments:
        begin = time.perf_counter()
        work(argument)
        took.append(1e3 * (time.perf_counter() - begin))
    return sorted(took)


def line(what: str, took: list[float]) -> str:
    return f"{what}: p50 {statistics.median(took):.3f} ms, p99 {took[int(len(took) * 0.99)]:.3f} ms, max {took[-1]:.3f} ms"


def measure_proofs(nodes: PackedNodes, leaves: int) -> None:
    """Prove and verify random leaves, the signature of the checkpoint included, and prefixes of random sizes."""
    key = generate_key()
    vkey = verifier_key(NAME, key.public_key())
    top = root(leaves, nodes.get)
    signed = sign_checkpoint(Checkpoint(NAME, leaves, top), key, NAME)
    picked = random.Random(7).sample(range(1, leaves), min(PROOFS, leaves - 1))
    both = timed(lambda i: verify_proof(entry(i), Proof.make(i, leaves, nodes.get, signed).to_dict(), vkey), picked)
    print(line(f"prove and verify one leaf of {leaves:,}, signature included", both), f"(target {TARGET:.0f} ms)")
    print(line("prove only", timed(lambda i: Proof.make(i, leaves, nodes.get, signed), picked)))
    consistent = timed(
        lambda old: verify_consistency(old, leaves, root(old, nodes.get), top, consistency_proof(old, leaves, nodes.get)), picked
    )
    print(line("prove and verify a prefix, both roots included", consistent))
    print(
        line(
            "root and signed checkpoint",
            timed(lambda size: sign_checkpoint(Checkpoint(NAME, size, root(size, nodes.get)), key, NAME), picked),
        )
    )


def measure_verification() -> None:
    """Verify a whole log of typical entries offline."""
    key = generate_key()
    event = {
        "id": "",
        "type": "halftone.budget.charged.v1",
        "project": "01J",
        "time": "2025-01-01T00:00:00Z",
        "data": {"rho": 10**12, "entry": 7},
    }
    begin = time.perf_counter()
    entries = [canonical({**event, "id": f"{i:032x}"}) for i in range(LOG)]
    print(f"canonical: {LOG / (time.perf_counter() - begin):,.0f} entries/s")
    nodes = PackedNodes()
    nodes.put(appended(0, map(leaf_hash, entries), nodes.get))
    signed = sign_checkpoint(Checkpoint(NAME, LOG, root(LOG, nodes.get)), key, NAME)
    begin = time.perf_counter()
    verify_log(entries, signed, verifier_key(NAME, key.public_key()))
    print(f"verify a whole log: {LOG / (time.perf_counter() - begin):,.0f} entries/s")


def main() -> None:
    """Run all of it and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=10_000_000)
    leaves = parser.parse_args().leaves
    nodes = build(leaves)
    measure_proofs(nodes, leaves)
    append_singly(nodes, leaves)
    measure_verification()
    unit = 1 if sys.platform == "darwin" else 1024
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
