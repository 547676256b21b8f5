"""A backup as a directory, or as one tar file: databases, streams, objects, keys and tokens, and a list of what must be in it.

The order makes it whole while Halftone runs. The signed checkpoint comes before the log, the streams before the databases, the ledger
before those that act on its grants, and objects last: whatever is referred to was there when it was copied, and what a stream lacks of a
database's outbox is published again by the relay.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path

from nats.aio.client import Client
from nats.errors import Error as NatsError
from pydantic import BaseModel, ConfigDict

from contracts.jobs import Actor
from infra.backup import databases, streams
from infra.bus.connection import connect
from infra.bus.server import BrokerFailed, NatsServer
from infra.bus.topology import STREAMS
from infra.database.versions import HEAD, KINDS, REVISIONS
from infra.home import BusAccess, Home, HomeInUse
from infra.settings import Settings

MANIFEST = "manifest.json"
FORMAT = 1
ORDER = sorted(KINDS, key=lambda name: (name != Actor.BUDGET_KEEPER, name == Actor.AUDITOR, name == "edge", name))
SECRETS = ("bus.json", "admin-token", "token-key")


class BackupRefused(RuntimeError):
    """It cannot be made, or put back, as things are."""


class Manifest(BaseModel):
    """What a backup holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    halftone: str
    made_at: dt.datetime
    databases: dict[str, str]
    """Each with the revision of its tables."""
    files: dict[str, str]
    """SHA-256 of every file, by its path."""


