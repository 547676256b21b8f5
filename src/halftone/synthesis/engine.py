"""What an engine is, and which are installed.

An engine measures through a handle, which costs; then fits and samples, which is post-processing and costs nothing. Between the two lie
``Measurements``, stored before anything is built on them. Packages add engines through the entry-point group ``halftone.engines``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol, Self

import pyarrow as pa
from numpy.typing import NDArray

from contracts.schema import TableSchema
from halftone.privacy.measure import Measurer, Mechanism
from halftone.synthesis.archive import pack, unpack

GROUP = "halftone.engines"
"""Entry-point group of engines."""

Progress = Callable[[float, str], None]
"""Called with the share that is done, in [0, 1], and the name of the step."""


def silent(fraction: float, step: str) -> None:
    """Progress that nobody watches."""
    del fraction, step


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Noisy measurements and public schema: all that a fit needs, and all that it may see."""

    engine: str
    """Name of the engine that measured, which alone knows what the arrays mean."""
    schema: TableSchema
    """The public schema."""
    mechanisms: tuple[Mechanism, ...]
    """Every use of the table, for the certificate."""
    arrays: Mapping[str, NDArray[Any]]
    """Noisy counts, and what was read from them."""

    def to_bytes(self) -> bytes:
        """Bytes to be stored; see ``from_bytes``."""
        header = {
            "engine": self.engine,
            "schema": self.schema.model_dump(mode="json"),
            "mechanisms": [asdict(mechanism) for mechanism in self.mechanisms],
        }
        return pack("measurements", header, self.arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What ``to_bytes`` stored. Raises ValueError for anything else."""
        header, arrays = unpack("measurements", data)
        mechanisms = tuple(Mechanism(**{**entry, "columns": tuple(entry["columns"])}) for entry in header["mechanisms"])
        return cls(engine=header["engine"], schema=TableSchema.read(header["schema"]), mechanisms=mechanisms, arrays=arrays)


class Model(Protocol):
    """A fitted engine. It holds nothing that noise did not pay for, so sampling is free, as often as one likes."""

    def sample(self, rows: int | None = None, *, seed: int) -> pa.Table:
        """A synthetic table of that many rows (the noisy number of real ones without it). The same seed gives the same bytes."""

    def chunks(self, rows: int | None = None, *, seed: int) -> Iterator[pa.Table]:
        """The rows of ``sample`` as tables one after the other, one at least: however many rows there are, memory stays bounded."""

    def save(self) -> bytes:
        """Bytes that the engine's ``load`` understands."""


class Engine(Protocol):
    """A way to synthesize one table. Its attributes can be read without loading what it computes with."""

    name: str
    """Name it is chosen by."""
    licence: str
    """SPDX identifier of the licence of what it runs."""
    private: bool
    """Whether it is differentially private."""
    description: str
    """One sentence on what it does and when to choose it."""

    def least(self, schema: TableSchema) -> int:
        """Least rho (in 1e-12) that it can measure a table of this schema with. Raises DomainNotDeclared."""

    def measure(self, handle: Measurer, schema: TableSchema, rho: int, progress: Progress = silent) -> Measurements:
        """Spend at most rho (in 1e-12) of the grant. Raises GrantExceeded, DomainNotDeclared, ValueError for less than the least rho."""

    def fit(self, measurements: Measurements, progress: Progress = silent) -> Model:
        """A model from measurements of this engine: deterministic post-processing. Raises ValueError for those of another one."""

    def load(self, data: bytes) -> Model:
        """A model that was saved. Raises ValueError for other bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineInfo:
    """What is shown where an engine is chosen."""

    name: str
    """Name it is chosen by."""
    licence: str
    """SPDX identifier."""
    private: bool
    """Whether it is differentially private."""
    description: str
    """One sentence."""


def engines() -> dict[str, EngineInfo]:
    """The installed engines by name, in order."""
    classes = {entry.name: entry.load() for entry in entry_points(group=GROUP)}
    return {
        name: EngineInfo(name=name, licence=chosen.licence, private=chosen.private, description=chosen.description)
        for name, chosen in sorted(classes.items())
    }


def engine(name: str) -> Engine:
    """A new engine of that name. Raises KeyError, naming those there are."""
    for entry in entry_points(group=GROUP, name=name):
        made: Engine = entry.load()()
        return made
    raise KeyError(f"no engine is called {name!r}; there are: {', '.join(sorted(engines()))}")
