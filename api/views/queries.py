"""What can be asked of the views."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, ScalarSelect, Select, bindparam, false, func, or_, select

from api.lately import Lately
from api.views import shape
from api.views.ledger import Ledgers
from api.views.log import AuditFilter
from api.views.progress import LatestProgress
from contracts.ids import AccountId, DatasetId, JobId, MessageId, ObjectId, ProjectId
from contracts.jobs import JobKind, JobState, TableFormat, TableRef
from contracts.views import (
    ArtifactView,
    AuditEntryView,
    CheckpointView,
    DatasetVersionView,
    DatasetView,
    DeadLetterView,
    EvaluationView,
    JobEventView,
    JobView,
    ModelView,
    Page,
)
from halftone.merkle import HASH_SIZE, MissingNodeError, ProofError, Stretch, Tile, consistency_proof, inclusion_proof
from halftone.merkle.tiles import HEIGHT, WIDTH
from halftone.merkle.tree import Get
from infra.database.prepared import Prepared

T = TypeVar("T")
EVALUATIONS = 500
"""Most evaluations that one answer lists: the newest."""


class Views(Ledgers):
    """The read side. It answers from its own tables alone; how far they are is the projector's to say."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.progress = LatestProgress()
        self._lately: Lately[Row[Any]] = Lately()
        t = self.tables["jobs"]
        self._one_job = Prepared(select(t).where((t.c.job == bindparam("key")) & t.c.accepted.is_not(None)))

    def remember(self, jobs: Iterable[Mapping[str, Any]]) -> None:
        """Keep job rows at hand that were just committed: most are asked for at once, and again and again until they end."""
        for row in jobs:
            if row["accepted"] is not None:
                self._lately.put(row["job"], self._one_job.row(row))

    async def wipe(self, stream: str) -> None:
        """Forget all that a stream was folded into, and that it ever was."""
        await super().wipe(stream)
        self._lately.clear()

    async def job(self, job_id: JobId) -> JobView | None:
        """A job that was accepted, with its latest progress."""
        row = self._lately.get(job_id) or await self.ask(lambda connection: self._one_job.first(connection, key=job_id))
        return None if row is None else self._job(row)

    async def jobs(
        self,
        *,
        state: JobState | None = None,
        kind: JobKind | None = None,
        dataset: DatasetId | None = None,
        project: ProjectId | None = None,
        since: str | None = None,
        until: str | None = None,
        after: JobId | None = None,
        limit: int = 50,
    ) -> Page[JobView]:
        """Jobs, the newest first. After a job that is not known there is nothing.

        ``since`` (inclusive) and ``until`` (exclusive) are about when a job was accepted: RFC 3339 in UTC, with milliseconds and a Z.
        """
        t, uses = self.tables["jobs"], self.tables["job_datasets"]
        query = t.select().where(t.c.accepted.is_not(None))
        if state is not None:
            query = query.where(t.c.state == state)
        if kind is not None:
            query = query.where(t.c.kind == kind)
        if dataset is not None:
            query = query.where(t.c.job.in_(select(uses.c.job).where(uses.c.dataset == dataset)))
        if project is not None:
            query = query.where(t.c.project == project)
        if since is not None:
            query = query.where(t.c.created >= since)
        if until is not None:
            query = query.where(t.c.created < until)
        if after is not None:
            query = query.where(t.c.accepted < _scalar(t.c.accepted, t.c.job == after))
        rows = await self.all(query.order_by(t.c.accepted.desc()).limit(limit + 1))
        return _page([self._job(row) for row in rows], limit, lambda job: job.id)

    async def exports(self, source: TableRef, form: TableFormat) -> list[JobView]:
        """Jobs that were to write a table in a format, the newest first."""
        t, uses = self.tables["jobs"], self.tables["job_datasets"]
        query = t.select().where((t.c.kind == JobKind.EXPORT) & t.c.accepted.is_not(None))
        query = query.where(t.c.job.in_(select(uses.c.job).where(uses.c.dataset == source.dataset)))
        query = query.where(func.json_extract(t.c.spec, "$.source.table") == source.table, func.json_extract(t.c.spec, "$.format") == form)
        return [self._job(row) for row in await self.all(query.order_by(t.c.accepted.desc()))]

    async def model(self, model: ObjectId) -> ModelView | None:
        row = await self.first(self._models().where(self.tables["artifacts"].c.object == model))
        return None if row is None else shape.model_view(row)

    async def models(self, *, dataset: DatasetId | None = None, after: ObjectId | None = None, limit: int = 50) -> Page[ModelView]:
        """Models, the newest first; of a dataset, real or drawn, where one is given. After one that is not known there is nothing."""
        t, made, uses = self.tables["jobs"], self.tables["artifacts"], self.tables["job_datasets"]
        query = self._models()
        if dataset is not None:
            query = query.where(t.c.job.in_(select(uses.c.job).where(uses.c.dataset == dataset)))
        if after is not None:
            job = select(made.c.job).where(made.c.object == after).scalar_subquery()
            query = query.where(t.c.accepted < _scalar(t.c.accepted, t.c.job == job))
        rows = await self.all(query.order_by(t.c.accepted.desc()).limit(limit + 1))
        return _page([shape.model_view(row) for row in rows], limit, lambda model: model.id)

    async def job_events(self, job_id: JobId, after: int = 0) -> list[JobEventView]:
        """A job's story after a sequence."""
        t = self.tables["job_events"]
        query = t.select().where((t.c.job == job_id) & (t.c.sequence > after)).order_by(t.c.sequence)
        return [shape.event_view(row) for row in await self.all(query)]

    async def logs_before(self, moment: str) -> list[tuple[JobId, set[ObjectId]]]:
        """Jobs that ended before a moment, with their logs and problem documents: what may quote rows, and is of use for a while."""
        t, made = self.tables["jobs"], self.tables["artifacts"]
        found: dict[JobId, set[ObjectId]] = defaultdict(set)
        logs = select(t.c.job, made.c.object).join(made, made.c.job == t.c.job).where((t.c.ended < moment) & (made.c.role == "log"))
        for row in await self.all(logs):
            found[row.job].add(row.object)
        for row in await self.all(select(t.c.job, t.c.outcome).where((t.c.ended < moment) & (t.c.state == JobState.FAILED))):
            found[row.job] |= shape.failure_objects(row.outcome)
        return [(job, objects) for job, objects in found.items() if objects]

    async def dataset(self, dataset_id: DatasetId) -> DatasetView | None:
        rows = await self.all(self._datasets().where(self.tables["datasets"].c.dataset == dataset_id))
        return next(iter(await self._with_versions(rows)), None)

    async def datasets(self, after: DatasetId | None = None, limit: int = 50, *, deleted: bool = False) -> Page[DatasetView]:
        """Datasets, the newest first; those that were deleted too, if asked for. After one that is not known there is nothing."""
        t = self.tables["datasets"]
        query = self._datasets()
        if not deleted:
            query = query.where(self.tables["deletions"].c.dataset.is_(None))
        if after is not None:
            query = query.where(t.c.sequence < _scalar(t.c.sequence, t.c.dataset == after))
        rows = await self.all(query.order_by(t.c.sequence.desc()).limit(limit + 1))
        return _page(await self._with_versions(rows), limit, lambda dataset: dataset.id)

    async def job_counts(self) -> list[tuple[str, str, int]]:
        """How many jobs of each kind are in each state."""
        t = self.tables["jobs"]
        query = select(t.c.kind, t.c.state, func.count().label("jobs")).where(t.c.accepted.is_not(None)).group_by(t.c.kind, t.c.state)
        return [(row.kind, row.state, row.jobs) for row in await self.all(query)]

    async def under_way(self, project: ProjectId) -> list[JobId]:
        """The jobs of a project that have not ended."""
        t = self.tables["jobs"]
        ended = [state.value for state in JobState if state.terminal]
        query = select(t.c.job).where(t.c.accepted.is_not(None), t.c.project == project, t.c.state.not_in(ended))
        return [row.job for row in await self.all(query)]

    async def made_from(self, dataset: DatasetId) -> list[DatasetView]:
        """Datasets that have this one as a parent, and were not deleted."""
        query = self._datasets().where(self.tables["datasets"].c.parents.contains(dataset), self.tables["deletions"].c.dataset.is_(None))
        return await self._with_versions(await self.all(query))

    async def jobs_of(self, dataset: DatasetId) -> list[JobView]:
        """Every job that reads or makes a dataset."""
        t, uses = self.tables["jobs"], self.tables["job_datasets"]
        query = t.select().where(t.c.job.in_(select(uses.c.job).where(uses.c.dataset == dataset)) & t.c.accepted.is_not(None))
        return [self._job(row) for row in await self.all(query)]

    async def evaluations(self, dataset: DatasetId | None = None) -> list[EvaluationView]:
        """Completed evaluations, of a dataset on either side where one is given, the newest first."""
        t, uses = self.tables["jobs"], self.tables["job_datasets"]
        query = t.select().where((t.c.kind == JobKind.EVALUATE) & (t.c.state == JobState.COMPLETED))
        if dataset is not None:
            query = query.where(t.c.job.in_(select(uses.c.job).where(uses.c.dataset == dataset)))
        return [shape.evaluation_view(row) for row in await self.all(query.order_by(t.c.accepted.desc()).limit(EVALUATIONS))]

    async def artifact(self, object_id: ObjectId) -> ArtifactView | None:
        """Whose output an object is; None for one that is no job's output."""
        t = self.tables["artifacts"]
        row = await self.first(t.select().where(t.c.object == object_id))
        return None if row is None else ArtifactView(object=row.object, job=row.job, role=row.role)

    async def letters(self, *, settled: bool | None = None, after: MessageId | None = None, limit: int = 50) -> Page[DeadLetterView]:
        """Dead letters, the newest first; those that were settled, or those that wait. After one that is not known there is nothing."""
        t, ends = self.tables["dead_letters"], self.tables["letter_ends"]
        query = self._letters()
        if settled is not None:
            query = query.where(ends.c.letter.is_not(None) if settled else ends.c.letter.is_(None))
        if after is not None:
            query = query.where(t.c.sequence < _scalar(t.c.sequence, t.c.letter == after))
        rows = await self.all(query.order_by(t.c.sequence.desc()).limit(limit + 1))
        return _page([shape.letter_view(row) for row in rows], limit, lambda letter: letter.id)

    async def letter(self, letter: MessageId) -> DeadLetterView | None:
        """One dead letter, with its message."""
        row = await self.first(self._letters().where(self.tables["dead_letters"].c.letter == letter))
        return None if row is None else shape.letter_view(row, whole=True)

    async def repairs(self) -> list[tuple[str, str, int]]:
        """How many messages of each part the broker had lost from each stream."""
        t = self.tables["repairs"]
        query = select(t.c.part, t.c.stream, func.sum(t.c.messages).label("messages")).group_by(t.c.part, t.c.stream)
        return [(row.part, row.stream, int(row.messages)) for row in await self.all(query)]

    async def letters_waiting(self) -> int:
        """How many dead letters nobody has settled."""
        waiting = self._letters().where(self.tables["letter_ends"].c.letter.is_(None)).subquery()
        row = await self.first(select(func.count().label("letters")).select_from(waiting))
        return 0 if row is None else int(row.letters)

    def _letters(self) -> Select[Any]:
        t, ends = self.tables["dead_letters"], self.tables["letter_ends"]
        return select(t, ends.c.how, ends.c.replayed_as).join(ends, ends.c.letter == t.c.letter, isouter=True)

    async def audit_entries(
        self, start: int, limit: int, wanted: AuditFilter | None = None, end: int | None = None
    ) -> list[AuditEntryView]:
        """Leaves from an index on, up to another, that are as wanted."""
        t = self.tables["audit_entries"]
        query = t.select().where(t.c.place >= start, *(wanted.conditions(self.tables) if wanted else ()))
        if end is not None:
            query = query.where(t.c.place < end)
        return [shape.audit_entry_view(row) for row in await self.all(query.order_by(t.c.place).limit(limit))]

    async def audit_entry(self, event_id: MessageId) -> AuditEntryView | None:
        t = self.tables["audit_entries"]
        row = await self.first(t.select().where(t.c.event == event_id))
        return None if row is None else shape.audit_entry_view(row)

    async def audit_size(self) -> int:
        """How many leaves have come in."""
        t = self.tables["audit_entries"]
        row = await self.first(select(func.max(t.c.place).label("last")))
        return 0 if row is None or row.last is None else int(row.last) + 1

    async def checkpoint(self) -> CheckpointView | None:
        """The latest one: the largest."""
        t = self.tables["checkpoints"]
        row = await self.first(t.select().order_by(t.c.size.desc()).limit(1))
        return None if row is None else shape.checkpoint_view(row)

    async def checkpoints(self, end: int, most: int) -> list[str]:
        """Notes of checkpoints of less than so many leaves, spread over the log."""
        t = self.tables["checkpoints"]
        sizes = [row.size for row in await self.all(select(t.c.size).where(t.c.size < end).order_by(t.c.size))]
        picked = sizes[:: max(1, -(-len(sizes) // most))]
        return [row.note for row in await self.all(t.select().where(t.c.size.in_(picked)).order_by(t.c.size))]

    async def stretch(self, start: int, end: int, size: int) -> Stretch:
        """What shows that some leaves are all there are between two indexes. Raises ProofError, or MissingNodeError."""
        return await self._proof(lambda get: Stretch.make(start, end, size, get))

    async def tile(self, tile: Tile) -> bytes:
        """The hashes of a tile. Raises MissingNodeError."""
        level, first = HEIGHT * (tile.level or 0), tile.index * WIDTH
        t = self.tables["audit_nodes"]
        these = (t.c.level == level) & (t.c.place >= first) & (t.c.place < first + tile.width)
        rows = await self.all(select(t.c.place, t.c.hash).where(these).order_by(t.c.place))
        for place, row in itertools.zip_longest(range(first, first + tile.width), rows):
            if row is None or row.place != place:
                raise MissingNodeError(level, place)
        return b"".join(row.hash for row in rows)

    async def audit_node(self, level: int, index: int) -> bytes:
        """The hash of a complete node, 32 bytes. Raises MissingNodeError."""
        return (await self._nodes({(level, index)}))(level, index)

    async def inclusion(self, event_id: MessageId) -> tuple[AuditEntryView, list[bytes], CheckpointView] | None:
        """A leaf, the hashes that lead from it to the root, and the latest checkpoint; None while that does not cover it.

        Raises MissingNodeError where the log as it was received has a gap.
        """
        entry, checkpoint = await self.audit_entry(event_id), await self.checkpoint()
        if entry is None or checkpoint is None or entry.index >= checkpoint.size:
            return None
        return entry, await self._proof(lambda get: inclusion_proof(entry.index, checkpoint.size, get)), checkpoint

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """The hashes that show the first ``old`` leaves to be a prefix of the first ``new``.

        Raises ProofError unless ``0 <= old <= new <=`` size of the latest checkpoint, and MissingNodeError where the log has a gap.
        """
        checkpoint = await self.checkpoint()
        size = 0 if checkpoint is None else checkpoint.size
        if new > size:
            raise ProofError(f"The log is signed up to {size} leaves, not {new}.")
        return await self._proof(lambda get: consistency_proof(old, new, get))

    async def _proof(self, make: Callable[[Get], T]) -> T:
        """Make a proof twice: once to learn which nodes it reads, and then, when these are here, in earnest."""
        wanted: set[tuple[int, int]] = set()

        def note(level: int, index: int) -> bytes:
            wanted.add((level, index))
            return bytes(HASH_SIZE)

        make(note)
        return make(await self._nodes(wanted))

    async def _nodes(self, wanted: set[tuple[int, int]]) -> Get:
        t = self.tables["audit_nodes"]
        # One by one, not IN over pairs: SQLite would read the whole table for that.
        each = or_(false(), *((t.c.level == level) & (t.c.place == index) for level, index in sorted(wanted)))
        rows = await self.all(t.select().where(each))
        held = {(row.level, row.place): row.hash for row in rows}

        def get(level: int, index: int) -> bytes:
            try:
                found: bytes = held[level, index]
            except KeyError:
                raise MissingNodeError(level, index) from None
            return found

        return get

    def _job(self, row: Row[Any]) -> JobView:
        return shape.job_view(row, self.progress.get(row.job))

    def _models(self) -> Select[Any]:
        t, made = self.tables["jobs"], self.tables["artifacts"]
        fitted = (t.c.kind == JobKind.SYNTHESIZE) & (t.c.state == JobState.COMPLETED) & (made.c.role == "model")
        gone = self.tables["deletions"]
        removed = select(gone.c.dataset).where(gone.c.cascade == 1)
        kept = func.json_extract(t.c.spec, "$.source.dataset").not_in(removed)
        return select(t, made.c.object).join(made, made.c.job == t.c.job).where(fitted, kept)

    def _datasets(self) -> Select[Any]:
        t, jobs = self.tables["datasets"], self.tables["jobs"]
        state, outcome = jobs.c.state.label("job_state"), jobs.c.outcome.label("job_outcome")
        gone = self.tables["deletions"]
        query = select(t, state, outcome, gone.c.deleted).join(jobs, jobs.c.job == t.c.job, isouter=True)
        return query.join(gone, gone.c.dataset == t.c.dataset, isouter=True)

    async def _with_versions(self, rows: Sequence[Row[Any]]) -> list[DatasetView]:
        t = self.tables["versions"]
        these = t.c.dataset.in_([row.dataset for row in rows]) & t.c.table_object.is_not(None)
        versions: dict[DatasetId, list[DatasetVersionView]] = defaultdict(list)
        accounts: dict[DatasetId, AccountId] = {}
        for row in await self.all(t.select().where(these).order_by(t.c.version)) if rows else []:
            versions[row.dataset].append(shape.version_view(row))
            if row.account is not None:
                accounts.setdefault(row.dataset, row.account)
        return [shape.dataset_view(row, versions[row.dataset], accounts.get(row.dataset, row.account)) for row in rows]


def _scalar(column: ColumnElement[int], condition: ColumnElement[bool]) -> ScalarSelect[int]:
    return select(column).where(condition).scalar_subquery()


def _page(found: Sequence[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """A page of what was asked for with one item over, which says whether there is more."""
    items = found[:limit]
    return Page(items=tuple(items), next=cursor(items[-1]) if len(found) > limit and items else None)
