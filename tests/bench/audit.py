"""Measure the log as it is kept: entries appended durably and signed, bytes each takes, and verifying all of it.

Run with ``python tests/bench/audit.py [--entries N]``. Commits are synced, checkpoints written to their file. Verifying is told per second
of processor time: it waits for nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from halftone import verify_log as single
from halftone.merkle import Frontier, verify_export
from infra.bus.tail import Stored
from infra.commands import log_home
from log_crasher import opened
from log_fixture import event

BATCH = 100
"""Events that come together when the system is busy."""


async def append(home: Path, count: int) -> None:
    """Append and sign, each batch with a commit, a checkpoint every quarter of a second as the actor does."""
    auditor, store = await opened(home)
    events = [event() for _ in range(count)]
    messages = [Stored(n, e.id, e.dump()) for n, e in enumerate(events, start=1)]
    begin = signed = time.perf_counter()
    signatures = 0
    for first in range(0, count, BATCH):
        await auditor._append(messages[first : first + BATCH])
        if time.perf_counter() - signed > 0.25:
            await auditor._sign_once()
            signed, signatures = time.perf_counter(), signatures + 1
    await auditor._sign_once()
    seconds = time.perf_counter() - begin
    rate = count / seconds
    what = f"append, durable, batches of {BATCH}, {signatures + 1} checkpoints signed"
    print(f"{what}: {rate:,.0f} entries/s (target 2,000: {rate / 2000:.1f}x)")
    begin = time.perf_counter()
    for n in range(200):
        one = event()
        await auditor._append([Stored(count + n + 1, one.id, one.dump())])
        await auditor._sign_once()
    print(f"append, one by one, each synced and signed: {200 / (time.perf_counter() - begin):,.0f} entries/s")
    await store.close()


def size(home: Path) -> None:
    """What an entry takes."""
    path = home / "db" / "auditor.sqlite"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM outbox")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        count, entry = connection.execute("SELECT count(*), avg(length(entry)) FROM entries").fetchone()
    print(f"bytes per entry: {path.stat().st_size / count:,.0f}, {entry:,.0f} of them its own (announcements left out)")


def verify(home: Path, out: Path) -> None:
    """All ways in which the log is verified."""
    audit = home / "audit"
    checkpoint, key = (audit / "checkpoint").read_text(), (audit / "public-key").read_text().strip()
    with log_home.opened(home) as log:
        begin = time.process_time()
        count = log.verify(checkpoint, key, []).entries
        print(f"verify a home, all that is recorded: {count / (time.process_time() - begin):,.0f} entries/s")
        log_home.write_out(log, checkpoint, key, out, with_tiles=False)
    for name, check in (("halftone audit verify --export", verify_export), ("verify_log.py", single.verify_export)):
        with (out / "log.jsonl").open("rb") as file:
            begin = time.process_time()
            check(file, key)
        print(f"verify an export, {name}: {count / (time.process_time() - begin):,.0f} entries/s")
    leaves = [n.to_bytes(32, "big") for n in range(1_000_000)]
    begin = time.process_time()
    tree = Frontier()
    for first in range(0, len(leaves), 4096):
        tree.extend(leaves[first : first + 4096])
    rate = len(leaves) / (time.process_time() - begin)
    print(f"tree from leaf hashes: {rate:,.0f} leaves/s (target 500,000: {rate / 500_000:.1f}x)")


def main() -> None:
    """Run all of it and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=50_000)
    count = parser.parse_args().entries
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "home"
        asyncio.run(append(home, count))
        verify(home, Path(directory) / "out")
        size(home)


if __name__ == "__main__":
    main()
