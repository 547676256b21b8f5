"""Run every benchmark, or those named: ``./just bench`` or ``./just bench jobs merkle``."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = ("jobs", "kills", "edge", "synthesis", "ingest", "views", "merkle", "audit", "budget", "tracing")


def main(chosen: list[str]) -> int:
    unknown = [name for name in chosen if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark is called {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    system = f"{platform.system()} {platform.release()}"
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, {system}")
    codes = [subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode for name in chosen or BENCHMARKS]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
