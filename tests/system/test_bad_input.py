"""What bad input gets: a problem document that names the thing and what would be right, and nothing half-stored."""

from __future__ import annotations

import gzip
from typing import Any

import httpx
import pytest

from running_system import System, eventually

SCHEMA: dict[str, Any] = {"columns": [{"name": name, "type": "integer", "minimum": 0, "maximum": 9} for name in "ab"]}
TABLE = b"a,b\n1,2\n3,4\n5,6\n"


@pytest.fixture(scope="module")
def dataset(system: System) -> str:
    return system.dataset(TABLE, SCHEMA)


def test_an_empty_upload_is_refused_at_once(system: System) -> None:
    """There is nothing to store."""
    problem = system.upload(b"", expect=422)
    assert problem["code"] == "file-empty"
    assert "header line" in problem["detail"]


@pytest.mark.parametrize(
    ("content", "code", "fields"),
    [
        pytest.param(b"a,b\n", "file-empty", {}, id="header only"),
        pytest.param(gzip.compress(TABLE * 10_000)[:-20], "file-truncated", {}, id="truncated gzip"),
        pytest.param(b"\x7fELF\x00\x01\x02" * 100, "file-binary", {}, id="binary"),
        pytest.param(b"PAR1" + b"\x00" * 50, "file-truncated", {}, id="truncated parquet"),
        pytest.param(b"a,a\n1,2\n", "column-duplicate", {"columns": ["a"]}, id="duplicate column"),
        pytest.param(b"a,,c\n1,2,3\n", "column-unnamed", {"positions": [2]}, id="column without a name"),
        pytest.param(b'a,b\n"1\n1",2\n\n3\n', "row-ragged", {"line": 5}, id="ragged row after lines in quotes"),
        pytest.param(b'a,b\n1,"2\n', "quote-open", {}, id="open quote"),
        pytest.param(b"a,b\n1,caf\xe9\n2,na\xefve\n", "encoding-unknown", {}, id="an encoding that could be several"),
        pytest.param(
            b",".join(b"c%d" % n for n in range(10_000)) + b"\n" + b",".join([b"1"] * 10_000) + b"\n",
            "too-many-columns",
            {"columns": 10_000, "limit": 1000},
            id="ten thousand columns",
        ),
    ],
)
def test_a_file_that_is_no_table_fails_its_job_and_leaves_nothing(
    system: System, content: bytes, code: str, fields: dict[str, Any]
) -> None:
    """The job says why and where, the dataset is failed and takes no jobs, and the upload is gone."""
    before = {p.name for p in (system.home / "objects").rglob("obj_*") if p.suffix != ".json"}
    registered = system.upload(content)
    job = system.ended(registered["job"])
    assert (job["state"], job["problem"]["code"]) == ("failed", code)
    assert len(job["problem"]["detail"]) > 20
    assert {name: job["problem"].get(name) for name in fields} == fields
    failed = system.get(f"/v1/datasets/{registered['dataset']}")
    assert (failed["state"], failed["versions"]) == ("failed", [])
    refused = system.post("/v1/jobs", {"kind": "synthesize", "dataset": registered["dataset"], "epsilon": 1.0}, expect=409)
    assert refused["code"] == "dataset-failed"

    def left() -> set[str]:
        now = {p.name for p in (system.home / "objects").rglob("obj_*") if p.suffix != ".json"}
        return now - before

    # What stays is the problem document and the job's log.
    eventually(lambda: len(left()) == 2)


def test_a_schema_that_names_an_absent_column_is_refused(system: System, dataset: str) -> None:
    """The column is named, and so are those there are."""
    wrong = {"columns": [*SCHEMA["columns"], {"name": "c", "type": "integer"}]}
    problem = system.put(f"/v1/datasets/{dataset}/schema", wrong, expect=422)
    assert problem["code"] == "schema-column-absent"
    assert "'c'" in problem["detail"]


def test_a_schema_of_another_type_is_refused(system: System, dataset: str) -> None:
    """Numbers are no dates."""
    wrong = {"columns": [{"name": "a", "type": "date"}, SCHEMA["columns"][1]]}
    assert system.put(f"/v1/datasets/{dataset}/schema", wrong, expect=422)["code"] == "schema-type-mismatch"


@pytest.mark.parametrize("epsilon", ["0", "-1", "NaN", "Infinity", "-Infinity", '"1"', "null", "true", "1e400", "[1]"])
def test_an_epsilon_that_is_no_positive_number_is_refused(system: System, dataset: str, epsilon: str) -> None:
    """The parameter is named, and what would be right."""
    body = f'{{"kind": "synthesize", "dataset": "{dataset}", "epsilon": {epsilon}}}'
    answer = system.http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert "epsilon" in answer.text or "JSON" in answer.text


def test_a_synthesis_without_epsilon_says_that_there_is_none_yet(system: System, dataset: str) -> None:
    """No fake success: a release without differential privacy is not offered."""
    problem = system.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset}, expect=422)
    assert "epsilon" in problem["detail"]


def test_an_unknown_engine_is_refused_with_those_there_are(system: System, dataset: str) -> None:
    """Whoever mistypes sees what can be typed."""
    problem = system.post("/v1/jobs", {"kind": "synthesize", "dataset": dataset, "epsilon": 1.0, "engine": "magic"}, expect=422)
    assert all(name in problem["detail"] for name in ("magic", "marginal", "independent"))


def test_a_synthesis_without_an_attested_schema_is_refused(system: System) -> None:
    """What was read off the data is a proposal, and proposals are not public."""
    registered = system.upload(TABLE + b"7,8\n")
    assert system.ended(registered["job"])["state"] == "completed"
    problem = system.post("/v1/jobs", {"kind": "synthesize", "dataset": registered["dataset"], "epsilon": 1.0}, expect=409)
    assert problem["code"] == "schema-not-attested"


def test_the_same_content_falls_under_the_same_budget(system: System, dataset: str) -> None:
    """Uploading again does not open a new account."""
    again = system.upload(TABLE)
    system.ended(again["job"])
    assert system.get(f"/v1/datasets/{again['dataset']}")["account"] == system.get(f"/v1/datasets/{dataset}")["account"]


def test_without_a_token_only_health_answers(system: System) -> None:
    """Everything else says how to authenticate."""
    bare = httpx.Client(base_url=system.http.base_url)
    assert bare.get("/health/live").status_code == 200
    answer = bare.get("/v1/jobs")
    assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Bearer")
    assert bare.get("/v1/jobs", headers={"Authorization": "Bearer wrong"}).status_code == 401
    bare.close()
