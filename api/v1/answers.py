"""What is answered besides views."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from contracts.base import Contract
from contracts.ids import DatasetId, JobId, MessageId, ObjectId, PrincipalId
from contracts.jobs import Fetch, JobState
from contracts.schema import ForeignKey, TableSchema
from contracts.views import CostView, LedgerEntryView, RoomView


class Accepted(Contract):
    """A job that was promised: nothing short of losing the disk undoes that."""

    id: JobId = Field(description="the job's id")
    state: JobState = Field(description="accepted, or what it was when a cancelled job had ended")
    sequence: int | None = Field(default=None, description="of the acceptance among all events, for min_seq; null: not known yet")
    links: dict[str, str] = Field(default_factory=dict, description="paths of what belongs to it")


class Registered(Contract):
    """A dataset whose rows are on their way."""

    dataset: DatasetId = Field(description="the dataset's id")
    job: JobId = Field(description="the job that brings its rows")
    sequence: int | None = Field(default=None, description="of the job's acceptance among all events; null: not known yet")
    links: dict[str, str] = Field(default_factory=dict, description="paths of what belongs to it")


class SourceView(Contract):
    """Where rows may be fetched from: by its name, without its address."""

    name: str = Field(description="as the settings call it")
    kind: Fetch = Field(description="sql: a database, asked by a query; store: an object store, by the key of a file")


class SourcesView(Contract):
    """Every source that the settings name."""

    items: tuple[SourceView, ...] = Field(description="by kind and name")


class SchemaView(Contract):
    """What is publicly known of a dataset's version, or what is proposed to be."""

    dataset: DatasetId = Field(description="the dataset's id")
    version: int = Field(ge=1, description="its version")
    status: str = Field(description="attested: public, engines use it; proposed: read off the data, for those with the right to raw data")
    attested_by: PrincipalId | None = Field(default=None, description="who attested that it is public")
    attested: str | None = Field(default=None, description="when")
    tables: tuple[TableSchema, ...] = Field(min_length=1, description="per table, its columns and keys")
    foreign_keys: tuple[ForeignKey, ...] = Field(default=(), description="how the tables hang together")
    job: JobId | None = Field(default=None, description="the job that profiles the rows against it")


class RowsView(Contract):
    """A few rows of a dataset's version."""

    dataset: DatasetId = Field(description="the dataset's id")
    version: int = Field(ge=1, description="its version")
    columns: tuple[str, ...] = Field(description="names, in order")
    rows: tuple[dict[str, Any], ...] = Field(description="values by column; missing ones are null, dates and times ISO 8601")


class MeaningView(Contract):
    """What a cost means for one person, if all of it is given out: upper bounds, that hold against anybody."""

    advantage: float = Field(description="the most that a guess of membership can gain: right alarms less false ones, 0 to 1")
    true_positives: float = Field(description="right alarms, at most, where one in a hundred is false")
    source: str = Field(description="the theorems")


class Preview(Contract):
    """What a job would cost."""

    cost: CostView = Field(description="what would be reserved, and charged once real data is read")
    left: CostView = Field(description="what fits now")
    left_after: CostView = Field(description="what would still fit after one such job")
    admits: int = Field(ge=0, description="how many such jobs fit now")
    limits: tuple[RoomView, ...] = Field(default=(), description="what is left under each limit that applies to who asks")
    waits: bool = Field(default=False, description="whether such a job would wait for a second person")
    meaning: MeaningView = Field(description="what one such job means for a person")
    meaning_after: MeaningView = Field(description="what everything spent means for a person after one such job")


class EngineView(Contract):
    """A way to synthesize."""

    name: str = Field(description="to be given as a job's engine")
    default: bool = Field(description="whether a job without one uses it")


class EnginesView(Contract):
    """Every engine that is installed."""

    items: tuple[EngineView, ...] = Field(description="by name")


class AuditPage(Contract):
    """Leaves of the log."""

    start: int = Field(ge=0, description="index of the first")
    entries: tuple[dict[str, Any], ...] = Field(description="in the log's order")
    next: int | None = Field(default=None, description="start of what follows; absent at the end")


class InclusionProof(Contract):
    """That an event is in the log: checked with the log's public key alone."""

    event: MessageId = Field(description="the event's id")
    entry: dict[str, Any] = Field(description="the leaf; its canonical JSON (RFC 8785) is what is hashed")
    index: int = Field(ge=0, description="position in the log, from 0")
    size: int = Field(ge=1, description="leaves in the tree of the checkpoint")
    leaf_hash: str = Field(description="RFC 9162 leaf hash, base64")
    hashes: tuple[str, ...] = Field(description="siblings on the way to the root, from the leaf up, base64")
    checkpoint: str = Field(description="the signed note over the tree of that size")
    rotations: tuple[str, ...] = Field(default=(), description="how the log's key changed, oldest first")


class KeyRotations(Contract):
    """How the log's key changed."""

    rotations: tuple[str, ...] = Field(description="notes signed by the old key and the new one, oldest first")


class StretchProof(Contract):
    """That some entries are all there are between two indexes: their leaf hashes and these hashes make the signed root."""

    start: int = Field(ge=0, description="index of the first entry")
    end: int = Field(ge=0, description="index after that of the last")
    size: int = Field(ge=0, description="leaves in the tree of the checkpoint")
    left: tuple[str, ...] = Field(description="complete subtrees before them, from the first entry on, base64")
    right: tuple[str, ...] = Field(description="complete subtrees behind them, base64")
    checkpoint: str = Field(description="the signed note over the tree of that size")
    rotations: tuple[str, ...] = Field(default=(), description="how the log's key changed, oldest first")


class ConsistencyProof(Contract):
    """That the log of one size is a prefix of the log of another."""

    old: int = Field(ge=0, description="leaves of the smaller log")
    new: int = Field(ge=0, description="leaves of the larger log")
    hashes: tuple[str, ...] = Field(description="as in RFC 9162, base64")


class CertificateView(Contract):
    """What was promised of a release, and where the ledger and the log have it."""

    id: ObjectId = Field(description="the certificate's id")
    envelope: dict[str, Any] = Field(description="the signed statement (DSSE), as it lies in the Parquet file's footer")
    public_key: str = Field(description="the instance's public key, base64; who does not trust the instance has it from elsewhere")
    content: str = Field(description="SHA-256 of the table's canonical content, hex")
    claim: dict[str, Any] = Field(description="what the statement says")
    text: str = Field(description="the same, for a person to read")
    entry: LedgerEntryView | None = Field(default=None, description="the charge in the ledger")
    proof: InclusionProof | None = Field(default=None, description="that the log holds the charge; absent while it is not signed")
    links: dict[str, str] = Field(default_factory=dict, description="paths of what belongs to it")


class Health(Contract):
    """Whether this process serves, and what keeps it from it."""

    status: str = Field(description="ok, or unready")
    reasons: tuple[str, ...] = Field(default=(), description="what is missing")
