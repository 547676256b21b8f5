"""Who lives: told by a lock that the kernel takes back."""

from __future__ import annotations

import subprocess
import sys

from infra.home import Home
from infra.instance import Instance

LIVE = "import sys; from infra.home import Home; from infra.instance import Instance; from pathlib import Path\n"
LIVE += "i = Instance(Home(Path(sys.argv[1]))); print(i.id, flush=True); sys.stdin.read()"


def test_an_instance_that_was_killed_is_known_to_be_gone(home: Home) -> None:
    """While it runs it is not; once the kernel has ended it, it is, for whoever asks, as often as they ask."""
    here = Instance(home)
    with subprocess.Popen([sys.executable, "-c", LIVE, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        assert not here.is_gone(name)
        other.kill()
        other.wait()
        assert here.is_gone(name)
        assert here.is_gone(name)
    here.close()


def test_of_who_is_not_known_nothing_is_said(home: Home) -> None:
    """One that left in order, one of another machine, none at all, and oneself: none of them is taken for dead."""
    here, other = Instance(home), Instance(home)
    assert not here.is_gone(other.id)
    other.close()
    for name in (other.id, "0123456789abcdef", None, here.id):
        assert not here.is_gone(name)
    here.close()
