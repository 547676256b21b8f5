"""A running system that makes datasets of queries and of stores, and knows the same table again however it comes in."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from halftone.client import Halftone, Invalid, JobFailed, JobRefused, NotFound
from real_postgres import started
from running_system import REPOSITORY, System, eventually

SECRET = "hunter2"
PEOPLE = pd.DataFrame({"id": range(3000), "city": ["Bern", "Basel", None] * 1000, "weight": [70.5, 81.25, 64.0] * 1000})
SCHEMA = {
    "columns": [
        {"name": "id", "type": "integer", "minimum": 0, "maximum": 2999},
        {"name": "city", "type": "categorical", "categories": ["Basel", "Bern"], "nullable": True},
        {"name": "weight", "type": "number", "minimum": 0, "maximum": 200},
    ]
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with people, and a directory with the same people in a file."""
    directory = tmp_path_factory.mktemp("data")
    with sqlite3.connect(directory / "people.db") as connection:
        PEOPLE.to_sql("people", connection, index=False)
        connection.execute("CREATE TABLE mixed (a)")
        connection.executemany("INSERT INTO mixed VALUES (?)", [(n,) for n in range(3000)] + [("Jane Doe",)])
        connection.execute("CREATE TABLE photos (name text, photo blob)")
        connection.execute("INSERT INTO photos VALUES ('Jane Doe', x'00')")
    connection.close()
    (directory / "lake" / "2024").mkdir(parents=True)
    (directory / "lake" / "2024" / "people.csv.gz").write_bytes(gzip.compress(PEOPLE.to_csv(index=False).encode()))
    (directory / "people.csv").write_bytes(PEOPLE.to_csv(index=False).encode())
    return directory


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL, or an address where none listens."""
    yield from started()


@pytest.fixture(scope="module")
def running(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose settings name these sources."""
    sql = {
        "crm": f"sqlite:///{data}/people.db",
        "away": f"postgresql://jane:{SECRET}@127.0.0.1:1/people",
        "gone": "sqlite:////nowhere/x.db",
    }
    settings = {
        "HALFTONE_SQL_SOURCES": json.dumps(sql),
        "HALFTONE_OBJECT_SOURCES": json.dumps({"lake": f"file://{data}/lake"}),
        "HALFTONE_SQL_SECONDS": "2",
        "HALFTONE_MAX_TABLE_BYTES": "2000000",
        "HALFTONE_LOG_LEVEL": "debug",
    }
    system = System(tmp_path_factory.mktemp("fetching") / "home", **settings, HALFTONE_READ_PATHS=str(data))
    system.start()
    yield system
    assert system.stop() == 0


@pytest.fixture
def client(running: System) -> Iterator[Halftone]:
    """A client of that system."""
    with Halftone(home=running.home) as client:
        yield client


def frame(client: Halftone, dataset: Any) -> pd.DataFrame:
    return client.datasets.to_pandas(dataset)


def test_the_same_table_falls_under_one_budget_however_it_comes_in(running: System, client: Halftone, tmp_path: Path) -> None:
    """From a query, a store, as Parquet, with other separators, shuffled: what one spends, the others have not."""
    first = client.datasets.fetch({"sql": "crm", "query": "SELECT id, city, weight FROM people;"}, name="from SQL", schema=SCHEMA)
    assert first.name == "from SQL"
    pd.testing.assert_frame_equal(frame(client, first), PEOPLE, check_dtype=False)
    client.budgets.set(first, epsilon=1.0)
    pq.write_table(
        pa.Table.from_pandas(PEOPLE.sample(frac=1, random_state=1)[["weight", "id", "city"]], preserve_index=False), tmp_path / "p"
    )
    others = [
        client.datasets.fetch({"sql": "crm", "query": "SELECT weight, city, id FROM people ORDER BY weight DESC"}),
        client.datasets.fetch({"store": "lake", "key": "2024/people.csv.gz"}),
        client.datasets.upload(tmp_path / "p"),
        client.datasets.upload(PEOPLE.to_csv(index=False, sep=";", lineterminator="\r\n").encode(), filename="people.txt"),
    ]
    assert {each.account for each in others} == {first.account}
    assert {each.name for each in others} == {"crm", "people.csv.gz", "p", "people.txt"}
    last = others[-1]
    client.datasets.attest(last, SCHEMA)
    job = client.synthesize(last, epsilon=0.8, rows=10)
    job.wait()
    left = [client.budgets.get(each).left.rho for each in (first, *others)]
    assert len(set(left)) == 1
    with pytest.raises(JobRefused):
        client.synthesize(first, epsilon=0.9, rows=10).wait()
    other = client.datasets.fetch({"sql": "crm", "query": "SELECT id, city, weight FROM people LIMIT 2999"})
    assert other.account != first.account


def test_a_file_read_in_two_ways_falls_under_one_budget(client: Halftone) -> None:
    """Its bytes are known again, though what is read of them differs."""
    content = b"a;b,c\n1;2,3\n4;5,6\n"
    accounts = {client.datasets.upload(content, filename="x.csv", read={"delimiter": each}).account for each in (";", ",")}
    assert len(accounts) == 1


def test_types_come_from_the_whole_result(client: Halftone) -> None:
    """A database without types may turn to text in its last row."""
    dataset = client.datasets.fetch({"sql": "crm", "query": "SELECT a FROM mixed"})
    assert frame(client, dataset)["a"].tolist()[-2:] == ["2999", "Jane Doe"]


