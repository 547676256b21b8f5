"""Work for a system that is being broken: jobs of several kinds, asked for by clients that try again until they are promised."""

from __future__ import annotations

import itertools
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fault_system import FaultSystem
from running_system import eventually

CLIENTS = 8
_NUMBERS = itertools.count()
COLUMNS = ("age", "score", "group")
SCHEMA = {
    "columns": [
        {"name": "age", "type": "integer", "minimum": 0, "maximum": 99},
        {"name": "score", "type": "integer", "minimum": 0, "maximum": 9},
        {"name": "group", "type": "categorical", "categories": ["a", "b", "c"]},
    ]
}


def table(seed: int, rows: int = 200) -> bytes:
    """A small table as CSV; another seed is another one, and so falls under another budget."""
    rng = random.Random(seed)
    lines = [f"{rng.randrange(100)},{rng.randrange(10)},{rng.choice('abc')}" for _ in range(rows)]
    return "\n".join([",".join(COLUMNS), *lines]).encode()


@dataclass(frozen=True)
class Material:
    """What jobs need before they can be asked for."""

    dataset: str
    account: str
    model: str


def material(system: FaultSystem, seed: int, epsilon: float = 500.0) -> Material:
    """A dataset with an attested schema and a budget, and a model that was fitted to it."""
    made = system.promise_upload(table(seed))
    assert system.ended(made["job"])["state"] == "completed"
    attested = system.put(f"/v1/datasets/{made['dataset']}/schema", SCHEMA)
    system.accepted.add(attested["job"])
    system.ended(attested["job"])
    system.put(f"/v1/budgets/{made['dataset']}", {"epsilon": epsilon})
    fitted = system.promise(synthesis(made["dataset"]))
    done = system.ended(fitted)
    assert done["state"] == "completed", done
    model = next(output["artifact"] for output in done["outputs"] if output["role"] == "model")
    return Material(made["dataset"], system.get(f"/v1/budgets/{made['dataset']}")["account"], model)


def synthesis(dataset: str, epsilon: float = 0.5, rows: int = 100) -> dict[str, Any]:
    return {"kind": "synthesize", "dataset": dataset, "epsilon": epsilon, "rows": rows}


def back_at_work(system: FaultSystem, made: Material, process: str) -> float:
    """Seconds until a process has done its part of a job that is asked for now."""
    began = time.monotonic()
    if process == "budget_keeper":
        job = system.promise(synthesis(made.dataset), f"back-{time.monotonic_ns()}")
        eventually(lambda: system.rows("budget_keeper", "select 1 from ledger where job = ?", job))
    elif process == "ingestor":
        job = system.promise_upload(table(time.monotonic_ns()), f"back-{time.monotonic_ns()}")["job"]
        eventually(lambda: system.rows("ingestor", "select 1 from jobs where job = ?", job))
    elif process == "auditor":
        job = system.promise({"kind": "noop"}, f"back-{time.monotonic_ns()}")
        eventually(lambda: system.rows("auditor", "select 1 from entries where cast(entry as text) like ?", f'%"job":"{job}"%'))
    else:
        system.probe()
    return time.monotonic() - began


@dataclass(frozen=True)
class Mix:
    """How many jobs of each kind."""

    noop: int = 0
    ingest: int = 0
    sample: int = 0
    synthesize: int = 0


class Load:
    """Jobs that are being asked for. Everything random comes from the seed."""

    def __init__(self, system: FaultSystem, made: Material, mix: Mix, seed: int) -> None:
        self._system, self._made, self.seed = system, made, seed
        self._number = next(_NUMBERS)
        kinds = ["noop"] * mix.noop + ["ingest"] * mix.ingest + ["sample"] * mix.sample + ["synthesize"] * mix.synthesize
        random.Random(seed).shuffle(kinds)
        self._clients = ThreadPoolExecutor(CLIENTS, thread_name_prefix="client")
        self._asked: list[Future[str]] = [self._clients.submit(self._ask, n, kind) for n, kind in enumerate(kinds)]

    def promised(self) -> list[str]:
        """Wait until all are promised. Their ids, in the order in which they were to be asked for."""
        jobs = [future.result(240) for future in self._asked]
        self._clients.shutdown()
        return jobs

    def under_way(self) -> int:
        """Jobs that were promised so far."""
        return sum(future.done() for future in self._asked)

    def _ask(self, n: int, kind: str) -> str:
        key = f"load-{self._number}-{n}"
        match kind:
            case "ingest":
                return str(self._system.promise_upload(table(self.seed * 1000 + n), key)["job"])
            case "sample":
                return self._system.promise({"kind": "sample", "model": self._made.model, "rows": 50, "seed": n}, key)
            case "synthesize":
                return self._system.promise(synthesis(self._made.dataset), key)
            case _:
                return self._system.promise({"kind": "noop"}, key)
