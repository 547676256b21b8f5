"""What the edge notes of a dataset's life after its registration: what it is called, for how long it is kept, who uses it, its end.

Each function is part of a transaction. Jobs are promised and datasets deleted by the same writer, one after the other: a job either was
promised before the deletion, and is seen by it, or is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from sqlalchemy import delete, insert, select, update

from api.problems import Unavailable
from contracts.ids import DatasetId, JobId
from contracts.jobs import JobSpec, NoopSpec
from contracts.problems import ProblemError
from infra.database.dialect import insert as upsert
from infra.database.store import Transaction, now_ms

_DATASET = re.compile(r"ds_[0-9a-f]{32}")


class DatasetGone(ProblemError):
    """The dataset was deleted: its rows are removed for good."""

    status, code = 410, "dataset-deleted"


def use(tx: Transaction, job: JobId, spec: JobSpec) -> None:
    """Note which datasets a job reads and makes. Raises DatasetGone."""
    if isinstance(spec, NoopSpec):
        return
    datasets = sorted(set(_DATASET.findall(spec.model_dump_json())))
    gone = tx.tables["deletions"]
    for dataset in tx.connection.execute(select(gone.c.dataset).where(gone.c.dataset.in_(datasets))).scalars():
        raise DatasetGone(f"Dataset {dataset} was deleted: its rows are removed for good.", dataset=dataset)
    tx.connection.execute(insert(tx.tables["uses"]), [{"dataset": dataset, "job": job} for dataset in datasets])


def rename(tx: Transaction, dataset: DatasetId, name: str) -> None:
    t = tx.tables["datasets"]
    tx.connection.execute(update(t).where(t.c.dataset == dataset).values(name=name))


def keep_for(tx: Transaction, dataset: DatasetId, days: int | None) -> None:
    """Have a dataset deleted so many days after its registration; None keeps it for good."""
    t = tx.tables["retention"]
    if days is None:
        tx.connection.execute(delete(t).where(t.c.dataset == dataset))
        return
    statement = upsert(t).values(dataset=dataset, days=days)
    tx.connection.execute(statement.on_conflict_do_update(index_elements=["dataset"], set_={"days": days}))


def end(tx: Transaction, dataset: DatasetId, known: Collection[JobId], *, cascade: bool) -> None:
    """Note a dataset's deletion.

    Raises DatasetGone if it was deleted before, and Unavailable when a job was promised on it that is not among those known.
    """
    uses, gone = tx.tables["uses"], tx.tables["deletions"]
    if tx.connection.execute(select(gone.c.dataset).where(gone.c.dataset == dataset)).first() is not None:
        raise DatasetGone(dataset=dataset)
    promised = tx.connection.execute(select(uses.c.job).where(uses.c.dataset == dataset)).scalars()
    if not set(promised) <= set(known):
        raise Unavailable(f"A job on dataset {dataset} was accepted a moment ago: try again.", dataset=dataset)
    tx.connection.execute(insert(gone).values(dataset=dataset, cascade=int(cascade), asked_at=now_ms()))


def ended(dataset: DatasetId, tx: Transaction) -> None:
    """Note that the last of a deleted dataset's objects is removed."""
    t = tx.tables["deletions"]
    tx.connection.execute(update(t).where(t.c.dataset == dataset).values(done_at=now_ms()))
