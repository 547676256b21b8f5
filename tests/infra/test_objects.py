"""Objects: whole or not there, whatever happens to the writer."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import new_id
from infra.objects import CHUNK, ObjectMissing, Objects


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(tmp_path)


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_an_object_is_kept_with_its_size_and_hash(objects: Objects, size: int) -> None:
    """Both are of the bytes as they are read back, also where they fill whole chunks."""
    object_id, content = new_id("obj"), os.urandom(size)
    with objects.write(object_id, "text/csv", ".csv") as draft:
        draft.path.write_bytes(content)
        draft.rows = 7
    info = objects.info(object_id)
    assert (info.id, info.size, info.sha256) == (object_id, size, hashlib.sha256(content).hexdigest())
    assert (info.media_type, info.extension, info.rows) == ("text/csv", ".csv", 7)
    assert objects.read(object_id) == content == objects.path(object_id).read_bytes()


def test_what_raises_leaves_nothing(objects: Objects, tmp_path: Path) -> None:
    """Neither the object nor its draft is there, and the next writer finds a clean place."""
    object_id = new_id("obj")

    def write_half() -> None:
        with objects.write(object_id, "text/csv", ".csv") as draft:
            draft.path.write_bytes(b"half")
            raise KeyError("line 2")

    with pytest.raises(KeyError, match="line 2"):
        write_half()
    assert files(tmp_path) == []
    with pytest.raises(ObjectMissing):
        objects.info(object_id)
    assert objects.read(objects.put(object_id, b"whole")) == b"whole"


def test_a_writer_that_writes_nothing_makes_nothing(objects: Objects, tmp_path: Path) -> None:
    """A forgotten draft is an error, not an empty object."""
    with pytest.raises(FileNotFoundError), objects.write(new_id("obj"), "text/csv", ".csv"):
        pass
    assert files(tmp_path) == []


KILLED = """
import os, sys
from pathlib import Path
import infra.objects as o

calls = int(sys.argv[3])
real = o._replace

def replace(draft, final):
    global calls
    if calls == 0:
        os.kill(os.getpid(), 9)
    calls -= 1
    real(draft, final)

o._replace = replace
with o.Objects(Path(sys.argv[1])).write(sys.argv[2], "text/csv", ".csv") as draft:
    draft.path.write_bytes(b"raw rows")
"""


@pytest.mark.parametrize("moves", [0, 1])
def test_a_writer_that_is_killed_leaves_no_object(objects: Objects, tmp_path: Path, moves: int) -> None:
    """Wherever it dies, before or between its two files, there is nothing to read; deleting removes what lies about."""
    object_id = new_id("obj")
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path, object_id, str(moves)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert files(tmp_path) != []
    for read in (objects.info, objects.path, objects.read):
        with pytest.raises(ObjectMissing):
            read(object_id)
    objects.delete(object_id)
    assert files(tmp_path) == []


def test_writing_again_replaces_the_whole(objects: Objects) -> None:
    """A retry that names the same object leaves one, with its own size and hash."""
    object_id = objects.put(new_id("obj"), b"a longer first try")
    objects.put(object_id, b"second", "text/plain", ".txt")
    assert objects.read(object_id) == b"second"
    assert (objects.info(object_id).size, objects.info(object_id).extension) == (6, ".txt")


def test_deleting_twice_and_what_is_not_there_is_no_error(objects: Objects, tmp_path: Path) -> None:
    """What is to be gone is gone, and neighbours stay."""
    object_id, neighbour = objects.put(new_id("obj"), b"x"), objects.put(new_id("obj"), b"y")
    objects.delete(object_id)
    objects.delete(object_id)
    objects.delete(new_id("obj"))
    with pytest.raises(ObjectMissing):
        objects.path(object_id)
    assert objects.read(neighbour) == b"y"
    assert files(tmp_path) == [neighbour, f"{neighbour}.json"]


@given(st.one_of(st.text(), st.from_regex(r"obj_[0-9a-f]{31,33}"), st.sampled_from(["../x", "obj_" + "A" * 32, "obj_" + "0" * 32 + "\n"])))
def test_an_id_that_is_none_names_no_file(text: str) -> None:
    """Nothing but an object id becomes part of a path: no traversal, no newline, no other case."""
    objects = Objects(Path("/nonexistent"))
    for use in (objects.info, objects.path, objects.read):
        with pytest.raises(ObjectMissing):
            use(text)
    if len(text) != 36 or not text.startswith("obj_") or text.strip("0123456789abcdef") != "obj_":
        with pytest.raises(ObjectMissing):
            objects.delete(text)


def test_free_bytes_are_those_of_the_disk(objects: Objects, tmp_path: Path) -> None:
    """An upload is weighed against what is really left."""
    held = os.statvfs(tmp_path)
    assert 0 < objects.free_bytes() <= held.f_frsize * held.f_blocks
