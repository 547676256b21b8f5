"""What an executor hands to a worker process, and what the worker says back: JSON lines over pipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from contracts.base import Event
from contracts.commands import RunJob
from contracts.ids import Code, JobId, ObjectId, derived_id
from contracts.jobs import Output
from contracts.problems import ProblemError
from infra.objects import Objects
from infra.sources.named import Sources


class TaskRefused(ProblemError):
    """The job cannot be done as it was asked."""

    def __init__(self, code: Code, detail: str, **fields: Any) -> None:
        super().__init__(detail, **fields)
        self.code = code  # type: ignore[misc]  # the library's own code says more than one for the whole class


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Line):
    """What a table may be at most."""

    max_upload_bytes: int
    max_table_bytes: int
    max_columns: int


class Task(_Line):
    """One attempt at a job."""

    entry: str = Field(description="the function that does it, as module:function")
    command: RunJob
    attempt: int
    objects_directory: Path
    limits: Limits
    sources: Sources | None = Field(default=None, repr=False, description="where rows may be fetched from, by a job that fetches")
    certificates: Path = Field(default=Path("certificates"), description="directory of the key that certificates are signed with")
    measurements: ObjectId | None = Field(
        default=None, description="noisy measurements of an earlier attempt: build on them, measure nothing"
    )

    @property
    def objects(self) -> Objects:
        return Objects(self.objects_directory)

    def object_id(self, role: Code) -> ObjectId:
        """The id of an output of this attempt."""
        return result_id(self.command.job, self.attempt, role)


def result_id(job: JobId, attempt: int, role: Code) -> ObjectId:
    """The id of an output: another attempt writes under another, so that a stale one disturbs nothing."""
    return derived_id("obj", job, str(attempt), role)


RESULTS: tuple[Code, ...] = (
    *("fetched", "table", "proposal", "profile", "draft", "sample"),
    *("measurements", "model", "certificate", "report", "export"),
)
"""Every kind of object that a worker may write: what an attempt that is given up may leave behind."""


class Advanced(_Line):
    """How far the work is."""

    say: Literal["advanced"] = "advanced"
    step: Code
    fraction: float = Field(ge=0, le=1)


class Opening(_Line):
    """The mechanism is about to start: the worker waits until the executor has written down that it does, and opens the data then."""

    say: Literal["opening"] = "opening"


class Measured(_Line):
    """Noisy measurements are stored; the worker waits until the executor has written that down."""

    say: Literal["measured"] = "measured"
    object: ObjectId


class Happened(_Line):
    """An event that the job's end brings along."""

    type: str
    data: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> Happened:
        return cls(type=event.TYPE, data=event.model_dump(mode="json"))

    def having(self, **fields: Any) -> Happened:
        """The same event, some of its fields as given."""
        return Happened(type=self.type, data={**self.data, **fields})


class Finished(_Line):
    """The work is done."""

    say: Literal["finished"] = "finished"
    outputs: tuple[Output, ...] = ()
    events: tuple[Happened, ...] = ()
    contents: tuple[Sha256, ...] = Field(default=(), description="what the rows that came in are known again by, the surest first")


class Broken(_Line):
    """The work cannot be done: the input is at fault, and trying again would not help."""

    say: Literal["broken"] = "broken"
    code: Code
    problem: dict[str, Any]
    log: str = ""


Report = Annotated[Advanced | Opening | Measured | Finished | Broken, Field(discriminator="say")]
REPORT: TypeAdapter[Advanced | Opening | Measured | Finished | Broken] = TypeAdapter(Report)
