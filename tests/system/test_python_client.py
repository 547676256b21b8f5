"""The Python client against a whole system: what goes in comes out, and errors carry what a program needs."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from halftone.client import AsyncHalftone, Conflict, Forbidden, Gone, Halftone, JobFailed, JobRefused, NotFound, Unauthorized
from running_system import System, eventually

SCHEMA = {"columns": [{"name": name, "type": "integer", "minimum": 0, "maximum": 9} for name in "ab"]}


@pytest.fixture(scope="module")
def client(system: System) -> Iterator[Halftone]:
    with Halftone(home=system.home) as made:
        yield made


def test_a_frame_goes_in_and_comes_out(client: Halftone, tmp_path: Path) -> None:
    """The same values, with categories as the text that they stand for."""
    frame = pd.DataFrame({"city": pd.Categorical(["Bern", "Basel"] * 20), "age": range(40), "weight": [0.5, None] * 20})
    dataset = client.datasets.upload(frame, name="frame")
    assert client.datasets.to_pandas(dataset).equals(frame.astype({"city": object}))
    rows = client.datasets.sample(dataset, rows=3)
    assert (rows.columns, len(rows.rows)) == (("city", "age", "weight"), 3)
    written = client.export(dataset, format="jsonl").wait().save(tmp_path / "rows.jsonl", role="export")
    assert [json.loads(line)["age"] for line in written.read_text().splitlines()] == [*range(40)]


def test_bytes_are_read_as_they_are_said_to_be(client: Halftone) -> None:
    """Options of reading reach the reader: what the delimiter is, and that no row names the columns."""
    dataset = client.datasets.upload(b"1|x\n2|y\n", filename="odd.txt", read={"delimiter": "|", "header": False})
    assert client.datasets.table(dataset).num_rows == 2


def test_a_bad_file_raises_with_its_line(client: Halftone) -> None:
    """A program can point at it."""
    with pytest.raises(JobFailed) as caught:
        client.datasets.upload(b"a,b\n1,2\n3\n")
    assert (caught.value.code, caught.value.fields["line"]) == ("row-ragged", 3)


def test_what_depends_on_a_dataset_keeps_it(client: Halftone, tmp_path: Path) -> None:
    """Deleting is refused while a copy was made from it; with cascade both go."""
    dataset = client.datasets.upload(pa.table({"a": [n % 10 for n in range(200)], "b": [n % 7 for n in range(200)]}), schema=SCHEMA)
    client.budgets.set(dataset, epsilon=1.0)
    copy = client.synthesize(dataset, epsilon=0.5, rows=30).wait()
    assert copy.save(tmp_path / "copy.xlsx").stat().st_size > 0
    with pytest.raises(JobRefused) as refused:
        client.synthesize(dataset, epsilon=1.0).wait()
    assert refused.value.code == "budget-exhausted"
    with pytest.raises(Conflict) as caught:
        client.datasets.delete(dataset)
    assert caught.value.code == "dataset-in-use"
    assert copy.dataset in client.datasets.delete(dataset, cascade=True).datasets
    with pytest.raises(Gone):
        client.datasets.rename(dataset, "too late")


def test_ids_and_tokens_that_are_none_are_told_apart(client: Halftone) -> None:
    """404 and 401 are exceptions of their own."""
    with pytest.raises(NotFound):
        client.jobs.get("job_" + "0" * 32)
    with Halftone(client.url, "ht_wrong") as stranger, pytest.raises(Unauthorized) as caught:
        list(stranger.jobs.list())
    assert caught.value.code == "token-wrong"


async def test_many_waits_at_once_share_a_loop(system: System) -> None:
    """Awaiting clients do not block one another; each hears its own job's story."""
    async with AsyncHalftone(home=system.home) as client:
        jobs = await asyncio.gather(*(client.noop() for _ in range(8)))
        done = await asyncio.gather(*(job.wait(timeout=30) for job in jobs))
        assert {job.view.state for job in done if job.view} == {"completed"}
        told = [event.type.split(".")[2] async for event in done[0].events()]
        assert told == ["accepted", "started", "completed"]
        listed = [view.id async for view in client.jobs.list(kind="noop", limit=8)]
        assert {job.id for job in jobs} == set(listed)


def test_a_token_is_issued_used_and_revoked(client: Halftone) -> None:
    """Who holds one is told apart, may do what the role allows, and nothing once it is revoked."""
    expires = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    issued = client.tokens.issue("a script", "reader", expires=expires)
    assert issued.expires is not None
    assert abs(dt.datetime.fromisoformat(issued.expires) - expires) < dt.timedelta(seconds=1)
    with Halftone(client.url, issued.token) as reader:
        assert isinstance(list(reader.datasets.list(limit=1)), list)
        with pytest.raises(Forbidden):
            reader.tokens.issue("mine", "administrator")
        client.tokens.revoke(issued)
        with pytest.raises(Unauthorized) as caught:
            list(reader.datasets.list())
    assert caught.value.code == "token-revoked"
    assert next(view for view in client.tokens.list() if view.id == issued.id).revoked is not None


def test_who_sees_raw_figures_is_in_the_ledger(client: Halftone) -> None:
    """Rows, profile and draft of a real table are entered as observed, at no cost, once for each who looks."""
    dataset = client.datasets.upload(pa.table({"a": [n % 10 for n in range(50)], "b": [n % 3 for n in range(50)]}))
    for _ in range(2):
        client.datasets.profile(dataset)
        client.datasets.sample(dataset, rows=1)
        client.datasets.draft_schema(dataset)

    def entered() -> list[str | None]:
        return sorted(str(entry.step) for entry in client.budgets.entries(dataset) if entry.kind == "observed")

    eventually(lambda: len(entered()) == 3)
    assert entered() == ["draft", "profile", "sample"]
    assert all(entry.cost is not None and entry.cost.rho == 0 for entry in client.budgets.entries(dataset))


def test_a_file_of_the_servers_is_fetched(client: Halftone, system: System) -> None:
    """By its path, where a setting opens it; another is refused, whether it is there or not."""
    (system.shared / "people.csv").write_text("a;b\n1;2\n")
    job = client.datasets.begin_fetch({"path": str(system.shared / "people.csv")}, name="fetched", read={"delimiter": ";"}).wait()
    assert client.datasets.table(job.dataset or "").to_pydict() == {"a": [1], "b": [2]}
    for path in ("/etc/passwd", "/nowhere"):
        with pytest.raises(Forbidden) as caught:
            client.datasets.begin_fetch({"path": path})
        assert caught.value.code == "source-not-allowed"
