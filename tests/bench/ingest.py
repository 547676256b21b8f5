"""CSV to Parquet: megabytes per second and peak memory, beside DuckDB's on the same file; and what it takes to know the table again.

Run with ``python tests/bench/ingest.py --size 1000``: the size is in megabytes. Each run is a process of its own, and the better of two.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

sys.path.insert(0, str(Path(__file__).parent))
from figures import Figure, show

ROWS, RUNS = 100_000, 2
WORDS = np.array(["alpha", "beta", "gamma delta", "epsilon, zeta", 'eta "quoted"', "theta", "iota", "kappa"])
OURS = "from pathlib import Path; from halftone.tables.ingest import ingest; run = lambda a, b: ingest(Path(a), Path(b))"
KNOWING = "from pathlib import Path; from halftone.tables.content import content_hash; run = lambda a, b: content_hash(Path(b))"
THEIRS = (
    "import duckdb; run = lambda a, b: duckdb.sql(f\"copy (select * from read_csv('{a}')) to '{b}' (format parquet, compression zstd)\")"
)
CHILD = """
import json, resource, sys, time
{setup}
begin = time.perf_counter()
run(*sys.argv[1:])
seconds = time.perf_counter() - begin
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def write(path: Path, megabytes: int) -> None:
    """Ten columns of all types, a fifth of the bytes in text that has to be quoted."""
    rng, begin = np.random.default_rng(1), 0
    with path.open("wb") as file:
        while file.tell() < megabytes * 10**6:
            options = pyarrow.csv.WriteOptions(include_header=begin == 0)
            pyarrow.csv.write_csv(rows(rng, begin), file, options)
            begin += ROWS


def rows(rng: np.random.Generator, begin: int) -> pa.Table:
    return pa.table(
        {
            "id": np.arange(begin, begin + ROWS),
            "age": rng.integers(0, 100, ROWS),
            "income": np.round(rng.lognormal(10, 1, ROWS), 2),
            "score": rng.normal(size=ROWS),
            "city": WORDS[rng.integers(0, len(WORDS), ROWS)],
            "flag": pa.array(rng.integers(0, 2, ROWS).astype(bool)),
            "day": pa.array(rng.integers(0, 20_000, ROWS).astype(np.int32)).cast(pa.date32()),
            "at": pa.array(rng.integers(0, 1_700_000_000, ROWS)).cast(pa.timestamp("s")),
            "code": np.char.add("C", rng.integers(0, 10**6, ROWS).astype(str)),
            "hour": rng.integers(0, 24, ROWS),
        }
    )


def measure(setup: str, source: Path, target: Path) -> tuple[float, float]:
    """Seconds and MiB of the better run."""
    command = [sys.executable, "-c", CHILD.format(setup=setup), str(source), str(target)]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]) for _ in range(RUNS)]
    best = min(runs)
    return float(best[0]), float(best[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=200, help="megabytes of CSV")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "table.csv"), Path(folder, "table.parquet")
        write(source, parser.parse_args().size)
        megabytes = source.stat().st_size / 1e6
        seconds, memory = measure(OURS, source, target)
        figures = [
            Figure(f"{megabytes:,.0f} MB of CSV", f"{megabytes / seconds:,.0f} MB/s", "half of DuckDB's or better"),
            Figure("peak memory", f"{memory:,.0f} MiB", "1,024 MiB"),
        ]
        knowing, its_memory = measure(KNOWING, source, target)
        figures.append(Figure("its content hash, of the stored table", f"{megabytes / knowing:,.0f} MB/s of CSV, {its_memory:,.0f} MiB"))
        if importlib.util.find_spec("duckdb") is not None:
            theirs, their_memory = measure(THEIRS, source, target)
            figures.append(Figure("the same with DuckDB", f"{megabytes / theirs:,.0f} MB/s, {their_memory:,.0f} MiB"))
            figures.append(Figure("our speed over DuckDB's", f"{theirs / seconds:.2f}", "0.5"))
        show("Reading CSV", figures)


if __name__ == "__main__":
    main()
