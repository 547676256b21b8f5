"""The home directory: one instance at a time, secrets for their owner alone, made once."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.home import BUS_USERS, BusAccess, Home, HomeInUse, write_secret


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(autouse=True)
def open_umask() -> object:
    """A careless umask, so that a mode which nobody sets shows."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_everything_is_closed_to_other_users(tmp_path: Path) -> None:
    """The directory is its owner's, and so is each file with a secret, whatever the umask."""
    home = Home(tmp_path / "home").prepare()
    home.token(None)
    BusAccess.ensure(home, 4222)
    assert mode(home.path) == 0o700
    assert [mode(path) for path in (home.admin_token, home.bus_file)] == [0o600, 0o600]
    os.close(home.lock())
    assert mode(home.path / "lock") == 0o600


def test_preparing_again_closes_what_was_opened(tmp_path: Path) -> None:
    """A directory that was there before, and open, is closed."""
    path = tmp_path / "home"
    path.mkdir(mode=0o777)
    assert mode(Home(path).prepare().path) == 0o700
    assert Home(path).prepare().databases.is_dir()


def test_a_second_instance_is_refused_until_the_first_ends(home: Home) -> None:
    """The lock is the process's: it names the home and what to do, and a process that is killed lets go."""
    code = (
        f"from infra.home import Home; from pathlib import Path; Home(Path({str(home.path)!r})).lock(); print('held', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(HomeInUse, match=f"{home.path}.*--home"):
            home.lock()
        other.kill()
        other.wait()
    os.close(home.lock())


def test_the_lock_is_not_inherited(home: Home) -> None:
    """A child that outlives its parent does not keep the home."""
    descriptor = home.lock()
    assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(descriptor)


def test_the_token_is_made_once(home: Home) -> None:
    """It is said to be new the first time only; a given one is used and not kept."""
    token, made = home.token(None)
    assert made
    assert len(token) >= 40
    assert home.token(None) == (token, False)
    assert home.token("given by the operator") == ("given by the operator", False)
    assert home.token(None) == (token, False)


def test_the_brokers_port_and_passwords_are_kept(home: Home) -> None:
    """Made once for every user, each its own; a given port replaces the kept one, no port keeps it."""
    first = BusAccess.ensure(home, 0)
    assert set(first.passwords) == set(BUS_USERS)
    assert len(set(first.passwords.values())) == len(BUS_USERS)
    assert BusAccess.ensure(home, 4333).port == 4333
    kept = BusAccess.ensure(home, 0)
    assert (kept.port, kept.passwords) == (4333, first.passwords)
    assert BusAccess.load(home).url("edge") == f"nats://edge:{first.passwords['edge']}@127.0.0.1:4333"


def test_what_never_ran_says_so(home: Home) -> None:
    """Reading what `up` writes, before it ran, is a missing file and no default."""
    with pytest.raises(FileNotFoundError):
        BusAccess.load(home)
    with pytest.raises(FileNotFoundError):
        home.edge_url()
    home.edge_file.write_text(json.dumps({"host": "127.0.0.1", "port": 81}))
    assert home.edge_url() == "http://127.0.0.1:81"


def test_a_secret_replaces_another_whole(home: Home) -> None:
    """Even over a file that was open to others, and a draft that a crash left open."""
    path = home.path / "secret"
    path.write_text("an older and longer secret")
    write_secret(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)
    assert [p.name for p in home.path.iterdir() if p.is_file()] == ["secret"]
