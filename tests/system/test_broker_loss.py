"""The broker's store is emptied under a running system: nobody is asked anything, and all is as it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Any

import psutil

from running_system import REPOSITORY, System, eventually

PEOPLE = "\n".join(["age,town", *(f"{20 + n % 50},{'Basel' if n % 3 else 'Bern'}" for n in range(300))]).encode()
SCHEMA = {
    "columns": [
        {"name": "age", "type": "integer", "minimum": 0, "maximum": 120},
        {"name": "town", "type": "categorical", "categories": ["Basel", "Bern"]},
    ]
}


def broker(system: System) -> psutil.Process:
    (found,) = [process for process in system.descendants() if process.name() == "nats-server"]
    return found


def seen(system: System, dataset: str, job: str) -> list[Any]:
    """What people see, without places in streams."""
    answers = [system.get(path) for path in (f"/v1/jobs/{job}", f"/v1/datasets/{dataset}", f"/v1/budgets/{dataset}")]
    entries = system.get(f"/v1/budgets/{dataset}/entries")["items"]
    for answer in (*answers, *entries):
        answer.pop("sequence", None)
    return [*answers, entries]


def test_an_emptied_broker_is_filled_again_and_work_goes_on(own_system: System) -> None:
    """Jobs, datasets and budgets are shown as before, the log verifies and has no entry twice, the loss is told, and new jobs are done."""
    dataset = own_system.dataset(PEOPLE, SCHEMA)
    job = own_system.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset, "epsilon": 0.5, "rows": 100})["id"]
    assert own_system.ended(job)["state"] == "completed"
    eventually(lambda: [e["kind"] for e in own_system.get(f"/v1/budgets/{dataset}/entries")["items"]][-1] == "charged")
    before = seen(own_system, dataset, job)
    killed = broker(own_system)
    killed.kill()
    shutil.rmtree(own_system.home / "nats" / "store")
    eventually(lambda: any(process.name() == "nats-server" and process.pid != killed.pid for process in own_system.descendants()))

    def restored() -> bool:
        answer = own_system.http.get(f"/v1/budgets/{dataset}")
        return answer.status_code == 200 and answer.json()["spent"] == before[2]["spent"] and seen(own_system, dataset, job) == before

    # Until then the views show what they showed before.
    eventually(lambda: 'halftone_bus_lost_messages{part="edge",stream="events"}' in own_system.http.get("/metrics").text)
    eventually(restored)
    again = own_system.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset, "epsilon": 0.5, "rows": 100})["id"]
    assert own_system.ended(again)["state"] == "completed"
    events = _entries(own_system)
    assert len(events) == len(set(events))
    verify = [sys.executable, "-m", "infra.cli", "audit", "verify", "--home", str(own_system.home)]
    assert subprocess.run(verify, capture_output=True, check=False, cwd=REPOSITORY).returncode == 0


def _entries(system: System) -> list[str]:
    """The ids of the events in the log."""
    found: list[str] = []
    start: int | None = 0
    while start is not None:
        page = system.get("/v1/audit/entries", start=start)
        found += [entry["event"] for entry in page["entries"]]
        start = page.get("next")
    return found
