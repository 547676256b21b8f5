"""Two of every actor, and two edges, on one broker and one set of databases: they behave as one, and go on when one of them is killed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.parts import ENTRIES
from running_system import System, eventually
from tests.conftest import PostgresServer

CSV = b"age,city\n" + b"".join(b"%d,%s\n" % (20 + n % 50, [b"Bern", b"Basel", b"Genf"][n % 3]) for n in range(300))
SCHEMA = {
    "columns": [
        {"name": "age", "type": "integer", "minimum": 0, "maximum": 120},
        {"name": "city", "type": "categorical", "categories": ["Bern", "Basel", "Genf"]},
    ]
}


class Pair:
    """A system with a second instance of each part."""

    def __init__(self, system: System) -> None:
        self.system = system
        started = {name: system.beside(name) for name in ENTRIES}
        self.others: dict[str, subprocess.Popen[str]] = {name: process for name, (process, _) in started.items()}
        headers = {"Authorization": f"Bearer {system.token}"}
        self.edges = (system.http, httpx.Client(base_url=started["edge"][1], headers=headers, timeout=70))

    def close(self) -> None:
        self.edges[1].close()
        for process in self.others.values():
            process.terminate()
        for process in self.others.values():
            assert process.wait(30) == 0
            assert process.stdout is not None
            process.stdout.close()

    def noops(self, name: str, count: int) -> list[str]:
        """Jobs that were asked for at both edges by turns, each at both under one key."""
        found = []
        for n in range(count):
            asked = [edge.post("/v1/jobs", json={"kind": "noop"}, headers={"Idempotency-Key": f"{name}-{n}"}) for edge in self.both(n)]
            assert [answer.status_code for answer in asked] == [202, 202], [answer.text for answer in asked]
            assert asked[0].json()["id"] == asked[1].json()["id"]
            found.append(asked[0].json()["id"])
        return found

    def both(self, n: int) -> tuple[httpx.Client, httpx.Client]:
        return self.edges if n % 2 else (self.edges[1], self.edges[0])

    def ended(self, job: str) -> list[Any]:
        """A job as each edge shows it once it has ended."""
        return [edge.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"}).json() for edge in self.edges]


@pytest.fixture(params=["sqlite", "postgres"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Both databases can hold it."""
    more = {} if request.param == "sqlite" else {"HALFTONE_DATABASE_URL": request.getfixturevalue("postgres").database()}
    system = System(tmp_path / "home", **more)
    system.start()
    pair = Pair(system)
    yield pair
    pair.close()
    assert system.stop() == 0


def test_two_of_every_actor_and_two_edges_are_one(pair: Pair, postgres: PostgresServer) -> None:
    """A key names one job at both; each job ends once; tokens, names and budgets are the same at both; killed parts are not missed."""
    del postgres  # only so that a server is there before a system asks for it
    first, second = pair.edges
    for job in pair.noops("before", 10):
        assert [seen["state"] for seen in pair.ended(job)] == ["completed"] * 2

    token = first.post("/v1/tokens", json={"name": "t", "role": "reader"}).json()
    theirs = {"Authorization": f"Bearer {token['token']}"}
    assert second.get("/v1/jobs", headers=theirs).status_code == 200
    assert first.delete(f"/v1/tokens/{token['id']}").is_success
    eventually(lambda: second.get("/v1/jobs", headers=theirs).status_code == 401)

    registered = second.post("/v1/datasets", files={"file": ("people.csv", CSV)}).json()
    dataset = registered["dataset"]
    assert [seen["state"] for seen in pair.ended(registered["job"])] == ["completed"] * 2
    attested = first.put(f"/v1/datasets/{dataset}/schema", json=SCHEMA)
    assert attested.is_success, attested.text
    pair.ended(attested.json()["job"])
    assert second.put(f"/v1/budgets/{dataset}", json={"epsilon": 3.0}).is_success
    asked = first.post("/v1/jobs", json={"kind": "synthesize", "dataset": dataset, "epsilon": 1.0})
    assert asked.status_code == 202, asked.text
    assert [seen["state"] for seen in pair.ended(asked.json()["id"])] == ["completed"] * 2
    budgets = [edge.get(f"/v1/budgets/{dataset}").json() for edge in pair.edges]
    assert budgets[0]["spent"] == budgets[1]["spent"] != 0

    # Whichever of the two holds a lease: one of each is killed, the supervisor's or the other.
    for name in ("synthesizer", "budget_keeper", "auditor"):
        pair.system.child(name).kill()
    killed = pair.others.pop("ingestor")
    killed.kill()
    killed.wait()
    assert killed.stdout is not None
    killed.stdout.close()
    for job in pair.noops("after", 10):
        assert [seen["state"] for seen in pair.ended(job)] == ["completed"] * 2
    jobs = [[job["id"] for job in edge.get("/v1/jobs", params={"limit": 100}).json()["items"]] for edge in pair.edges]
    assert jobs[0] == jobs[1]
    assert len(set(jobs[0])) == len(jobs[0])
    told = [line for line in first.get(f"/v1/jobs/{asked.json()['id']}/events").text.splitlines() if line.startswith("event: ")]
    ends = [line for line in told if line.split(".")[-2] in {"completed", "failed", "cancelled", "refused"}]
    assert len(ends) == 1, told
