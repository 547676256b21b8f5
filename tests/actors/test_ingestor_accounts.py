"""Which account a table falls under: that of the first with its content, whatever it came in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ingestor import bound, tables
from contracts.commands import RunJob
from contracts.events import DatasetProfiled, DatasetVersionAdded, Origin
from contracts.ids import AccountId, new_id
from contracts.jobs import IngestSpec
from infra.work.task import Finished, Happened
from memory_database import MemoryDatabase


@pytest.fixture
def database() -> Iterator[MemoryDatabase]:
    """The ingestor's database."""
    database = MemoryDatabase(tables())
    yield database
    database.close()


def sha(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()


def ended(account: AccountId, *contents: str, stored: bool = False) -> tuple[RunJob, Finished]:
    """A job that took a table in, as its worker tells its end."""
    job, dataset = new_id("job"), new_id("ds")
    spec = IngestSpec(dataset=dataset, version=1, source=new_id("obj"), stored=stored, account=account)
    added = DatasetVersionAdded(dataset=dataset, version=1, origin=Origin.REAL, table=new_id("obj"), job=job)
    profiled = DatasetProfiled(dataset=dataset, version=1, profile=new_id("obj"), job=job)
    events = (Happened.of(profiled),) if stored else (Happened.of(added), Happened.of(profiled))
    return RunJob(job=job, spec=spec), Finished(events=events, contents=tuple(map(sha, contents)))


def account_of(database: MemoryDatabase, registered: AccountId, *contents: str) -> AccountId:
    command, end = ended(registered, *contents)
    added, profiled = database.do(lambda tx: bound(tx, command, end))
    assert profiled == end.events[1]
    return str(added.data["account"])


def test_the_first_table_with_a_content_keeps_the_account_it_was_registered_with(database: MemoryDatabase) -> None:
    """Every later one falls under that account, whatever it was registered with; another table has its own."""
    first, second, third = new_id("acc"), new_id("acc"), new_id("acc")
    assert account_of(database, first, "table", "csv") == first
    assert account_of(database, second, "table", "parquet") == first
    assert account_of(database, third, "other", "other csv") == third
    assert account_of(database, third, "table") == first


def test_a_file_that_is_read_in_another_way_falls_under_its_account(database: MemoryDatabase) -> None:
    """The table is another; the people are not."""
    first = new_id("acc")
    account_of(database, first, "with header", "csv")
    assert account_of(database, new_id("acc"), "without header", "csv") == first
    assert account_of(database, new_id("acc"), "without header", "parquet") == first


def test_the_table_says_more_than_the_file(database: MemoryDatabase) -> None:
    """Where both are known under two accounts, what is used is the table."""
    one, two = new_id("acc"), new_id("acc")
    account_of(database, one, "table 1", "workbook")
    account_of(database, two, "table 2", "csv")
    assert account_of(database, new_id("acc"), "table 2", "workbook") == two


def test_profiling_anew_binds_nothing(database: MemoryDatabase) -> None:
    """No rows came in."""
    command, end = ended(new_id("acc"), stored=True)
    assert database.do(lambda tx: bound(tx, command, end)) == end.events


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=20))
def test_a_content_never_changes_its_account(arrivals: list[tuple[int, int]]) -> None:
    """In whatever order tables and files come, each table's later arrivals fall under the account of its first."""
    database = MemoryDatabase(tables())
    try:
        known: dict[int, AccountId] = {}
        for table, file in arrivals:
            account = account_of(database, new_id("acc"), f"table {table}", f"file {file}")
            assert account == known.setdefault(table, account)
    finally:
        database.close()
