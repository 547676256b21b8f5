"""Starts a system as ``python -m infra`` does, but its actors and its edge reach the broker through a proxy."""

from __future__ import annotations

import multiprocessing
import os
import sys

from infra import supervisor
from infra.__main__ import PRELOAD
from infra.bus.server import NatsServer
from infra.home import BusAccess

PROXY_PORT = "HALFTONE_FAULTS_PROXY"


class BehindProxy(NatsServer):
    """A broker of which the home tells another port than it listens on."""

    async def start(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109  # as the one that it stands for
        await super().start(timeout)
        BusAccess(self.access.host, int(os.environ[PROXY_PORT]), self.access.passwords).save(self.home)


if __name__ == "__main__":
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    supervisor.NatsServer = BehindProxy  # type: ignore[misc]
    sys.exit(supervisor.main())
