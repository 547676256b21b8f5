"""Runs the system: ``python -m infra``, with settings from the environment.

The process that all others are forked from is started first: what it imports takes a second, in which the supervisor imports its own.
"""

from __future__ import annotations

import multiprocessing
import os
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
    # Out of the environment, which every process inherits, workers on strangers' data too.
    signing_key = os.environ.pop("HALFTONE_SIGNING_KEY", None)
    if "--single-process" not in sys.argv:
        multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
        forkserver.ensure_running()
    from infra.supervisor import main

    sys.exit(main(signing_key))
