"""The main job, over HTTP, on real data: every part real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from contracts.envelope import Envelope
from halftone.merkle import canonical, verify_proof
from infra.bus.connection import connect, jetstream
from infra.bus.topology import subscriber_durable
from infra.home import BusAccess, Home
from running_system import REPOSITORY, System

DEMO = REPOSITORY / "infra" / "demo"
ROWS = 5000


@pytest.fixture(scope="module")
def adult(system: System) -> str:
    """The Adult census table with its schema attested and a budget of epsilon 3."""
    return system.dataset((DEMO / "adult.csv.gz").read_bytes(), json.loads((DEMO / "adult-schema.json").read_text()))


@pytest.fixture(scope="module")
def synthesized(system: System, adult: str) -> dict:
    accepted = system.post("/v1/jobs", {"kind": "synthesize", "dataset": adult, "epsilon": 1.0, "rows": ROWS})
    return system.ended(accepted["id"])


def test_a_private_copy_has_the_declared_columns_and_the_rows_asked_for(system: System, synthesized: dict, tmp_path: Path) -> None:
    """What comes out is a table of the same shape, within the declared domain."""
    assert synthesized["state"] == "completed"
    (table,) = (output for output in synthesized["outputs"] if output["role"] == "table")
    answer = system.http.get(table["href"])
    assert answer.status_code == 200
    (tmp_path / "copy.parquet").write_bytes(answer.content)
    copy = pq.read_table(tmp_path / "copy.parquet")
    declared = json.loads((DEMO / "adult-schema.json").read_text())["tables"][0]["columns"]
    assert copy.column_names == [column["name"] for column in declared]
    assert copy.num_rows == ROWS
    assert set(copy["sex"].to_pylist()) == {"Female", "Male"}
    assert 17 <= min(copy["age"].to_pylist()) <= max(copy["age"].to_pylist()) <= 90


def test_its_cost_is_charged_once_and_leads_to_a_leaf_of_the_log(system: System, adult: str, synthesized: dict) -> None:
    """The ledger holds one reservation and one charge of the job, and the charge is provably in the log."""
    entries = [e for e in system.get(f"/v1/budgets/{adult}/entries")["items"] if e["job"] == synthesized["id"]]
    assert [entry["kind"] for entry in entries] == ["reserved", "charged"]
    assert entries[1]["spent"]["epsilon"] == pytest.approx(1.0, abs=1e-6)
    proof = system.get(f"/v1/audit/proofs/{entries[1]['event']}")
    key = (system.home / "audit" / "public-key").read_text().strip()
    checkpoint = verify_proof(canonical(proof["entry"]), proof, key)
    assert proof["entry"]["data"]["cost"] == {"rho": entries[1]["cost"]["rho"], "delta": 0, "pure": 0}
    assert checkpoint.size > proof["index"]


def test_an_evaluation_is_observed_and_stands_between_floor_and_ceiling(system: System, adult: str, synthesized: dict) -> None:
    """Raw figures cost nothing, but the ledger names them; and the copy beats independent columns on pairs."""
    accepted = system.post("/v1/jobs", {"kind": "evaluate", "dataset": synthesized["spec"]["target"]})
    assert system.ended(accepted["id"])["state"] == "completed"
    figures = system.get(f"/v1/evaluations/{accepted['id']}")["figures"]
    assert figures["accuracy_bi"]["floor"] < figures["accuracy_bi"]["value"] < figures["accuracy_bi"]["ceiling"]
    (entry,) = (e for e in system.get(f"/v1/budgets/{adult}/entries")["items"] if e["job"] == accepted["id"])
    assert (entry["kind"], entry["cost"]["rho"]) == ("observed", 0)


def test_what_the_budget_cannot_pay_is_refused_with_what_is_left(system: System, adult: str, synthesized: dict) -> None:
    """A refusal names what was asked and what would fit, and reads nothing."""
    job = system.ended(system.post("/v1/jobs", {"kind": "synthesize", "dataset": adult, "epsilon": 3.0})["id"])
    assert job["state"] == "refused"
    assert job["problem"]["code"] == "budget-exhausted"
    assert 0 < job["refusal"]["left"]["rho"] < job["refusal"]["asked"]["rho"]
    kinds = [e["kind"] for e in system.get(f"/v1/budgets/{adult}/entries")["items"] if e["job"] == job["id"]]
    assert kinds == ["refused"]


def test_a_preview_says_how_many_jobs_fit(system: System) -> None:
    """Epsilons are not added: about eight jobs of epsilon 1 fit into a budget of epsilon 3."""
    fresh = system.dataset(b"a,b\n1,2\n3,4\n", _two_integers())
    assert system.post(f"/v1/budgets/{fresh}:preview", {"epsilon": 1.0}, expect=200)["admits"] == 8


async def test_an_outside_subscriber_gets_completed_jobs_from_a_durable(system: System) -> None:
    """Whoever subscribes needs the read-only user and a name, and misses nothing."""
    client = await connect(BusAccess.load(Home(system.home)).url("subscriber"), "subscriber")
    durable = subscriber_durable("default")
    subscription = await jetstream(client).pull_subscribe_bind(durable.name, durable.stream)
    job = system.post("/v1/jobs", {"kind": "noop"})["id"]
    heard = None
    while heard != job:
        (message,) = await subscription.fetch(1, timeout=30)
        heard = Envelope.load(message.data).data["job"]
        await message.ack_sync()
    await client.close()


def test_events_of_a_job_are_streamed_and_can_be_taken_up_again(system: System) -> None:
    """SSE carries the stream's sequence as its id; Last-Event-ID goes on after it."""
    job = system.post("/v1/jobs", {"kind": "noop"}, Prefer="wait=10", expect=200)["id"]
    told = system.http.get(f"/v1/jobs/{job}/events").text
    types = [line.removeprefix("event: ").strip() for line in told.splitlines() if line.startswith("event: ")]
    assert types == ["halftone.job.accepted.v1", "halftone.job.started.v1", "halftone.job.completed.v1"]
    first = next(line.removeprefix("id: ").strip() for line in told.splitlines() if line.startswith("id: "))
    again = system.http.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": first}).text
    assert "job.accepted" not in again
    assert "job.completed" in again


