"""A system to break: behind a proxy, with fail-points that can be armed while it runs, and its databases open for reading."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import httpx
import psutil

from behind_proxy import PROXY_PORT
from fault_proxy import Proxy
from infra.bus.server import free_port
from infra.failpoints import DIRECTORY
from infra.home import BusAccess, Home
from running_system import System, eventually


class FaultSystem(System):
    """Broker, actors and edge; every test leaves it as whole as it found it."""

    command: ClassVar[list[str]] = [sys.executable, str(Path(__file__).with_name("behind_proxy.py"))]

    def __init__(self, home: Path) -> None:
        self.proxy = Proxy()
        self.broker_port = free_port("127.0.0.1")
        self.proxy.start(self.broker_port)
        self.places = home.parent / f"{home.name}-places"
        self.places.mkdir()
        self.environment = {
            "HALFTONE_NATS_PORT": str(self.broker_port),
            PROXY_PORT: str(self.proxy.port),
            DIRECTORY: str(self.places),
        }
        super().__init__(home, **self.environment)
        self.accepted: set[str] = set()
        """Every job that was promised: the system owes an end to each."""

    def close(self) -> None:
        self.proxy.calm()
        if self.process.poll() is None:
            self.stop(signal.SIGTERM)
        self.proxy.stop()

    def calm(self) -> None:
        """End what a test may have left: armed places, a proxy that holds, processes that are stopped."""
        for path in self.places.iterdir():
            path.unlink(missing_ok=True)
        self.proxy.calm()
        for process in self.descendants():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    def arm(self, process: str, place: str, action: str = "kill", on: int | str = 1, seconds: float = 0.0) -> Callable[[], bool]:
        """Have something happen at a fail-point; what is returned tells whether it has."""
        path = self.places / f"{process}:{place}"
        draft = path.with_suffix(".new")
        draft.write_text(f"{action} {on} {seconds:g}")
        draft.replace(path)
        return lambda: not path.exists()

    def brokers(self) -> list[psutil.Process]:
        """The broker's process, if it runs."""
        found = []
        for process in self.descendants():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == "nats-server" and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def back(self, name: str, before: psutil.Process) -> float:
        """Wait until a process that was killed is there anew; seconds of waiting."""
        began = time.monotonic()
        eventually(lambda: not before.is_running() and self._running(name))
        return time.monotonic() - began

    def _running(self, name: str) -> bool:
        try:
            self.child(name)
        except AssertionError:
            return False
        return True

    def rows(self, database: str, query: str, *values: Any) -> list[Any]:
        """What a query finds in a process's database."""
        path = self.home / "db" / f"{database}.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query, values).fetchall()

    def databases(self) -> list[str]:
        return [path.stem for path in (self.home / "db").glob("*.sqlite")]

    def bus_url(self, user: str = "provisioner") -> str:
        """Past the proxy: what a test looks at is not what it disturbs."""
        access = BusAccess.load(Home(self.home))
        access.port = self.broker_port
        return access.url(user)

    def promise(self, body: Any, key: str | None = None) -> str:
        """Ask for a job until it is promised, as a client does that is told to try again. Its id."""
        job: str = self._insist(lambda headers: self.http.post("/v1/jobs", json=body, headers=headers), key)["id"]
        self.accepted.add(job)
        return job

    def promise_upload(self, content: bytes, key: str | None = None) -> Any:
        """Bring a table until it is taken: its dataset and its job."""
        made = self._insist(lambda headers: self.http.post("/v1/datasets", files={"file": ("t.csv", content)}, headers=headers), key)
        self.accepted.add(made["job"])
        return made

    def _insist(self, ask: Callable[[dict[str, str]], httpx.Response], key: str | None) -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}

        def once() -> Any:
            try:
                answer = ask(headers)
            except httpx.TransportError:
                assert key is not None, "without a key nobody knows what became of it"
                return None
            if answer.status_code == 503:
                assert int(answer.headers["retry-after"]) >= 1
                return None
            assert answer.status_code == 202, answer.text
            return answer.json()

        return eventually(once, 120)

    def cancel(self, job: str) -> None:
        """Ask for a job's end until that is taken."""
        eventually(lambda: self.http.post(f"/v1/jobs/{job}:cancel").status_code == 202)

    def jobs(self) -> Iterator[Any]:
        """Every job, as the edge tells."""
        cursor: str | None = None
        while True:
            page = self.get("/v1/jobs", **{"limit": 200, **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def until_ended(self, seconds: float = 240.0) -> dict[str, Any]:
        """Wait until every job that was promised has ended. They, by their ids."""
        unended = "select count(*) from jobs where state not in ('completed', 'failed', 'cancelled', 'refused')"

        def ended() -> dict[str, Any] | None:
            if self.rows("views", unended) != [(0,)]:
                return None
            held = {job["id"]: job for job in self.jobs()}
            missing = self.accepted - held.keys()
            open_ = [job for job in self.accepted & held.keys() if held[job]["state"] in {"accepted", "queued", "running"}]
            return None if missing or open_ else held

        found: dict[str, Any] = eventually(ended, seconds)
        return found

    def probe(self) -> float:
        """Seconds until a job that is asked for now has gone through every part."""
        began = time.monotonic()
        job = self.promise({"kind": "noop"}, key=f"probe-{time.monotonic_ns()}")
        done = eventually(lambda: self._ended(job), 120)
        assert done["state"] == "completed"
        return time.monotonic() - began

    def _ended(self, job: str) -> Any:
        try:
            answer = self.http.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=5"})
        except httpx.TransportError:
            return None
        seen = answer.json()
        return seen if answer.status_code == 200 and seen["state"] in {"completed", "failed", "cancelled", "refused"} else None
