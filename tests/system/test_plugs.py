"""Pulling plugs: processes are killed, systems stopped, jobs cancelled; nothing is lost, charged twice, or left over."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import psutil
import pytest

from running_system import REPOSITORY, System, eventually

COLUMNS = 12


@pytest.fixture(scope="module")
def wide() -> tuple[bytes, dict[str, Any]]:
    """A table whose synthesis of many rows takes a while: 12 columns of 40 values."""
    rows = np.random.default_rng(7).integers(0, 40, (3000, COLUMNS))
    names = [f"c{i}" for i in range(COLUMNS)]
    text = "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows.tolist())])
    schema = {"columns": [{"name": name, "type": "integer", "minimum": 0, "maximum": 39} for name in names]}
    return text.encode(), schema


def long_job(system: System, dataset: str) -> str:
    """A job that is measured soon and then draws rows for a long time."""
    body = {"kind": "synthesize", "dataset": dataset, "epsilon": 0.5, "rows": 20_000_000}
    return str(system.post("/v1/jobs", body)["id"])


def charges(system: System, dataset: str, job: str) -> list[str]:
    return [e["kind"] for e in system.get(f"/v1/budgets/{dataset}/entries")["items"] if e["job"] == job]


def test_cancelling_ends_the_worker_within_two_seconds_and_leaves_nothing(system: System, wide: tuple[bytes, dict]) -> None:
    """The worker is gone, no completed follows, its files are removed, and the charge stays: the mechanism had started."""
    dataset = system.dataset(*wide)
    before = objects(system)
    job = long_job(system, dataset)
    (worker,) = eventually(system.workers)
    eventually(lambda: (system.get(f"/v1/jobs/{job}")["progress"] or {}).get("step") == "draw")
    asked = time.monotonic()
    system.post(f"/v1/jobs/{job}:cancel", {})
    gone, _ = psutil.wait_procs([worker], timeout=10)
    assert gone
    assert time.monotonic() - asked < 2
    ended = system.ended(job)
    assert (ended["state"], ended["outputs"]) == ("cancelled", [])
    assert charges(system, dataset, job) == ["reserved", "charged"]
    eventually(lambda: objects(system) == before)
    system.post(f"/v1/jobs/{job}:cancel", {})
    assert system.get(f"/v1/jobs/{job}")["state"] == "cancelled"


def test_a_worker_killed_after_measuring_is_tried_again_and_charged_once(system: System, wide: tuple[bytes, dict]) -> None:
    """The charge belongs to the mechanism, not to the process that ran it."""
    dataset = system.dataset(wide[0] + b"\n" + b",".join([b"1"] * COLUMNS), wide[1])
    job = system.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset, "epsilon": 0.5, "rows": 1_000_000})["id"]
    (worker,) = eventually(system.workers)
    eventually(lambda: (system.get(f"/v1/jobs/{job}")["progress"] or {}).get("step") in {"fit", "draw"})
    worker.kill()
    ended = system.ended(job)
    assert (ended["state"], ended["attempt"]) == ("completed", 2)
    assert charges(system, dataset, job) == ["reserved", "charged"]


def test_an_actor_that_is_killed_comes_back_and_its_jobs_are_done(own_system: System) -> None:
    """The supervisor starts it again; what was asked meanwhile waits for it."""
    keeper = own_system.child("budget_keeper")
    keeper.kill()
    dataset = own_system.upload(b"a,b\n1,2\n3,4\n")
    assert own_system.ended(dataset["job"])["state"] == "completed"
    budget = eventually(lambda: own_system.http.put(f"/v1/budgets/{dataset['dataset']}", json={"epsilon": 1.0}).status_code == 200)
    assert budget
    assert own_system.child("budget_keeper").pid != keeper.pid


def test_a_stopped_system_finds_everything_again(own_system: System, wide: tuple[bytes, dict]) -> None:
    """Ctrl-C, then the same home: token, datasets, jobs, budget and log are there, and work goes on."""
    dataset = own_system.dataset(*wide)
    job = own_system.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset, "epsilon": 0.5, "rows": 100})["id"]
    assert own_system.ended(job)["state"] == "completed"
    before = [own_system.get(path) for path in (f"/v1/jobs/{job}", f"/v1/datasets/{dataset}", f"/v1/budgets/{dataset}")]
    token = own_system.token
    assert own_system.stop() == 0
    own_system.start()
    assert own_system.token == token
    assert "token" not in "".join(own_system.said)
    assert [own_system.get(path) for path in (f"/v1/jobs/{job}", f"/v1/datasets/{dataset}", f"/v1/budgets/{dataset}")] == before
    again = own_system.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset, "epsilon": 0.5, "rows": 100})["id"]
    assert own_system.ended(again)["state"] == "completed"
    verify = [sys.executable, "-m", "infra.cli", "audit", "verify", "--home", str(own_system.home)]
    assert subprocess.run(verify, capture_output=True, check=False, cwd=REPOSITORY).returncode == 0


def test_a_job_in_flight_when_the_system_stops_is_done_after_the_next_start(own_system: System, wide: tuple[bytes, dict]) -> None:
    """What was promised is kept, though the worker was ended half-way."""
    dataset = own_system.dataset(*wide)
    job = own_system.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset, "epsilon": 0.5, "rows": 1_000_000})["id"]
    eventually(lambda: (own_system.get(f"/v1/jobs/{job}")["progress"] or {}).get("step") in {"fit", "draw"})
    assert own_system.stop() == 0
    own_system.start()
    assert own_system.ended(job)["state"] == "completed"
    assert charges(own_system, dataset, job) == ["reserved", "charged"]


def test_nothing_outlives_a_supervisor_that_is_killed(own_system: System) -> None:
    """Broker, actors and edge are gone soon after, and the home can be opened again."""
    processes = own_system.descendants()
    own_system.process.send_signal(signal.SIGKILL)
    own_system.process.wait(10)
    own_system.process.stdout.close()
    own_system.http.close()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    own_system.start()
    assert own_system.post("/v1/jobs", {"kind": "noop"}, Prefer="wait=10", expect=200)["state"] == "completed"


def test_a_second_system_on_the_same_home_is_refused(system: System) -> None:
    """Two writers of one home would lose what they hold; the second says what to do."""
    environment = {"HALFTONE_HOME": str(system.home), "HALFTONE_PORT": "0", "PATH": "/usr/bin:/bin"}
    second = subprocess.run(
        [sys.executable, "-m", "infra"], env=environment, capture_output=True, text=True, check=False, timeout=30, cwd=REPOSITORY
    )
    assert second.returncode == 1
    assert "another halftone runs on" in second.stderr


def objects(system: System) -> set[str]:
    return {path.name for path in (system.home / "objects").rglob("*") if path.is_file()}
