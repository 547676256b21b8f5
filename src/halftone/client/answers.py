"""What is answered besides the views of the contracts: read tolerantly, so that a newer server's new fields do no harm.

Views are the same classes on both sides. These are not: the edge writes what it knows, every field required, and describes it for OpenAPI;
here each field that a server might not send has a default, so that a client reads older and newer servers.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from contracts.base import Contract
from contracts.schema import ForeignKey, TableSchema
from contracts.views import CostView, LedgerEntryView, RoomView, TokenView


class Schema(Contract):
    """What is publicly known of a dataset's version (attested), or what is proposed to be."""

    dataset: str = Field(description="the dataset's id")
    version: int = Field(description="its version")
    status: str = Field(description="attested, or proposed")
    attested_by: str | None = Field(default=None, description="who attested that it is public")
    attested: str | None = Field(default=None, description="when")
    tables: tuple[TableSchema, ...] = Field(description="per table, its columns and keys")
    foreign_keys: tuple[ForeignKey, ...] = Field(default=(), description="how the tables hang together")
    job: str | None = Field(default=None, description="the job that profiles the rows against it")

    def declaration(self) -> dict[str, Any]:
        """The part that a person writes and attests, without what is not said."""
        return self.model_dump(mode="json", include={"tables", "foreign_keys"}, exclude_none=True, exclude_defaults=True)


class Meaning(Contract):
    """What a cost means for one person, if all of it is given out: upper bounds, that hold against anybody."""

    advantage: float = Field(description="the most that a guess of membership can gain: right alarms less false ones, 0 to 1")
    true_positives: float = Field(description="right alarms, at most, where one in a hundred is false")
    source: str = Field(default="", description="the theorems")


class Preview(Contract):
    """What a job would cost."""

    cost: CostView = Field(description="what would be reserved, and charged once real data is read")
    left: CostView = Field(description="what fits now")
    left_after: CostView = Field(description="what would still fit after one such job")
    admits: int = Field(description="how many such jobs fit now")
    limits: tuple[RoomView, ...] = Field(default=(), description="what is left under each limit that applies to who asks")
    waits: bool = Field(default=False, description="whether such a job would wait for a second person")
    meaning: Meaning | None = Field(default=None, description="what one such job means for a person")
    meaning_after: Meaning | None = Field(default=None, description="what everything spent means for a person after one such job")


class Engine(Contract):
    """A way to synthesize."""

    name: str = Field(description="to be given as a job's engine")
    default: bool = Field(default=False, description="whether a job without one uses it")


class Health(Contract):
    """Whether the edge serves, and what keeps it from it."""

    status: str = Field(description="ok, or unready")
    reasons: tuple[str, ...] = Field(default=(), description="what is missing")


class InclusionProof(Contract):
    """That an event is in the log: checked with the log's public key alone."""

    event: str = Field(description="the event's id")
    entry: dict[str, Any] = Field(description="the leaf; its canonical JSON (RFC 8785) is what is hashed")
    index: int = Field(description="position in the log, from 0")
    size: int = Field(description="leaves in the tree of the checkpoint")
    leaf_hash: str = Field(description="RFC 9162 leaf hash, base64")
    hashes: tuple[str, ...] = Field(description="siblings on the way to the root, from the leaf up, base64")
    checkpoint: str = Field(description="the signed note over the tree of that size")
    rotations: tuple[str, ...] = Field(default=(), description="how the log's key changed, oldest first")


class Certificate(Contract):
    """What was promised of a release, and where the ledger and the log have it."""

    id: str = Field(description="the certificate's id")
    envelope: dict[str, Any] = Field(description="the signed statement (DSSE)")
    public_key: str = Field(description="the instance's public key, as the server says it is")
    content: str = Field(description="SHA-256 of the table's canonical content, hex")
    claim: dict[str, Any] = Field(description="what the statement says")
    text: str = Field(description="the same, for a person to read")
    entry: LedgerEntryView | None = Field(default=None, description="the charge in the ledger")
    proof: InclusionProof | None = Field(default=None, description="that the log holds the charge")
    links: dict[str, str] = Field(default_factory=dict, description="paths of what belongs to it")


class Verified(Contract):
    """A proof that holds."""

    index: int = Field(description="the entry's position in the log, from 0")
    size: int = Field(description="leaves of the log that was signed")
    root: str = Field(description="its root, hex")
    key: str = Field(description="the public key that it was checked with")


class IssuedToken(TokenView):
    """A token that was given out just now, with the token itself: it is shown this once."""

    token: str = Field(description="the token: a client is made with it")


class Rows(Contract):
    """A few rows of a dataset's version."""

    dataset: str = Field(description="the dataset's id")
    version: int = Field(description="its version")
    columns: tuple[str, ...] = Field(description="names, in order")
    rows: tuple[dict[str, Any], ...] = Field(description="values by column; missing ones are None, dates and times ISO 8601")


class NamedSource(Contract):
    """Where the server may fetch rows from."""

    name: str = Field(description="as its settings call it")
    kind: str = Field(description="sql: a database; store: an object store")


class NamedSources(Contract):
    """Every source that the server's settings name."""

    items: tuple[NamedSource, ...] = Field(description="by kind and name")


class Deleted(Contract):
    """What a deletion came to. Budgets, ledgers and the log stay, and so does what was spent."""

    dataset: str = Field(description="the dataset that was to be deleted")
    datasets: tuple[str, ...] = Field(description="those that were deleted now")
    cancelled: tuple[str, ...] = Field(default=(), description="jobs under way whose end was asked for")
    sequence: int | None = Field(default=None, description="of the deletion among all events")