def test_the_same_idempotency_key_gives_the_same_job(system: System) -> None:
    """A client that did not hear the answer may ask again; with another body it is told so."""
    first = system.post("/v1/jobs", {"kind": "noop"}, **{"Idempotency-Key": "only-once"})
    again = system.post("/v1/jobs", {"kind": "noop"}, **{"Idempotency-Key": "only-once"})
    assert again["id"] == first["id"]
    other = {"kind": "evaluate", "dataset": "ds_" + "0" * 32}
    assert system.post("/v1/jobs", other, expect=409, **{"Idempotency-Key": "only-once"})["code"] == "idempotency-key-reused"


def test_the_log_verifies_offline_and_a_changed_byte_is_found(system: System, adult: str, synthesized: dict, tmp_path: Path) -> None:
    """The exported log needs nothing of the system; one altered byte is found."""
    charged = next(e for e in system.get(f"/v1/budgets/{adult}/entries")["items"] if e["kind"] == "charged")
    system.get(f"/v1/audit/proofs/{charged['event']}")
    assert _halftone("audit", "verify", "--home", str(system.home)).returncode == 0
    assert _halftone("audit", "export", str(tmp_path / "log"), "--home", str(system.home)).returncode == 0
    log, checkpoint, key = (tmp_path / "log" / name for name in ("log.jsonl", "checkpoint", "public-key"))
    offline = ("--export", str(log), "--key", str(key), "--since", str(checkpoint))
    alone = [sys.executable, "-I", "-S", str(tmp_path / "log" / "verify_log.py"), str(log), "--key", str(key), "--since", str(checkpoint)]
    assert _halftone("audit", "verify", *offline).returncode == 0
    assert _halftone("audit", "verify", "--online", "--key", str(key), "--home", str(system.home)).returncode == 0
    assert subprocess.run(alone, check=False, capture_output=True).returncode == 0
    lines = log.read_bytes().split(b"\n")
    place = next(n for n, line in enumerate(lines) if b'"attempt":1' in line)
    lines[place] = lines[place].replace(b'"attempt":1', b'"attempt":2')
    log.write_bytes(b"\n".join(lines))
    tampered, found = _halftone("audit", "verify", *offline), subprocess.run(alone, check=False, capture_output=True, text=True)
    assert (tampered.returncode, found.returncode) == (1, 1)
    assert f"first bad entry: {place - 1})" in tampered.stderr
    assert f"first bad entry: {place - 1})" in found.stderr


def test_a_jobs_story_is_told_with_its_costs_and_proofs(system: System, adult: str, synthesized: dict) -> None:
    """In the log's order, from its acceptance over what was spent to its end; each entry proved."""
    told = _halftone("audit", "explain", synthesized["id"], "--home", str(system.home), "--json")
    story = json.loads(told.stdout)
    assert [entry["what"] for entry in story if entry["what"].startswith(("job", "budget"))] == [
        "job.accepted", "budget.reserved", "job.started", "budget.charged", "job.completed",
    ]  # fmt: skip
    assert "epsilon 1," in next(entry for entry in story if entry["what"] == "job.accepted")["detail"]
    assert all("rho" in entry["detail"] for entry in story if entry["what"].startswith("budget"))
    assert _halftone("audit", "explain", "job_" + "0" * 32, "--home", str(system.home)).returncode == 4


def test_a_running_edge_has_loaded_nothing_heavy(system: System) -> None:
    """The edge does no work on data: no OpenDP, Arrow, scikit-learn, torch or jax in its memory."""
    loaded = {Path(mapped.path).name.lower() for mapped in system.child("edge").memory_maps()}
    assert not [name for name in loaded if any(heavy in name for heavy in ("opendp", "arrow", "sklearn", "torch", "jax"))]
    assert any("pydantic_core" in name for name in loaded), "the maps are those of a Python process of ours"


def _halftone(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "infra.cli", *arguments], capture_output=True, text=True, check=False, cwd=REPOSITORY)


def _two_integers() -> dict:
    return {"columns": [{"name": name, "type": "integer", "minimum": 0, "maximum": 9} for name in "ab"]}
