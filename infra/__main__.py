"""Runs the system: ``python -m infra``, with settings from the environment.

The process that all others are forked from is started first: what it imports takes a second, in which the supervisor imports its own.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing import forkserver

PRELOAD = [
    "infra.supervisor",
    "infra.work.executor",
    "infra.bus.control",
    "contracts.envelope",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
]
"""Imported once, for all that is forked. Nothing here may start a thread."""

if __name__ == "__main__":
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    forkserver.ensure_running()
    from infra.supervisor import main

    sys.exit(main())
