"""What clients send, as they state it; in the integers of the contracts once it is read."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from contracts.cost import DELTA_SCALE, EPSILON_SCALE, LARGEST, LARGEST_DELTA, LARGEST_EPSILON, Composition, Neighbours
from contracts.ids import DEFAULT_PROJECT, DatasetId, ObjectId, ProjectId
from contracts.jobs import JobKind, TableFormat

DEFAULT_DELTA = 1e-9
DEFAULT_ENGINE = "marginal"
MOST_EPSILON = LARGEST_EPSILON // EPSILON_SCALE
MOST_DELTA = LARGEST_DELTA / DELTA_SCALE


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _epsilon(value: Any) -> int:
    """Epsilon in 1e-9, rounded down: less may be spent, never more."""
    units = _units(value, EPSILON_SCALE)
    if units is None or not 0 < units <= LARGEST_EPSILON:
        raise PydanticCustomError(
            "epsilon", "must be a number above 0 and at most 1000, such as 1.0; it is {shown}", {"shown": _shown(value)}
        )
    return units


def _delta(value: Any) -> int:
    """Delta in 1e-18, rounded down."""
    units = _units(value, DELTA_SCALE)
    if units is None or not 1 < units <= LARGEST_DELTA:
        raise PydanticCustomError(
            "delta", "must be a number above 1e-18 and at most 0.001, such as 1e-9; it is {shown}", {"shown": _shown(value)}
        )
    return units


def _units(value: Any, scale: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_BEYOND < value < _BEYOND:
        return None
    return int(Decimal(repr(value)) * scale)


_BEYOND = 1e9
"""Above every epsilon and delta that is taken, and well below the integers that no float holds."""


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _BEYOND:
        return "far beyond that"
    kind = {str: "a string", bool: "a boolean", type(None): "null", list: "a list", dict: "an object"}.get(type(value))
    return kind or repr(value)[:40]


Epsilon = Annotated[
    int,
    BeforeValidator(_epsilon),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": MOST_EPSILON, "description": "epsilon, such as 1.0"}),
]
"""A JSON number; 1e-9 once read."""
Delta = Annotated[
    int,
    BeforeValidator(_delta),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": MOST_DELTA, "description": "delta", "default": DEFAULT_DELTA}),
]
"""A JSON number; 1e-18 once read."""
EPSILON_HINT = "releases without differential privacy are not available; state a number above 0, such as 1.0"


def _one_line(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise PydanticCustomError("name", "must be one line that can be read")
    return name


OneLine = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_one_line)]
"""A name that somebody gives: never an id, and never on the bus."""


class _JobBody(Body):
    project: ProjectId = Field(default=DEFAULT_PROJECT, description="the project it belongs to")


class NoopBody(_JobBody):
    """Do nothing, through every part that a real job passes."""

    kind: Literal[JobKind.NOOP]


class SynthesizeBody(_JobBody):
    """Make a synthetic table of a real one, at a cost to its budget."""

    kind: Literal[JobKind.SYNTHESIZE]
    dataset: DatasetId = Field(description="the real dataset; its schema must be attested")
    engine: str = Field(default=DEFAULT_ENGINE, max_length=64, description="one of GET /v1/engines")
    rows: int | None = Field(
        default=None, ge=1, le=1_000_000_000, strict=True, description="rows to draw; absent: a noisy count of the real ones"
    )
    epsilon: Epsilon
    delta: Delta = int(DEFAULT_DELTA * DELTA_SCALE)
    seed: int | None = Field(default=None, ge=0, le=LARGEST, strict=True, description="seed of the drawing; noise is never seeded")
    name: OneLine | None = Field(default=None, description="what the synthetic dataset is called, one line")


class EvaluateBody(_JobBody):
    """Measure a synthetic dataset against the real one. Its figures are raw: for holders of the raw right."""

    kind: Literal[JobKind.EVALUATE]
    dataset: DatasetId = Field(description="the synthetic dataset")
    real: DatasetId | None = Field(default=None, description="the real dataset; absent: the one that it was made from")
    seed: int = Field(default=0, ge=0, le=LARGEST, strict=True, description="seed of the sampling of metrics")


class SampleBody(_JobBody):
    """Draw another synthetic table from a model that was fitted before. It costs nothing."""

    kind: Literal[JobKind.SAMPLE]
    model: ObjectId = Field(description="one of GET /v1/models")
    rows: int | None = Field(
        default=None, ge=1, le=1_000_000_000, strict=True, description="rows to draw; absent: the noisy count of the real ones"
    )
    seed: int | None = Field(
        default=None, ge=0, le=LARGEST, strict=True, description="the same seed gives the same bytes; absent: one is chosen"
    )
    name: OneLine | None = Field(default=None, description="what the synthetic dataset is called, one line")


class ExportBody(_JobBody):
    """Write a table as a file that others can open. That of a real one gives raw rows out: for holders of the raw right."""

    kind: Literal[JobKind.EXPORT]
    dataset: DatasetId = Field(description="the dataset")
    version: int | None = Field(default=None, ge=1, le=1_000_000_000, strict=True, description="its version; absent: the latest")
    format: TableFormat = Field(description="what the file is to be")
    reason: OneLine | None = Field(default=None, description="why raw rows are given to others: then it is entered as bounded by nothing")


KINDS = frozenset({"noop", "synthesize", "evaluate", "sample", "export"})
"""What a client may ask for by POST /v1/jobs; an upload brings its own job."""
Asking = NoopBody | SynthesizeBody | EvaluateBody | SampleBody | ExportBody
JobBody = Annotated[Asking, Field(discriminator="kind")]


class CostBody(Body):
    """A cost to preview."""

    epsilon: Epsilon
    delta: Delta = int(DEFAULT_DELTA * DELTA_SCALE)


class UnitBody(Body):
    """Users as the privacy unit: all rows of one."""

    column: OneLine = Field(description="column of the attested schema that names a row's user")
    contribution: int = Field(ge=1, le=100_000, strict=True, description="rows of one user that count, at most: others are left out")


class BudgetBody(Body):
    """A limit and its terms. What is left out stays as it is; at first, it is as the defaults say."""

    epsilon: Epsilon
    delta: Delta = int(DEFAULT_DELTA * DELTA_SCALE)
    composition: Composition | None = Field(default=None, description="zcdp (the default), or pure: no delta, and no Gaussian noise")
    neighbours: Neighbours | None = Field(default=None, description="add-remove (the default), or replace")
    unit: Literal["row"] | UnitBody | None = Field(default=None, description="row (the default), or a column of users")
    window_days: int | None = Field(
        default=None, ge=1, le=36_500, strict=True, description="days after which the limit counts anew; null: never (the default)"
    )
    approve_above: Epsilon | None = Field(default=None, description="epsilon above which a job waits for a second person; null: none waits")
    reason: OneLine | None = Field(default=None, description="why; needed where a limit is changed")


class QuotaBody(Body):
    """A limit of a person's, or of a project's, besides the lineage's own."""

    epsilon: Epsilon
    delta: Delta = int(DEFAULT_DELTA * DELTA_SCALE)
    reason: OneLine = Field(description="why")


class ReasonBody(Body):
    """Why something is done."""

    reason: OneLine = Field(description="why")
