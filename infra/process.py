"""Children that never outlive their parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Run in a child before exec: the kernel kills it when the thread that made it ends (Linux; elsewhere nothing)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def exit_when_closed(descriptor: int, *, heard: int | None = None, code: int = 70) -> None:
    """End this process at once when the other end of a pipe closes: the parent holds it open as long as it lives.

    What the parent writes meanwhile is passed on to ``heard``.
    """

    def watch() -> None:
        while said := os.read(descriptor, 4096):
            if heard is not None:
                os.write(heard, said)
        if os.getpgrp() == os.getpid():
            # What this process has started goes with it.
            os.killpg(0, signal.SIGKILL)
        os._exit(code)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def exit_with_parent(code: int = 70) -> None:
    """End this process, one that multiprocessing started, at once when its parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("this process was not started by multiprocessing")

    def watch() -> None:
        parent.join()
        os._exit(code)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
