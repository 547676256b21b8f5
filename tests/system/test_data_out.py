"""What comes out, in every format, and again from the same model: over HTTP, on a whole system."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from typing import Any

import pyarrow.parquet as pq
import pytest

from running_system import System

SCHEMA: dict[str, Any] = {
    "columns": [
        {"name": "age", "type": "integer", "minimum": 0, "maximum": 99},
        {"name": "city", "type": "categorical", "categories": ["=Bern", "Basel"]},
    ]
}
TABLE = b"age,city\n" + b"".join(b"%d,%s\n" % (n % 90, (b"=Bern", b"Basel")[n % 2]) for n in range(400))


@pytest.fixture(scope="module")
def real(system: System) -> str:
    return system.dataset(TABLE, SCHEMA)


@pytest.fixture(scope="module")
def model(system: System, real: str) -> Any:
    """A model, and what its job drew."""
    job = system.post("/v1/jobs", {"kind": "synthesize", "dataset": real, "epsilon": 1.0, "rows": 100, "engine": "independent"})["id"]
    assert system.ended(job)["state"] == "completed"
    (made,) = (model for model in system.get("/v1/models", dataset=real)["items"] if model["job"] == job)
    return made


def sampled(system: System, model: str, **more: Any) -> Any:
    job = system.ended(system.post("/v1/jobs", {"kind": "sample", "model": model, **more})["id"])
    assert job["state"] == "completed", job
    return job


def rows_of(system: System, dataset: str, form: str = "parquet") -> bytes:
    answer = system.http.get(f"/v1/datasets/{dataset}/versions/1/table", params={"format": form}, headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    return answer.content


def test_the_same_seed_draws_the_same_rows_at_no_cost(system: System, real: str, model: Any) -> None:
    """As many rows as asked for; another seed gives others; the ledger stays as it was; the model's parent is theirs."""
    before = system.get(f"/v1/budgets/{real}/entries")
    jobs = [sampled(system, model["id"], rows=300, seed=seed) for seed in (5, 5, 6)]
    # Each file has a certificate of its own in its footer: what is the same is the rows.
    tables = [pq.read_table(io.BytesIO(rows_of(system, job["spec"]["target"]))).replace_schema_metadata() for job in jobs]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])
    assert tables[0].num_rows == 300
    assert system.get(f"/v1/budgets/{real}/entries") == before
    drawn = system.get(f"/v1/datasets/{jobs[0]['spec']['target']}")
    assert (drawn["origin"], drawn["parents"], drawn["state"]) == ("synthetic", [real], "ready")


def test_a_sample_can_be_evaluated_as_its_model_can(system: System, real: str, model: Any) -> None:
    """It is a synthetic dataset like any other."""
    target = sampled(system, model["id"], rows=400, seed=1)["spec"]["target"]
    job = system.ended(system.post("/v1/jobs", {"kind": "evaluate", "dataset": target})["id"])
    assert job["state"] == "completed"
    assert system.get(f"/v1/evaluations/{job['id']}")["figures"]
    assert system.get("/v1/evaluations", dataset=real)["items"][0]["dataset"] == target


def test_a_model_that_is_gone_fails_its_job_with_a_reason(system: System, real: str) -> None:
    """The job says what is missing and what would help; nothing is left of it."""
    job = system.post("/v1/jobs", {"kind": "synthesize", "dataset": real, "epsilon": 0.5, "rows": 10, "engine": "independent"})["id"]
    model = system.ended(job)["links"]["model"].rsplit("/", 1)[1]
    for path in (system.home / "objects" / model[-2:]).glob(f"{model}*"):
        path.unlink()
    failed = system.ended(system.post("/v1/jobs", {"kind": "sample", "model": model})["id"])
    assert (failed["state"], failed["problem"]["code"], failed["problem"]["model"]) == ("failed", "model-gone", model)
    assert system.get(f"/v1/datasets/{failed['spec']['target']}")["state"] == "failed"