async def back_up(settings: Settings, target: Path) -> Manifest:
    """Copy everything, also while Halftone runs. Raises BackupRefused or StreamNotCopied; then nothing is left behind."""
    home = Home(settings.home)
    draft = _draft(home, target)
    try:
        manifest = await _copy(settings, home, draft)
        (draft / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
        await asyncio.to_thread(_close, draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def _draft(home: Home, target: Path) -> Path:
    """Where a backup is put together. Raises BackupRefused."""
    if target.exists():
        raise BackupRefused(f"{target} exists: name one that does not")
    if not home.bus_file.exists():
        raise BackupRefused(f"no Halftone ever ran on {home.path}")
    draft = target.with_name(f".{target.name}.part")
    draft.mkdir(parents=True, mode=0o700)
    return draft


async def _copy(settings: Settings, home: Home, draft: Path) -> Manifest:
    await asyncio.to_thread(_files, home.audit, draft / "audit")
    (draft / "streams").mkdir()
    async with _broker(settings, home) as client:
        for stream in STREAMS:
            await streams.save(client, str(stream.name), draft / "streams")
    (draft / "db").mkdir()
    held = {}
    for name in ORDER:
        found = await asyncio.to_thread(databases.save, settings.database_of(name), name, draft / "db" / f"{name}.sqlite")
        if found is not None:
            held[name] = found
    await asyncio.to_thread(_files, home.objects, draft / "objects")
    for name in SECRETS:
        if (home.path / name).exists():
            shutil.copyfile(home.path / name, draft / name)
    files = await asyncio.to_thread(_digests, draft)
    return Manifest(format=FORMAT, halftone=version("halftone-data"), made_at=dt.datetime.now(dt.UTC), databases=held, files=files)


async def put_back(settings: Settings, source: Path) -> Manifest:
    """Put a backup into an empty home, and into empty databases. Raises BackupRefused, StreamNotCopied or DatabaseNotEmpty."""
    home = Home(settings.home)
    if home.path.exists() and any(home.path.iterdir()):
        raise BackupRefused(f"{home.path} is not empty: restore into a new home, and move it into place")
    if settings.nats_url:
        raise BackupRefused("HALFTONE_NATS_URL is set: restore into a broker of the home first, as docs/operations.md says")
    with _opened(source, home) as saved:
        manifest = _manifest(saved)
        home.prepare()
        for name in SECRETS:
            if (saved / name).exists():
                shutil.copyfile(saved / name, home.path / name)
                (home.path / name).chmod(0o600)
        # The port belonged to another home, which may run here too: a free one is found.
        access = BusAccess.load(home)
        access.port = 0
        access.save(home)
        for part, place in (("audit", home.audit), ("objects", home.objects)):
            await asyncio.to_thread(shutil.copytree, saved / part, place, dirs_exist_ok=True)
        for name in manifest.databases:
            await asyncio.to_thread(databases.put_back, saved / "db" / f"{name}.sqlite", name, settings.database_of(name))
        async with _broker(settings, home) as client:
            for stream in STREAMS:
                if (saved / "streams" / f"{stream.name}.json").exists():
                    await streams.put_back(client, str(stream.name), saved / "streams")
    return manifest


def _manifest(saved: Path) -> Manifest:
    """What the backup says it holds; every file is compared with it. Raises BackupRefused."""
    try:
        manifest = Manifest.model_validate_json((saved / MANIFEST).read_text())
    except (FileNotFoundError, ValueError) as error:
        raise BackupRefused(f"this is no whole backup: {MANIFEST} cannot be read ({type(error).__name__})") from None
    newer = {name: held for name, held in manifest.databases.items() if held not in REVISIONS}
    if manifest.format != FORMAT or newer:
        raise BackupRefused(f"the backup was made by Halftone {manifest.halftone}, which is newer: its tables are not known up to {HEAD}")
    found = _digests(saved)
    found.pop(MANIFEST, None)
    wrong = sorted(path for path in manifest.files.keys() | found.keys() if manifest.files.get(path) != found.get(path))
    if wrong:
        raise BackupRefused(f"the backup is damaged: {wrong[0]} is not as it was saved ({len(wrong)} of {len(manifest.files)} files)")
    return manifest


@contextlib.asynccontextmanager
async def _broker(settings: Settings, home: Home) -> AsyncIterator[Client]:
    """A connection to the broker that runs; where none does, to one that is started for as long as this takes."""
    access = BusAccess.of(settings)
    server: NatsServer | None = None
    lock: int | None = None
    if not settings.nats_url:
        with contextlib.suppress(HomeInUse):
            lock = home.lock()
            server = NatsServer(home, access)
    try:
        if server is not None:
            await server.start()
        client = await connect(access.url("provisioner"), "provisioner")
        try:
            yield client
        finally:
            await client.close()
    except NatsError as error:
        raise BackupRefused(f"the broker does not answer: {type(error).__name__}") from error
    except BrokerFailed as error:
        raise BackupRefused(str(error)) from error
    finally:
        if server is not None:
            await server.stop()
        if lock is not None:
            os.close(lock)


@contextlib.contextmanager
def _opened(source: Path, home: Home) -> Iterator[Path]:
    """The directory of a backup; a tar file is unpacked beside the home it goes to."""
    if source.is_dir():
        yield source
        return
    if not source.exists():
        raise BackupRefused(f"{source} does not exist")
    unpacked = home.path.with_name(f".{home.path.name}.restore")
    unpacked.mkdir(parents=True, mode=0o700)
    try:
        with tarfile.open(source) as archive:
            archive.extractall(unpacked, filter="data")
        yield unpacked
    except tarfile.TarError as error:
        raise BackupRefused(f"{source} is no backup: {error}") from None
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _close(draft: Path, target: Path) -> None:
    """Have it under its name, readable by nobody else, once all of it is on disk."""
    for path in draft.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    if target.suffix != ".tar":
        _sync(draft)
        draft.rename(target)
        return
    packed = target.with_name(f".{target.name}.packed")
    with open(os.open(packed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123  # the mode holds from the start
        with tarfile.open(fileobj=file, mode="w") as archive:
            for path in sorted(draft.iterdir()):
                archive.add(path, path.name)
        file.flush()
        os.fsync(file.fileno())
    packed.rename(target)


def _sync(directory: Path) -> None:
    for path in directory.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _files(source: Path, target: Path) -> None:
    """Copy the files of a directory in which others are written and removed meanwhile: drafts are left out, what has gone is too."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        if not path.is_file() or path.suffix in {".part", ".new"}:
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path, place)


def _digests(directory: Path) -> dict[str, str]:
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(directory).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
