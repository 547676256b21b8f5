"""Independent columns: the floor that every other engine is measured against."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from contracts.schema import TableSchema
from halftone.privacy.measure import Measurer
from halftone.synthesis.counting import project
from halftone.synthesis.encoding import Encoding
from halftone.synthesis.engine import Measurements, Progress, silent
from halftone.synthesis.leaves import as_arrays, from_arrays, measure_leaves, total_rows
from halftone.synthesis.model import ColumnShape, MixtureModel


class IndependentEngine:
    """Every column from its own noisy histogram."""

    name: ClassVar[str] = "independent"
    licence: ClassVar[str] = "Apache-2.0"
    private: ClassVar[bool] = True
    description: ClassVar[str] = (
        "Each column from its own noisy histogram, with no relation between columns: the floor others are shown against."
    )

    def least(self, schema: TableSchema) -> int:
        """Two units for each column. Raises DomainNotDeclared."""
        return max(1, 2 * len(Encoding(schema).columns))

    def measure(self, handle: Measurer, schema: TableSchema, rho: int, progress: Progress = silent) -> Measurements:
        """One histogram per column. Raises GrantExceeded, DomainNotDeclared, and ValueError for less than the least rho."""
        handle.require(rho)
        progress(0.0, "measure columns")
        encoding = Encoding(schema)
        arrays = as_arrays(measure_leaves(handle, encoding, rho)) if encoding.columns else {"rows": handle.measure((), rho)}
        progress(1.0, "measure columns")
        return Measurements(engine=self.name, schema=schema, mechanisms=handle.mechanisms, arrays=arrays)

    def fit(self, measurements: Measurements, progress: Progress = silent) -> MixtureModel:
        """Noisy histograms made consistent. Raises ValueError for another engine's measurements."""
        if measurements.engine != self.name:
            raise ValueError(f"these measurements are of engine {measurements.engine!r}, not of {self.name!r}")
        encoding = Encoding(measurements.schema)
        leaves = from_arrays(measurements.arrays, encoding)
        rows = total_rows(leaves.values())[0] if leaves else float(measurements.arrays["rows"])
        progress(1.0, "fit columns")
        return MixtureModel(
            engine=self.name,
            schema=measurements.schema,
            rows=max(0, round(rows)),
            weights=np.ones(1),
            shares=tuple(project(leaf.counts, rows)[None, :] for leaf in leaves.values()),
            shapes=tuple(
                ColumnShape(leaf.starts, leaf.widths, np.arange(len(leaf.starts)), np.ones(len(leaf.starts))) for leaf in leaves.values()
            ),
        )

    def load(self, data: bytes) -> MixtureModel:
        """A saved model. Raises ValueError for other bytes."""
        return MixtureModel.load(data, self.name)
