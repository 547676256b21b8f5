"""One budget, its terms, a second person, the certificate and the ledger: over HTTP and on the command line, every part real."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from running_system import System, eventually
from tests.system.test_command_line import halftone

SCHEMA = {
    "tables": [
        {
            "name": "visits",
            "columns": [
                {"name": "person", "type": "integer", "pii": "id"},
                {"name": "ward", "type": "categorical", "categories": ["a", "b", "c"]},
                {"name": "days", "type": "integer", "minimum": 0, "maximum": 30},
            ],
        }
    ]
}
VISITS = "person,ward,days\n" + "\n".join(f"{n % 150},{'abc'[n * n % 3]},{n * 7 % 30}" for n in range(600))


@pytest.fixture(scope="module")
def visits(system: System) -> str:
    """A table of users with several rows each, and a budget that counts users, where much waits for a second person."""
    registered = system.upload(VISITS.encode(), "visits.csv")
    assert system.ended(registered["job"])["state"] == "completed"
    system.ended(system.put(f"/v1/datasets/{registered['dataset']}/schema", SCHEMA)["job"])
    terms = {"unit": {"column": "person", "contribution": 3}, "approve_above": 1.5, "reason": "for the tests"}
    budget = system.put(f"/v1/budgets/{registered['dataset']}", {"epsilon": 3.0, **terms})
    assert (budget["terms"]["by_user"], budget["terms"]["contribution"], budget["unit_column"]) == (True, 3, "person")
    return str(registered["dataset"])


@pytest.fixture(scope="module")
def second(system: System) -> Iterator[httpx.Client]:
    """Somebody else who may decide."""
    token = system.post("/v1/tokens", {"name": "second", "role": "administrator"}, expect=201)["token"]
    with httpx.Client(base_url=system.http.base_url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def released(system: System, visits: str, second: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A synthesis that had to wait, and its file."""
    job = system.post("/v1/jobs", {"kind": "synthesize", "dataset": visits, "epsilon": 2.0, "rows": 50})["id"]
    eventually(lambda: [each for each in system.get("/v1/approvals")["items"] if each["job"] == job])
    assert system.get(f"/v1/jobs/{job}")["approval"] == "waiting"
    assert system.post(f"/v1/approvals/{job}:approve", {"reason": "mine"}, expect=403)["code"] == "approval-own"
    answer = second.post(f"/v1/approvals/{job}:approve", json={"reason": "agreed"})
    assert answer.status_code == 200, answer.text
    done = system.ended(job)
    assert (done["state"], done["approval"]) == ("completed", "approved")
    file = tmp_path_factory.mktemp("released") / "visits.parquet"
    table = next(output for output in done["outputs"] if output["role"] == "table")
    file.write_bytes(system.http.get(table["href"]).content)
    return done, file


def test_a_charge_tells_how_its_noise_was_made(system: System, visits: str, released: tuple[dict[str, Any], Path]) -> None:
    """For a user: nine times the rho of a row, three times its reach; reasons, the log's index and every step are there."""
    job, _ = released
    entries = eventually(lambda: _with_index(system, visits, job["id"]))
    assert [entry["kind"] for entry in entries] == ["reserved", "held", "approved", "charged"]
    assert entries[2]["why"] == "agreed"
    charged = entries[3]
    assert {each["sensitivity"] for each in charged["mechanisms"]} == {3.0}
    paid = sum(each["rho"] * each["count"] for each in charged["mechanisms"])
    # How many pairs are worth measuring is read from noisy columns, which are a quarter of it.
    assert 0.2 * charged["cost"]["rho"] < paid <= charged["cost"]["rho"]
    for each in charged["mechanisms"]:
        assert each["rho"] >= 9 / (2 * each["scale"] ** 2) * 1e12 * (1 - 1e-9)


def _with_index(system: System, dataset: str, job: str) -> list[dict[str, Any]]:
    entries = system.get(f"/v1/budgets/{dataset}/entries", job=job)["items"]
    ready = all(entry["index"] is not None for entry in entries) and entries[-1]["mechanisms"]
    return entries if ready else []


