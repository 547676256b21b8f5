"""A log that was tampered with is found out, and where; one that was not never is, whatever crashed.

The suite runs a seeded sample. ``HALFTONE_TAMPERINGS=1000`` runs a thousand of each (``./just soak``).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from halftone import verify_log as single
from halftone.merkle import (
    Checkpoint,
    Head,
    LogError,
    MemoryNodes,
    SignatureError,
    TamperedError,
    appended,
    entry_line,
    generate_key,
    leaf_hash,
    root,
    sign_checkpoint,
    verifier_key,
    verify_export,
)
from infra.commands import log_home
from log_crasher import append, opened
from log_fixture import body, event
from log_fixture import opened as database

RUNS = int(os.environ.get("HALFTONE_TAMPERINGS", "0"))
SUPPORT = Path(__file__).parents[1] / "support"


@dataclass(frozen=True)
class Original:
    """A home with a log, an older copy of it, and an export."""

    home: Path
    older: Path
    size: int
    older_size: int
    note: str
    older_note: str
    key: str
    sizes: list[int]
    export: list[bytes]

    def close(self, place: int) -> range:
        """The entries between the checkpoints around one."""
        return range(max((s for s in self.sizes if s <= place), default=0), min(s for s in self.sizes if s > place))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    home, older, out = (tmp_path_factory.mktemp(name) for name in ("home", "older", "out"))
    auditor, store = await opened(home)
    random_, sizes = random.Random(8), []
    for n in range(24):
        await append(auditor, random_.randint(1, 17))
        await auditor._sign_once()
        sizes.append(int(checkpoint(home).split("\n")[1]))
        if n == 15:
            connection = sqlite3.connect(home / "db" / "auditor.sqlite")
            (older / "db").mkdir()
            with sqlite3.connect(older / "db" / "auditor.sqlite") as copy:
                connection.backup(copy)
            connection.close()
            copy.close()
            shutil.copytree(home / "audit", older / "audit")
    await store.close()
    key = (home / "audit" / "public-key").read_text().strip()
    with log_home.opened(home) as log:
        log_home.write_out(log, checkpoint(home), key, out, with_tiles=True)
    lines = (out / "log.jsonl").read_bytes().splitlines(keepends=True)
    return Original(home, older, sizes[-1], sizes[15], checkpoint(home), checkpoint(older), key, sizes, lines)


def checkpoint(home: Path) -> str:
    return (home / "audit" / "checkpoint").read_text()


def verify(home: Path, key: str, since: list[str] | None = None) -> int:
    with log_home.opened(home) as log:
        return log.verify(checkpoint(home), key, since or []).entries


Row = tuple[int, str, bytes, bytes]


def rows(connection: sqlite3.Connection) -> list[Row]:
    return list(connection.execute("SELECT idx, event, entry, leaf FROM entries ORDER BY idx"))


def rewrite(connection: sqlite3.Connection, entries: list[tuple[str, bytes, bytes]], *, nodes: bool) -> None:
    """Put other entries in the place of those there are; with nodes that fit, or the old ones."""
    connection.execute("DELETE FROM entries")
    connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", [(n, *entry) for n, entry in enumerate(entries)])
    if nodes:
        connection.execute("DELETE FROM nodes")
        held = MemoryNodes()
        made = appended(0, [leaf for _, _, leaf in entries], held.get)
        connection.executemany("INSERT INTO nodes VALUES (?, ?, ?)", made)


def forged() -> tuple[str, bytes, bytes]:
    made = event()
    content = body(made)
    return made.id, content, leaf_hash(content)


def edited(original: Original, connection: sqlite3.Connection, random_: random.Random) -> int:
    """One byte of one entry."""
    place, _, entry, _ = random_.choice(rows(connection))
    at = random_.randrange(len(entry))
    altered = entry[:at] + bytes([entry[at] ^ random_.randint(1, 255)]) + entry[at + 1 :]
    connection.execute("UPDATE entries SET entry = ? WHERE idx = ?", (altered, place))
    return place


def edited_hash(original: Original, connection: sqlite3.Connection, random_: random.Random) -> int:
    """An entry, and the hash that is recorded for it."""
    place = random_.randrange(original.size)
    _, content, leaf = forged()
    connection.execute("UPDATE entries SET leaf = ?, entry = ? WHERE idx = ?", (leaf, content, place))
    return place


def edited_id(original: Original, connection: sqlite3.Connection, random_: random.Random) -> int:
    """The id under which an entry is found."""
    place = random_.randrange(original.size)
    connection.execute("UPDATE entries SET event = ? WHERE idx = ?", (event().id, place))
    return place


def edited_leaf(original: Original, connection: sqlite3.Connection, random_: random.Random) -> int:
    """The recorded hash alone."""
    place = random_.randrange(original.size)
    connection.execute("UPDATE entries SET leaf = ? WHERE idx = ?", (random_.randbytes(32), place))
    return place


def edited_node(original: Original, connection: sqlite3.Connection, random_: random.Random) -> range:
    """A hash of the tree; or it is taken away."""
    level, index, value = random_.choice(list(connection.execute("SELECT level, idx, hash FROM nodes")))
    if random_.random() < 0.5:
        connection.execute("DELETE FROM nodes WHERE level = ? AND idx = ?", (level, index))
    else:
        connection.execute("UPDATE nodes SET hash = ? WHERE level = ? AND idx = ?", (value[::-1], level, index))
    # Where one is missing, a later one of the level is met in its place, which the same entries make complete.
    return range(index << level, (index + 1) << level)


def dropped(original: Original, connection: sqlite3.Connection, random_: random.Random) -> int:
    """One entry; those after it move up, or a hole stays."""
    held = rows(connection)
    place = random_.randrange(len(held))
    if random_.random() < 0.5:
        connection.execute("DELETE FROM entries WHERE idx = ?", (place,))
    else:
        rewrite(connection, [row[1:] for row in held if row[0] != place], nodes=False)
    return place


def inserted(original: Original, connection: sqlite3.Connection, random_: random.Random) -> int:
    """One more amid the others."""
    held = [row[1:] for row in rows(connection)]
    place = random_.randrange(len(held))
    rewrite(connection, [*held[:place], forged(), *held[place:]], nodes=False)
    return place


def reordered(original: Original, connection: sqlite3.Connection, random_: random.Random) -> int:
    """Two change places."""
    held = [row[1:] for row in rows(connection)]
    first, second = sorted(random_.sample(range(len(held)), 2))
    held[first], held[second] = held[second], held[first]
    rewrite(connection, held, nodes=False)
    return first


def truncated(original: Original, connection: sqlite3.Connection, random_: random.Random) -> int:
    """The end is missing, of the tree as well or not."""
    held = [row[1:] for row in rows(connection)]
    place = random_.randrange(len(held))
    rewrite(connection, held[:place], nodes=random_.random() < 0.5)
    return place


def forked(original: Original, connection: sqlite3.Connection, random_: random.Random) -> range:
    """From one entry on another history, with all its hashes."""
    held = [row[1:] for row in rows(connection)]
    place = random_.randrange(len(held))
    rewrite(connection, [*held[:place], *(forged() for _ in held[place:])], nodes=True)
    return original.close(place)


def rewritten(original: Original, connection: sqlite3.Connection, random_: random.Random) -> range:
    """One entry in the middle, with all hashes over it: nothing but the signatures disagrees."""
    held = [row[1:] for row in rows(connection)]
    place = random_.randrange(len(held))
    held[place] = forged()
    rewrite(connection, held, nodes=True)
    return original.close(place)


Tamper = Callable[[Original, sqlite3.Connection, random.Random], int | range]
TAMPERINGS: list[Tamper] = [
    edited, edited_hash, edited_id, edited_leaf, edited_node, dropped, inserted, reordered, truncated, forked, rewritten,
]  # fmt: skip


@pytest.fixture
def home(original: Original, tmp_path: Path) -> Path:
    """A copy of the home, to be tampered with."""
    return Path(shutil.copytree(original.home, tmp_path / "copy"))


def put(source: Path, home: Path) -> None:
    """Put a database in the place of another, of which nothing stays."""
    for path in (home / "db").glob("auditor.sqlite*"):
        path.unlink()
    shutil.copy(source / "db" / "auditor.sqlite", home / "db" / "auditor.sqlite")


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_what_was_changed_in_a_home_is_found_and_named(original: Original, home: Path, tamper: Tamper) -> None:
    """Which entry, where anything recorded beside it says so; else those between the two signed checkpoints around it."""
    random_ = random.Random(tamper.__name__)
    for _ in range(max(1, RUNS // len(TAMPERINGS)) if RUNS else 6):
        put(original.home, home)
        with database(home / "db" / "auditor.sqlite") as connection:
            expected = tamper(original, connection, random_)
        with pytest.raises(TamperedError) as caught:
            verify(home, original.key)
        if isinstance(expected, int):
            assert caught.value.index == expected
        else:
            assert (caught.value.span.start in expected, len(caught.value.span) <= len(expected)) == (True, True)


def put_back(original: Original, home: Path, *, with_checkpoint: bool) -> None:
    put(original.older, home)
    if with_checkpoint:
        shutil.copy(original.older / "audit" / "checkpoint", home / "audit" / "checkpoint")


def test_a_home_that_was_put_back_is_found_by_whoever_kept_a_checkpoint(original: Original, home: Path) -> None:
    """Without the newest checkpoint nobody could tell; with it, the first entry that is missing is named."""
    put_back(original, home, with_checkpoint=False)
    with pytest.raises(TamperedError) as caught:
        verify(home, original.key)
    assert caught.value.index == original.older_size
    put_back(original, home, with_checkpoint=True)
    assert verify(home, original.key) == original.older_size
    with pytest.raises(TamperedError) as caught:
        verify(home, original.key, [original.note])
    assert caught.value.index == original.older_size


def test_an_old_checkpoint_over_a_whole_log_is_no_fault_and_hides_nothing(original: Original, home: Path) -> None:
    """The entries after it are checked all the same, by what is recorded and by the checkpoints that were kept."""
    shutil.copy(original.older / "audit" / "checkpoint", home / "audit" / "checkpoint")
    assert verify(home, original.key) == original.size
    with database(home / "db" / "auditor.sqlite") as connection:
        connection.execute("UPDATE entries SET entry = x'7b7d' WHERE idx = ?", (original.older_size + 2,))
    with pytest.raises(TamperedError) as caught:
        verify(home, original.key)
    assert caught.value.index == original.older_size + 2


def test_swapped_keys_and_a_log_signed_anew_are_found(original: Original, home: Path) -> None:
    """Whoever kept the key is not fooled by another one that lies in the home, however well all of it fits together."""
    thief = generate_key()
    with database(home / "db" / "auditor.sqlite") as connection:
        held = [row[1:] for row in rows(connection)]
        held[3] = forged()
        rewrite(connection, held, nodes=True)
        connection.execute("DELETE FROM checkpoints")
    nodes = MemoryNodes([leaf for _, _, leaf in held])
    note = sign_checkpoint(Checkpoint("halftone", len(held), root(len(held), nodes.get)), thief, "halftone")
    (home / "audit" / "checkpoint").write_text(note)
    (home / "audit" / "public-key").write_text(verifier_key("halftone", thief.public_key()))
    assert verify(home, verifier_key("halftone", thief.public_key())) == original.size
    with pytest.raises(SignatureError):
        verify(home, original.key)


@pytest.mark.parametrize("damage", ["cut", "overwritten", "no database", "empty"])
def test_a_damaged_database_is_told_as_such(original: Original, home: Path, damage: str) -> None:
    """In words, with the entry at which reading broke off, and no traceback."""
    path = home / "db" / "auditor.sqlite"
    content = path.read_bytes()
    half = len(content) // 2 // 4096 * 4096
    path.write_bytes({"cut": content[:half], "overwritten": content[:4096] + b"\xff" * half + content[4096 + half :]}.get(damage, b""))
    if damage == "no database":
        path.write_bytes(b"something else altogether" * 500)
    command = [sys.executable, "-m", "infra.cli", "audit", "verify", "--home", str(home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "first bad entry" in done.stderr
    assert json.loads(done.stdout)["code"] == "log-tampered"


def exports(original: Original, random_: random.Random) -> Iterator[tuple[list[bytes], int | range, list[str]]]:
    """An export tampered with in one way after the other: lines, the first bad entry, and checkpoints kept from before."""
    head, *lines = original.export
    place = random_.randrange(original.size - 1)
    other = random_.randrange(place + 1, original.size)
    at = random_.randrange(20, len(lines[place]) - 100)
    yield [head, *lines[:place], lines[place][:at] + b"~" + lines[place][at + 1 :], *lines[place + 1 :]], place, []
    yield [head, *lines[:place], *lines[place + 1 :]], place, []
    yield [head, *lines[:place], lines[place], *lines[place:]], place + 1, []
    yield [head, *lines[:place], lines[other], *lines[place + 1 : other], lines[place], *lines[other + 1 :]], place, []
    yield [head, *lines[:place]], place, []
    _, content, leaf = forged()
    yield [head, *lines[:place], entry_line(place, leaf, content), *lines[place + 1 :]], original.close(place), []
    yield [*original.export, entry_line(original.size, leaf, content)], original.size, []
    shorter = random_.choice([note for note in Head.parse(head).checkpoints if int(note.split("\n")[1]) < original.size])
    size = int(shorter.split("\n")[1])
    old = json.loads(head) | {"checkpoint": shorter, "end": size, "size": size, "checkpoints": []}
    yield [json.dumps(old).encode() + b"\n", *lines[:size]], size, [original.note]


def test_what_was_changed_in_an_export_is_found_by_both_verifiers(original: Original) -> None:
    """Ours and the single file, which name the same first bad entry."""
    random_ = random.Random(9)
    for _ in range(max(1, RUNS // 8) if RUNS else 4):
        for lines, expected, since in exports(original, random_):
            with pytest.raises(TamperedError) as caught:
                verify_export(lines, original.key, since=since)
            with pytest.raises(single.Bad) as alone:
                single.verify_export(lines, original.key, since)
            if isinstance(expected, int):
                assert (caught.value.index, alone.value.first) == (expected, expected)
            else:
                assert (caught.value.span, alone.value.first, alone.value.last) == (expected, expected.start, expected.stop)
    assert verify_export(original.export, original.key, since=[original.older_note])[1].entries == original.size
    with pytest.raises(LogError):
        verify_export(original.export, verifier_key("halftone", generate_key().public_key()))


def test_a_log_whose_auditor_is_killed_again_and_again_holds(tmp_path: Path) -> None:
    """Never a false alarm: not of the home after a kill, nor of the auditor that goes on, and nothing that was signed is lost."""
    command = [sys.executable, str(SUPPORT / "log_crasher.py")]
    random_, home, sizes, killed = random.Random(10), tmp_path / "home", [0], 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crasher:
        assert crasher.stdin is not None
        assert crasher.stdout is not None
        for n in range(RUNS or 15):
            if n % 50 == 49:
                shutil.rmtree(home)
                sizes = [0]
            crasher.stdin.write(f"{home} {n} {random_.uniform(0.0, 0.2):.3f}\n")
            crasher.stdin.flush()
            assert crasher.stdout.readline().strip() == "9", "it ended by itself"
            if (home / "audit" / "checkpoint").exists():
                killed += 1
                size = verify(home, (home / "audit" / "public-key").read_text().strip())
                assert size >= sizes[-1]
                sizes.append(size)
        crasher.stdin.close()
    assert killed > 1
    assert max(sizes) > 0
