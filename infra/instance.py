"""Which of several processes this is, and whether another one of this home still lives: the kernel knows, at once and for certain."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time

from infra.home import Home

InstanceId = str
KEPT_SECONDS = 3600.0
"""For how long the file of an instance that was killed tells of it."""


class Instance:
    """One process's name, with a locked file under that name: the lock goes when the process does, however it ends."""

    def __init__(self, home: Home) -> None:
        self.id: InstanceId = secrets.token_hex(8)
        self._directory = home.path / "run" / "instances"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self._lock = os.open(self._path(self.id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Leave in order: who does has nothing that others must take over."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(self.id))  # noqa: PTH108  # one way for both
        os.close(self._lock)

    def is_gone(self, other: InstanceId | None) -> bool:
        """Whether another instance of this home has ended. False where nothing is known: it may run on another machine."""
        if other is None or other == self.id:
            return False
        try:
            lock = os.open(self._path(other), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        # The file stays: it tells the same to whoever asks next, about another job of the same instance.
        return True

    def _sweep(self) -> None:
        """Remove files of instances that ended long ago: leases that named them ran out since."""
        for path in self._directory.glob("*.lock"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - KEPT_SECONDS and self.is_gone(path.stem):
                    path.unlink()

    def _path(self, instance: InstanceId) -> str:
        return os.fspath(self._directory / f"{instance}.lock")
