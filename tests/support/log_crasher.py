"""Keeps a log, and is killed amid it: a process of its own that forks one auditor after the other and ends each by SIGKILL.

Each line of its input is a home, a seed and the seconds to live from its first commit on; it answers with a line once the auditor is dead.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from actors.auditor import Auditor, tables
from infra.bus.tail import Stored
from infra.database.store import Store
from infra.home import Home
from infra.settings import Settings
from log_fixture import event


async def opened(path: Path) -> tuple[Auditor, Store]:
    """An auditor without a broker: what it would be told, it is told by hand."""
    home = Home(path).prepare()
    store = Store(home.database_url("auditor"), tables())
    await store.open()
    runtime: Any = SimpleNamespace(home=home, settings=Settings(home=path), store=store, client=None)
    auditor = Auditor(runtime)
    auditor._elsewhere = []
    return auditor, store


async def append(auditor: Auditor, count: int) -> None:
    """So many new events, which come together."""
    await auditor._append([Stored(n, e.id, e.dump()) for n, e in enumerate((event() for _ in range(count)), start=1)])


async def work(path: Path, seed: int, begun: int) -> None:
    """Append and sign for ever, as fast as it goes; says when it has begun to."""
    auditor, _ = await opened(path)
    random_ = random.Random(seed)
    await auditor._sign_once()
    os.write(begun, b"+")
    while True:
        await append(auditor, random_.randint(1, 20))
        if random_.random() < 0.5:
            await auditor._sign_once()


def main() -> None:
    # What the auditors say is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        path, seed, seconds = line.split()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            asyncio.run(work(Path(path), int(seed), writing))
            os._exit(1)
        os.close(writing)
        # However slow the machine is, its life is counted from where it begins to write.
        os.read(reading, 1)
        os.close(reading)
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.WTERMSIG(status) if os.WIFSIGNALED(status) else -1}\n")
        answers.flush()


if __name__ == "__main__":
    main()
