"""What the edge itself knows of datasets: names, whose they are, which declared schema holds. Texts never cross the bus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from contracts.events import Origin
from contracts.ids import AccountId, DatasetId, JobId, ObjectId, PrincipalId, ProjectId, new_id
from infra.database.readers import Readers
from infra.database.store import Store, Transaction, now_ms

DAY_MS = 86_400_000
MOST_COUNTED = 20_000
"""Waiting messages that are counted: the gateway accepts nothing more long before."""


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset as the edge registered it."""

    dataset: DatasetId
    name: str
    origin: Origin
    account: AccountId
    project: ProjectId
    owner: PrincipalId
    job: JobId
    filename: str | None = None
    source: ObjectId | None = None


@dataclass(frozen=True)
class Attestation:
    """Somebody's word that a declared schema is public."""

    dataset: DatasetId
    version: int
    object: ObjectId
    attested_by: PrincipalId
    attested_at: int
    """ms since 1970"""


class Registry:
    """Reads the edge's tables, and has rows written within a transaction of the gateway's."""

    def __init__(self, store: Store) -> None:
        self._store, self._tables = store, store.metadata.tables
        self.readers = Readers(store.url)
        """For whoever else reads the edge's tables."""

    async def close(self) -> None:
        await self.readers.close()

    async def _rows(self, query: Any) -> Sequence[Row[Any]]:
        return await self.readers.all(query)

    async def dataset(self, dataset: DatasetId) -> DatasetRecord | None:
        """One dataset, if it was registered here."""
        t = self._tables["datasets"]
        rows = await self._rows(select(t).where(t.c.dataset == dataset))
        return _record(rows[0]) if rows else None

    async def names(self, datasets: Iterable[DatasetId]) -> dict[DatasetId, str]:
        """What datasets are called."""
        t = self._tables["datasets"]
        return {row.dataset: row.name for row in await self._rows(select(t.c.dataset, t.c.name).where(t.c.dataset.in_(list(datasets))))}

    async def called(self, text: str, most: int = 200) -> list[DatasetId]:
        """Datasets whose name has a text in it, in any case."""
        t = self._tables["datasets"]
        named = func.lower(t.c.name).contains(text.lower(), autoescape=True)
        return [row.dataset for row in await self._rows(select(t.c.dataset).where(named).limit(most))]

    async def attestation(self, dataset: DatasetId, version: int) -> Attestation | None:
        """The declared schema that holds for a version: the last one that somebody attested."""
        t = self._tables["schemas"]
        query = select(t).where((t.c.dataset == dataset) & (t.c.version == version)).order_by(t.c.n.desc()).limit(1)
        rows = await self._rows(query)
        return Attestation(**{name: rows[0]._mapping[name] for name in Attestation.__dataclass_fields__}) if rows else None  # noqa: SLF001

    async def attested(self, dataset: DatasetId) -> list[ObjectId]:
        """Every declared schema that somebody attested for a dataset."""
        t = self._tables["schemas"]
        return [row.object for row in await self._rows(select(t.c.object).where(t.c.dataset == dataset))]

    async def retention(self, datasets: Iterable[DatasetId]) -> dict[DatasetId, int]:
        """For how many days datasets are kept; those that are kept for good are left out."""
        t = self._tables["retention"]
        return {row.dataset: row.days for row in await self._rows(select(t).where(t.c.dataset.in_(list(datasets))))}

    async def expired(self, now: int) -> list[DatasetId]:
        """Datasets whose time is over at a moment (ms since 1970), and that were not deleted."""
        t, kept, gone = (self._tables[name] for name in ("datasets", "retention", "deletions"))
        query = select(t.c.dataset).join(kept, kept.c.dataset == t.c.dataset).join(gone, gone.c.dataset == t.c.dataset, isouter=True)
        over = t.c.made_at + kept.c.days * DAY_MS <= now
        return [row.dataset for row in await self._rows(query.where(over, gone.c.dataset.is_(None)))]

    async def deletions(self) -> list[tuple[DatasetId, bool]]:
        """Deleted datasets some of whose objects may still be there, and whether what was made from them went with them."""
        t = self._tables["deletions"]
        rows = await self._rows(select(t.c.dataset, t.c.cascade).where(t.c.done_at.is_(None)).order_by(t.c.asked_at))
        return [(row.dataset, bool(row.cascade)) for row in rows]

    async def waiting(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        t = self._tables["outbox"]
        return len(await self._rows(select(t.c.n).where(t.c.sequence.is_(None)).limit(MOST_COUNTED)))

    async def account_of(self, sha256: str) -> AccountId:
        """The account under which a content falls: that of its first upload, made now if this is it."""
        return await self._store.write(lambda tx: _account(tx, sha256))

    async def unit_column(self, account: AccountId) -> str | None:
        """The column that names a row's user, where the privacy unit of an account is a user."""
        t = self._tables["units"]
        rows = await self._rows(select(t.c.column).where(t.c.account == account))
        return rows[0].column if rows else None

    async def sources(self) -> list[tuple[JobId, DatasetId, ObjectId]]:
        """Uploads that are still kept, with the jobs that read them."""
        t = self._tables["datasets"]
        rows = await self._rows(select(t.c.job, t.c.dataset, t.c.source).where(t.c.source.is_not(None)))
        return [(row.job, row.dataset, row.source) for row in rows]


def forget_source(tx: Transaction, dataset: DatasetId) -> None:
    """Note that an upload is not kept any more."""
    t = tx.tables["datasets"]
    tx.connection.execute(update(t).where(t.c.dataset == dataset).values(source=None))


def add_dataset(tx: Transaction, record: DatasetRecord) -> None:
    """Register a dataset."""
    values = {name: getattr(record, name) for name in DatasetRecord.__dataclass_fields__}
    tx.connection.execute(insert(tx.tables["datasets"]).values(**values, made_at=now_ms()))


def set_unit_column(tx: Transaction, account: AccountId, column: str | None) -> None:
    """Note which column names a row's user: another one takes the place of the first, and None of any."""
    t = tx.tables["units"]
    tx.connection.execute(delete(t).where(t.c.account == account))
    if column is not None:
        tx.connection.execute(insert(t).values(account=account, column=column))


def _account(tx: Transaction, sha256: str) -> AccountId:
    t = tx.tables["contents"]
    held = tx.connection.execute(select(t.c.account).where(t.c.sha256 == sha256)).scalar()
    if held is not None:
        return str(held)
    # Not derived from the content: whoever reads the log could tell from it whether a file of theirs was uploaded.
    account = new_id("acc")
    tx.connection.execute(insert(t).values(sha256=sha256, account=account))
    return account


def add_attestation(tx: Transaction, attestation: Attestation) -> None:
    """Note who attested which schema: it replaces an earlier one of the version."""
    values = {name: getattr(attestation, name) for name in Attestation.__dataclass_fields__}
    tx.connection.execute(insert(tx.tables["schemas"]).values(**values))


def _record(row: Row[Any]) -> DatasetRecord:
    fields = {name: row._mapping[name] for name in DatasetRecord.__dataclass_fields__}  # noqa: SLF001  # public in all but name
    return DatasetRecord(**{**fields, "origin": Origin(row.origin)})