def test_a_file_is_verified_against_certificate_ledger_and_log(system: System, released: tuple[dict[str, Any], Path]) -> None:
    """Signature, content, charge and inclusion; offline the first two; and the certificate says what it was bought with."""
    job, file = released
    said = halftone(system, "certificate", "verify", str(file)).stdout
    assert "signature and content hold; the charge is entry" in said
    assert "of epsilon 2 at delta 1e-09" in said
    key = str(system.home / "certificates" / "public-key")
    assert "hold" in halftone(None, "certificate", "verify", str(file), "--offline", "--key", key).stdout
    shown = halftone(system, "certificate", "show", job["id"]).stdout
    assert "user (column 'person', at most 3 rows)" in shown
    seen = system.get(job["links"]["certificate"])
    assert (seen["entry"]["kind"], seen["proof"]["entry"]["id"]) == ("charged", seen["claim"]["charge"]["event"])
    fields = json.loads(halftone(system, "certificate", "export", job["id"], "--curator", "us").stdout)
    assert (fields["tier"], fields["privacy_unit"]["contribution_bound_rows"], fields["data_curator"]) == (3, 3, "us")


def test_a_file_that_was_changed_is_refused(system: System, released: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """One value other: the content is not what was certified; without the footer there is nothing to check."""
    job, file = released
    beside = tmp_path / "certificate.json"
    beside.write_text(json.dumps(system.get(job["links"]["certificate"])["envelope"]))
    table = pq.read_table(file)
    days = pa.array([(table["days"][0].as_py() + 1) % 30, *table["days"].to_pylist()[1:]], table["days"].type)
    pq.write_table(table.set_column(2, table.schema.field("days"), days), tmp_path / "changed.parquet")
    changed = str(tmp_path / "changed.parquet")
    refused = halftone(system, "certificate", "verify", changed, "--certificate", str(beside), code=1)
    assert "not what was certified" in refused.stderr
    pq.write_table(table, tmp_path / "bare.parquet")
    assert "hold" in halftone(system, "certificate", "verify", str(tmp_path / "bare.parquet"), "--certificate", str(beside)).stdout
    assert "no certificate" in halftone(system, "certificate", "verify", str(tmp_path / "bare.parquet"), code=1).stderr
    assert "does not exist" in halftone(system, "certificate", "verify", "nothing.parquet", code=1).stderr


def test_what_is_drawn_again_has_the_same_promise(system: System, released: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """Another table of the model: certified by the same charge, at no cost."""
    job, _ = released
    model = next(output["artifact"] for output in job["outputs"] if output["role"] == "model")
    done = system.ended(system.post("/v1/jobs", {"kind": "sample", "model": model, "rows": 20})["id"])
    seen, first = system.get(done["links"]["certificate"]), system.get(job["links"]["certificate"])
    assert seen["claim"]["charge"] == first["claim"]["charge"]
    assert seen["content"] != first["content"]
    table = next(output for output in done["outputs"] if output["role"] == "table")
    (tmp_path / "again.parquet").write_bytes(system.http.get(table["href"]).content)
    assert "hold" in halftone(system, "certificate", "verify", str(tmp_path / "again.parquet")).stdout


def test_the_log_and_the_keepers_database_agree_to_the_unit(system: System, released: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """And one unit less in a copy of the database is found."""
    del released
    assert "to the unit" in halftone(system, "budget", "verify").stdout
    (tmp_path / "db").mkdir()
    for name in ("auditor", "budget_keeper"):
        held, copy = (sqlite3.connect(home / "db" / f"{name}.sqlite") for home in (system.home, tmp_path))
        with closing(held), closing(copy):
            held.backup(copy)
    with closing(sqlite3.connect(tmp_path / "db" / "budget_keeper.sqlite", isolation_level=None)) as copy:
        copy.execute("UPDATE accounts SET spent_rho = spent_rho - 1 WHERE spent_rho > 0")
    found = halftone(None, "budget", "verify", "--home", str(tmp_path), code=1)
    assert "spent is" in found.stderr


def test_the_ledger_is_exported_and_no_cell_is_a_formula(system: System, visits: str, released: tuple[dict[str, Any], Path]) -> None:
    """CSV and JSON hold the same entries; a reason that looks like one is disarmed."""
    del released
    system.put(f"/v1/budgets/{visits}", {"epsilon": 4.0, "reason": "=HYPERLINK(1)"})
    answer = system.http.get(f"/v1/budgets/{visits}/ledger")
    rows = [*csv.DictReader(io.StringIO(answer.text))]
    assert answer.headers["content-disposition"].startswith("attachment")
    assert rows[-1]["why"] == "'=HYPERLINK(1)"
    whole = system.http.get(f"/v1/budgets/{visits}/ledger?format=json").json()
    assert [row["entry"] for row in rows] == [str(entry["entry"]) for entry in whole]
    assert whole[-1]["why"] == "=HYPERLINK(1)"


def test_a_quota_is_told_in_previews_and_refusals(system: System, visits: str, second: httpx.Client) -> None:
    """Which limit leaves what, before and after asking; and a declined job is refused with its reason in the ledger."""
    me = system.get(f"/v1/budgets/{visits}/entries", kind="limited")["items"][0]["principal"]
    system.put(f"/v1/budgets/{visits}/quotas/{me}", {"epsilon": 0.5, "reason": "a share"})
    preview = system.post(f"/v1/budgets/{visits}:preview", {"epsilon": 0.4}, expect=200)
    assert [room["scope"] for room in preview["limits"]] == ["dataset", "person"]
    assert preview["admits"] == 0
    assert 0 < preview["meaning"]["advantage"] < preview["meaning_after"]["advantage"] < 1
    refused = system.ended(system.post("/v1/jobs", {"kind": "synthesize", "dataset": visits, "epsilon": 0.4})["id"])
    assert (refused["state"], refused["refusal"]["code"]) == ("refused", "quota-exhausted")
    assert "under the dataset's budget" in refused["problem"]["detail"]
    assert "under your own quota" in refused["problem"]["detail"]
    other = second.post("/v1/jobs", json={"kind": "synthesize", "dataset": visits, "epsilon": 1.7}).json()["id"]
    eventually(lambda: [each for each in system.get("/v1/approvals")["items"] if each["job"] == other])
    halftone(system, "budget", "decline", other, "--reason", "not now")
    assert system.ended(other)["refusal"]["code"] == "budget-declined"
    assert system.get(f"/v1/budgets/{visits}/entries", job=other, kind="declined")["items"][0]["why"] == "not now"


def test_what_was_given_away_is_said_in_every_later_certificate(system: System, visits: str, second: httpx.Client) -> None:
    """A release without noise has its own right and a reason; the total has no bound from then on."""
    halftone(system, "budget", "release", visits, "--reason", "a chart was published")
    assert system.get(f"/v1/budgets/{visits}")["unbounded"] == 1
    job = system.ended(second.post("/v1/jobs", json={"kind": "synthesize", "dataset": visits, "epsilon": 0.3, "rows": 5}).json()["id"])
    assert "NO BOUND ON THE TOTAL" in system.get(job["links"]["certificate"])["text"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"epsilon": 2.0}, 422, "reason-missing"),
        ({"epsilon": 2.0, "neighbours": "replace", "reason": "x"}, 409, "budget-terms-fixed"),
        ({"epsilon": 2.0, "composition": "pure", "reason": "x"}, 409, "budget-terms-fixed"),
        ({"epsilon": 2.0, "unit": {"column": "nobody", "contribution": 2}, "reason": "x"}, 422, "unit-no-column"),
        ({"epsilon": 2.0, "unit": {"column": "person", "contribution": 0}, "reason": "x"}, 422, "request-invalid"),
        ({"epsilon": 2.0, "composition": "renyi", "reason": "x"}, 422, "request-invalid"),
        ({"epsilon": 2.0, "window_days": 0, "reason": "x"}, 422, "request-invalid"),
        ({"epsilon": 1e308, "reason": "x"}, 422, "request-invalid"),
        ({"epsilon": 2.0, "composition": "pure", "delta": 1e-9, "reason": "x"}, 422, "request-invalid"),
    ],
)
def test_impossible_budgets_are_named(
    system: System, visits: str, released: tuple[dict[str, Any], Path], body: dict[str, Any], status: int, code: str
) -> None:
    """With the rule, and nothing is set."""
    del released
    before = system.get(f"/v1/budgets/{visits}")["epsilon"]
    problem = system.put(f"/v1/budgets/{visits}", body, expect=status)
    assert problem["code"] == code
    assert problem["detail"]
    assert system.get(f"/v1/budgets/{visits}")["epsilon"] == before


def test_a_pure_budget_refuses_gaussian_noise(system: System) -> None:
    """Before anything is promised; a preview says what a pure epsilon costs and means."""
    dataset = system.dataset(VISITS.replace("0,", "1,").encode(), SCHEMA, epsilon=3.0)
    system.put(f"/v1/budgets/{dataset}", {"epsilon": 3.0, "composition": "pure", "reason": "the policy asks for it"})
    assert system.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset, "epsilon": 1.0}, expect=422)["code"] == "mechanism-not-pure"
    preview = system.post(f"/v1/budgets/{dataset}:preview", {"epsilon": 1.0}, expect=200)
    assert (preview["cost"]["pure"], preview["admits"]) == (1.0, 3)
    assert preview["meaning"]["advantage"] == pytest.approx(0.46211715726)
