"""A whole system, started as a user starts it, and a client for it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import httpx
import psutil

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 60.0
PATIENCE_SECONDS = 180.0
"""For what takes a second or two: how busy a machine may be before a test gives up."""


class System:
    """Broker, actors and edge on one home."""

    command: ClassVar[list[str]] = [sys.executable, "-m", "infra"]

    def __init__(self, home: Path, *arguments: str, **environment: str) -> None:
        self.home, self._arguments, self._environment = home, arguments, environment
        self.errors = home.parent / f"{home.name}-errors.log"
        """What is written to standard error."""
        self.shared = home.parent / "shared"
        """A directory from which it may read."""

    def start(self) -> None:
        self.shared.mkdir(exist_ok=True)
        own = {"HALFTONE_HOME": str(self.home), "HALFTONE_PORT": "0", "HALFTONE_WARM_WORKERS": "0", "HALFTONE_READ_PATHS": str(self.shared)}
        environment = os.environ | own | self._environment
        environment.pop("HALFTONE_ADMIN_TOKEN", None)
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*self.command, *self._arguments], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=REPOSITORY
            )
        self.said: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if "Ctrl-C" in line:
                break
        else:
            raise AssertionError(f"the system did not start: {self.said} {self.errors.read_text()}")
        edge = json.loads((self.home / "run" / "edge.json").read_text())
        self.token = (self.home / "admin-token").read_text().strip()
        self.http = httpx.Client(
            base_url=f"http://{edge['host']}:{edge['port']}", headers={"Authorization": f"Bearer {self.token}"}, timeout=70
        )

    def beside(self, name: str) -> tuple[subprocess.Popen[str], str]:
        """Start another instance of an actor or of the edge, by its command; its process, and where it serves."""
        environment = os.environ | {"HALFTONE_HOME": str(self.home), "HALFTONE_PORT": "0"} | self._environment
        environment.pop("HALFTONE_ADMIN_TOKEN", None)
        command = [sys.executable, "-m", "infra.cli", "actor", name]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"{name} is ready"), line
        return process, line.strip().rpartition(" ")[2]

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stop as Ctrl-C does.

        Returns the exit code.
        """
        self.http.close()
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """Worker processes that run now."""
        found = []
        for process in self.descendants():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "infra.work.worker" in process.cmdline():
                    found.append(process)
        return found

    def child(self, name: str) -> psutil.Process:
        """The process of an actor or of the edge: the one that writes its log."""
        log = str(self.home / "logs" / f"{name}.log")
        for process in self.descendants():
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(file.path == log for file in process.open_files()) and "infra.work.worker" not in process.cmdline():
                    return process
        raise AssertionError(f"no process writes {log}")

    def get(self, path: str, expect: int = 200, **query: Any) -> Any:
        return self._answer(self.http.get(path, params=query), expect)

    def post(self, path: str, body: Any, expect: int = 202, **headers: str) -> Any:
        return self._answer(self.http.post(path, json=body, headers=headers), expect)

    def put(self, path: str, body: Any, expect: int = 200) -> Any:
        return self._answer(self.http.put(path, json=body), expect)

    def _answer(self, answer: httpx.Response, expect: int) -> Any:
        assert answer.status_code == expect, answer.text
        if answer.is_error:
            assert answer.headers["content-type"].startswith("application/problem+json")
        return answer.json()

    def upload(self, content: bytes, filename: str = "people.csv", expect: int = 202, **parts: str) -> Any:
        answer = self.http.post("/v1/datasets", files={"file": (filename, io.BytesIO(content))}, data=parts)
        return self._answer(answer, expect)

    def ended(self, job: str) -> Any:
        """The job, once it has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            seen = self.http.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"}).json()
            if seen["state"] in {"completed", "failed", "cancelled", "refused"}:
                return seen
            assert time.monotonic() < deadline, seen

    def dataset(self, content: bytes, schema: dict[str, Any], epsilon: float = 3.0) -> str:
        """A dataset that is ready to be synthesized."""
        registered = self.upload(content)
        assert self.ended(registered["job"])["state"] == "completed"
        attested = self.put(f"/v1/datasets/{registered['dataset']}/schema", schema)
        self.ended(attested["job"])
        self.put(f"/v1/budgets/{registered['dataset']}", {"epsilon": epsilon})
        return str(registered["dataset"])


def eventually(check: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """What a check answers once it answers something true: for what tells nobody when it happens."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return answer