def test_a_real_postgres_is_read(client: Halftone, postgres: str, data: Path, tmp_path: Path) -> None:
    """Through a system of its own, whose settings name it."""
    import asyncio

    import asyncpg

    async def fill() -> None:
        connection = await asyncpg.connect(postgres)
        await connection.execute("CREATE TABLE people (id int, city text, weight numeric(6,2))")
        rows = PEOPLE.astype(object).where(PEOPLE.notna(), None).itertuples(index=False, name=None)
        await connection.copy_records_to_table("people", records=[tuple(row) for row in rows])
        await connection.close()

    asyncio.run(fill())
    system = System(tmp_path / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALFTONE_SQL_SOURCES", json.dumps({"crm": postgres}))
        system.start()
    try:
        with Halftone(home=system.home) as own:
            sent = own.datasets.upload(PEOPLE.to_csv(index=False).encode(), filename="people.csv")
            read = own.datasets.fetch({"sql": "crm", "query": "SELECT * FROM people"})
            pd.testing.assert_frame_equal(frame(own, read), PEOPLE, check_dtype=False)
            assert read.account == sent.account
            with pytest.raises(JobFailed) as failed:
                own.datasets.fetch({"sql": "crm", "query": "SELECT city::int FROM people"})
            assert (failed.value.code, "Bern" in str(failed.value)) == ("query-failed", False)
    finally:
        assert system.stop() == 0


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ({"sql": "crm", "query": "SELECT * FROM photos"}, "column-type-unsupported", "'photo'"),
        ({"sql": "crm", "query": "SELECT json_extract(city, '$.x') FROM people"}, "query-failed", ""),
        ({"sql": "crm", "query": "SELECT a.id, a.city, b.weight FROM people a, people b"}, "file-too-large", "2,000,000 bytes"),
        ({"sql": "crm", "query": "SELECT count(*) FROM people a, people b, people c, people d"}, "query-too-slow", "2 seconds"),
        ({"sql": "away", "query": "SELECT 1"}, "source-unreachable", "try the job again"),
        ({"store": "lake", "key": "2024/nobody.csv"}, "source-key-unknown", "2024/nobody.csv"),
    ],
)
def test_what_gives_no_table_ends_its_job_with_the_reason(
    running: System, client: Halftone, source: dict[str, str], code: str, says: str
) -> None:
    """Nothing is half-stored, and neither the answer, the log nor any file of ours holds a row, an address or a password."""
    before = objects(running)
    with pytest.raises(JobFailed) as failed:
        client.datasets.fetch(source)
    assert (failed.value.code, says in str(failed.value)) == (code, True)
    log = running.http.get(f"/v1/jobs/{failed.value.job.id}/log").text
    for text in (str(failed.value), json.dumps(failed.value.fields), log):
        assert not any(secret in text for secret in (SECRET, "Jane", "Bern", "127.0.0.1", "/nowhere", str(running.home.parent)))
    # What was asked for, the problem and the log: each of them a file with a note beside it.
    eventually(lambda: len(objects(running) - before) == 6)


def test_an_unreachable_database_can_be_tried_again(running: System, client: Halftone) -> None:
    """The retry fetches into a dataset of its own."""
    with pytest.raises(JobFailed) as failed:
        client.datasets.fetch({"sql": "away", "query": "SELECT 1"}, name="people")
    assert failed.value.status == 503
    again = running.post(f"/v1/jobs/{failed.value.job.id}:retry", {})
    assert running.ended(again["id"])["problem"]["code"] == "source-unreachable"
    assert running.get(again["links"]["dataset"])["name"] == "people"


def test_what_makes_no_sense_is_said_before_anything_is_fetched(client: Halftone) -> None:
    """An unknown name lists those there are."""
    with pytest.raises(NotFound, match="there are away, crm, gone") as unknown:
        client.datasets.fetch({"sql": "cmr", "query": "SELECT 1"})
    assert unknown.value.code == "source-unknown"
    with pytest.raises(Invalid) as two:
        client.datasets.fetch({"sql": "crm", "query": "SELECT 1; DROP TABLE people"})
    assert two.value.code == "query-not-select"
    with pytest.raises(Invalid) as climbing:
        client.datasets.fetch({"store": "lake", "key": "../people.csv"})
    assert climbing.value.code == "source-key-wrong"
    assert [(each.name, each.kind) for each in client.datasets.sources()] == [
        ("away", "sql"),
        ("crm", "sql"),
        ("gone", "sql"),
        ("lake", "store"),
    ]


def halftone(running: System, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HALFTONE_HOME": str(running.home), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "infra.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=120)


def test_the_command_line_names_sources(running: System, data: Path) -> None:
    """A path, a query, a key; and one of them at a time."""
    for place in (["--path", str(data / "people.csv")], ["--from", "lake", "--key", "2024/people.csv.gz"]):
        added = halftone(running, "datasets", "add", *place)
        assert added.stdout.startswith("ds_"), added.stderr
    added = halftone(running, "datasets", "add", "--sql", "crm", "--query", "SELECT * FROM people", "--name", "by query")
    assert running.get(f"/v1/datasets/{added.stdout.strip()}")["name"] == "by query"
    assert "lake" in halftone(running, "datasets", "sources").stdout
    for wrong in ([str(data / "people.csv"), "--path", "/x"], ["--sql", "crm"]):
        refused = halftone(running, "datasets", "add", *wrong)
        assert refused.returncode != 0
        assert "query" in refused.stderr or "--sql" in refused.stderr


def test_no_log_and_no_message_holds_a_secret(running: System) -> None:
    """Whatever was asked for in this module: the home knows no address of a source."""
    for path in running.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert SECRET.encode() not in content, path
            assert b"people.db" not in content, path


def objects(system: System) -> set[str]:
    return {path.name for path in (system.home / "objects").rglob("*") if path.is_file()}
