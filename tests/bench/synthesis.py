"""Private synthesis of Adult: accuracy, seconds, rows per second, beside the targets.

Run with ``./just bench``, or by itself. Each figure is the median of three runs, and each run draws its own noise.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy, as a worker does

import gzip
import importlib.util
import io
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.privacy.conversion import job_cost
from halftone.synthesis.encoding import open_handle
from halftone.synthesis.engine import engine, engines

SHARED = Path(__file__).resolve().parents[3] / "shared"
TARGETS = {0.1: 0.90, 0.5: 0.96, 1.0: 0.972, 2.39: 0.982}
SECONDS, ROWS_PER_SECOND = 3.0, 300_000
DELTA, RUNS = 1e-9, 3


def adult(tool: Any) -> tuple[pd.DataFrame, TableSchema]:
    """The coded table, and its public schema."""
    real = pd.read_csv(io.BytesIO(gzip.decompress((SHARED / "data/adult-coded.csv.gz").read_bytes())))
    sizes = json.loads((SHARED / "data/adult-domain.json").read_text())
    numeric = tool.ADULT_NUMERIC.split(",")
    columns = [
        ColumnSchema(name=name, type=ColumnType.INTEGER, minimum=0, maximum=sizes[name] - 1)
        if name in numeric
        else ColumnSchema(name=name, type=ColumnType.CATEGORICAL, categories=tuple(range(sizes[name])))
        for name in real.columns
    ]
    return real, TableSchema(columns=tuple(columns))


def accuracy_tool() -> Any:
    """The scorer that the targets are stated in."""
    spec = importlib.util.spec_from_file_location("accuracy", SHARED / "tools/accuracy.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"no scorer in {SHARED}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, real: pd.DataFrame, schema: TableSchema, epsilon: float, tool: Any) -> tuple[float, float, float]:
    """Accuracy, seconds from the Arrow table to the fitted model, rows out per second."""
    chosen, table, rho = engine(name), pa.Table.from_pandas(real), job_cost(epsilon, DELTA).rho
    start = time.perf_counter()
    model = chosen.fit(chosen.measure(open_handle(table, schema, rho), schema, rho))
    fitted = time.perf_counter() - start
    synthetic = model.sample(seed=0).to_pandas()
    start = time.perf_counter()
    model.sample(500_000, seed=0)
    speed = 500_000 / (time.perf_counter() - start)
    return tool.accuracy(real, synthetic, tool.ADULT_NUMERIC.split(","))["overall"], fitted, speed


def main() -> None:
    """Print the table."""
    if not (SHARED / "data/adult-coded.csv.gz").exists():
        print(f"skipped: {SHARED} has no data")
        sys.exit(0)
    tool = accuracy_tool()
    real, schema = adult(tool)
    print(f"{'engine':12} {'epsilon':>7} {'accuracy':>9} {'target':>7} {'fit s':>6} {'target':>7} {'rows/s':>9} {'target':>8}")
    for name in engines():
        for epsilon, target in TARGETS.items():
            results = [run(name, real, schema, epsilon, tool) for _ in range(RUNS)]
            accuracy, fitted, speed = (statistics.median(part) for part in zip(*results, strict=True))
            print(
                f"{name:12} {epsilon:7} {accuracy:9.4f} {target:7.3f} {fitted:6.2f} {SECONDS:7.1f} {speed:9,.0f} {ROWS_PER_SECOND:8,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