@pytest.mark.parametrize("form", ["csv", "jsonl", "xlsx"])
def test_a_synthetic_table_comes_in_every_format(system: System, model: Any, form: str) -> None:
    """The same rows in each; text that a spreadsheet would run is disarmed in CSV."""
    expected = pq.read_table(io.BytesIO(rows_of(system, model["synthetic"]))).to_pylist()
    content = rows_of(system, model["synthetic"], form)
    match form:
        case "csv":
            rows = [{"age": int(row["age"]), "city": row["city"]} for row in csv.DictReader(io.StringIO(content.decode()))]
            assert {row["city"] for row in rows} == {"'=Bern", "Basel"}
            rows = [{**row, "city": row["city"].lstrip("'")} for row in rows]
        case "jsonl":
            rows = [json.loads(line) for line in content.decode().splitlines()]
        case _:
            with zipfile.ZipFile(io.BytesIO(content)) as book:
                assert "xl/workbook.xml" in book.namelist()
            rows = expected
    assert rows == expected


def test_raw_rows_are_observed_once_for_each_format(system: System, real: str) -> None:
    """They come back as they were uploaded, and the ledger names each export, at no cost; asking again adds nothing."""

    def observed() -> list[str]:
        return [e["job"] for e in system.get(f"/v1/budgets/{real}/entries", limit=500)["items"] if e["kind"] == "observed"]

    before = observed()
    for _ in range(2):
        lines = rows_of(system, real, "jsonl").decode().splitlines()
        assert json.loads(lines[1]) == {"age": 1, "city": "Basel"}
        assert len(lines) == 400
    rows_of(system, real)
    jobs = [system.get(f"/v1/jobs/{job}") for job in observed() if job not in before]
    assert [(job["kind"], job["spec"]["format"]) for job in jobs] == [("export", "jsonl"), ("export", "parquet")]


def test_a_job_that_was_refused_is_done_once_the_budget_is_raised(system: System) -> None:
    """The refusal says so; the retry is a job of its own that names it."""
    poor = system.dataset(TABLE + b"1,Basel\n", SCHEMA, epsilon=0.1)
    body = {"kind": "synthesize", "dataset": poor, "epsilon": 1.0, "rows": 10, "engine": "independent"}
    refused = system.ended(system.post("/v1/jobs", body)["id"])
    assert refused["state"] == "refused"
    system.put(f"/v1/budgets/{poor}", {"epsilon": 2.0, "reason": "more was planned for"})
    again = system.ended(system.post(f"/v1/jobs/{refused['id']}:retry", None)["id"])
    assert (again["state"], again["retry_of"]) == ("completed", refused["id"])
    assert system.get(f"/v1/datasets/{again['spec']['target']}")["state"] == "ready"


def test_a_schema_is_drafted_from_the_rows_and_attested_as_it_is(system: System) -> None:
    """Upload, look at a few rows and at the draft, put that: then a synthesis can begin."""
    registered = system.upload(TABLE + b"2,=Bern\n")
    assert system.ended(registered["job"])["state"] == "completed"
    dataset = f"/v1/datasets/{registered['dataset']}"
    shown = system.get(f"{dataset}/sample", rows=5)
    assert (shown["columns"], len(shown["rows"])) == (["age", "city"], 5)
    assert {row["city"] for row in shown["rows"]} <= {"=Bern", "Basel"}
    draft = system.get(f"{dataset}/schema:draft")
    assert {guess["column"] for guess in draft["guesses"]} == {"age", "city"}
    attested = system.put(f"{dataset}/schema", draft["schema"])
    assert system.ended(attested["job"])["state"] == "completed"
    assert attested["status"] == "attested"


def test_made_rows_can_be_looked_at(system: System, model: Any) -> None:
    """They are of the table that is given out."""
    shown = system.get(f"/v1/datasets/{model['synthetic']}/sample", rows=100)["rows"]
    table = pq.read_table(io.BytesIO(rows_of(system, model["synthetic"]))).to_pylist()
    assert len(shown) == 100
    assert all(row in table for row in shown)


def test_a_file_is_read_as_its_sender_says(system: System) -> None:
    """Options that detection would not have come to: no header, another separator, an old encoding."""
    content = "".join(f"{n}|Zürich\n" for n in range(50)).encode("cp1252")
    registered = system.upload(content, header="false", delimiter="|", encoding="cp1252", format="csv")
    assert system.ended(registered["job"])["state"] == "completed"
    rows = [json.loads(line) for line in rows_of(system, registered["dataset"], "jsonl").decode().splitlines()]
    assert rows[7] == {"column_1": 7, "column_2": "Zürich"}
    assert len(rows) == 50
    wrong = system.upload(content, format="parquet")
    assert system.ended(wrong["job"])["problem"]["code"] == "format-mismatch"
