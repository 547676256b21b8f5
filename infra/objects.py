"""Objects: immutable files under opaque ids, each with its size and hash beside it. Tables never cross the bus; these ids do."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from contracts.base import Contract
from contracts.ids import ObjectId

CHUNK = 1 << 20
_ID = re.compile(r"^obj_[0-9a-f]{32}$")


class ObjectMissing(LookupError):
    """There is no such object."""


class ObjectInfo(Contract):
    """What is known of an object without opening it."""

    id: ObjectId
    media_type: str
    extension: str = Field(description="of the file name it is offered under, with the dot")
    size: int = Field(ge=0, description="bytes")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int | None = Field(default=None, ge=0, description="of a table")


class Draft:
    """An object being written: nothing is there for others until it is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: int | None = None


class Objects:
    """A directory of objects. Writing one again under the same id replaces it whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def write(self, object_id: ObjectId, media_type: str, extension: str) -> Iterator[Draft]:
        """Give a path to write to; kept, durably, when the block ends well, and removed when it does not."""
        final = self._path(object_id)
        final.parent.mkdir(parents=True, exist_ok=True)
        draft = Draft(final.with_name(f"{object_id}.{os.getpid()}.part"))
        note = draft.path.with_suffix(".json.part")
        try:
            yield draft
            size, digest = _measure(draft.path)
            info = ObjectInfo(id=object_id, media_type=media_type, extension=extension, size=size, sha256=digest, rows=draft.rows)
            _replace(draft.path, final)
            note.write_text(info.model_dump_json())
            # Until this is there, so is no object: a writer killed before it leaves nothing that can be read.
            _replace(note, _info_path(final))
        finally:
            draft.path.unlink(missing_ok=True)
            note.unlink(missing_ok=True)

    def put(self, object_id: ObjectId, content: bytes, media_type: str = "application/json", extension: str = ".json") -> ObjectId:
        """Keep a small object."""
        with self.write(object_id, media_type, extension) as draft:
            draft.path.write_bytes(content)
        return object_id

    def info(self, object_id: ObjectId) -> ObjectInfo:
        """Size, hash and type. Raises ObjectMissing."""
        try:
            return ObjectInfo.model_validate_json(_info_path(self._path(object_id)).read_bytes(), extra="ignore")
        except FileNotFoundError:
            raise ObjectMissing(object_id) from None

    def path(self, object_id: ObjectId) -> Path:
        """The file to read. Raises ObjectMissing."""
        path = self._path(object_id)
        if not (_info_path(path).exists() and path.exists()):
            raise ObjectMissing(object_id)
        return path

    def read(self, object_id: ObjectId) -> bytes:
        """A small object, whole. Raises ObjectMissing."""
        return self.path(object_id).read_bytes()

    def delete(self, object_id: ObjectId) -> None:
        """Remove an object, and what a writer that was killed left of it; one that is not there is removed already."""
        path = self._path(object_id)
        for draft in path.parent.glob(f"{object_id}.*part"):
            draft.unlink(missing_ok=True)
        _info_path(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def sweep_drafts(self) -> int:
        """Remove what writers that are gone left unfinished; how many files that were. A draft's name holds its writer's process id."""
        found = [path for path in self._directory.glob("*/obj_*.part") if not _runs(path.name.split(".")[1])]
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def free_bytes(self) -> int:
        """Room left on the disk."""
        return shutil.disk_usage(self._directory).free

    def _path(self, object_id: ObjectId) -> Path:
        if not _ID.fullmatch(object_id):
            raise ObjectMissing(object_id)
        return self._directory / object_id[-2:] / object_id


def _runs(process: str) -> bool:
    """Whether there is a process of that id: maybe another one by now, and then its namesake's draft waits for the next sweep."""
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _info_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _measure(path: Path) -> tuple[int, str]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
        return file.tell(), digest.hexdigest()


def _replace(draft: Path, final: Path) -> None:
    """Move a file into place so that a power cut leaves the old one or the new one."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(final)
    directory = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
