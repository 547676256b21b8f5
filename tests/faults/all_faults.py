"""Run every fault, and write the table of what became of each into docs/reliability.md: ``./just faults``.

Words are handed to pytest (``./just faults -k broker``): then the table is printed, and the page left as it is.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- results of ./just faults -->", "<!-- end of results -->"
HEAD = "| # | fault | runs | seed | result | back after (median, longest) |\n|---|---|---|---|---|---|\n"


def main(words: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        environment = os.environ | {"HALFTONE_FAULTS": "full", "HALFTONE_FAULTS_RESULTS": str(results)}
        command = [sys.executable, "-m", "pytest", "-q", "tests/faults", *words]
        code = subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode
        if not results.exists():
            return code or 1
        table = tabled([json.loads(line) for line in results.read_text().splitlines()])
    print(table)
    if not words:
        write(table)
    return code


def tabled(results: list[dict[str, Any]]) -> str:
    """A row for each fault, in the order of their numbers."""
    by_fault: defaultdict[tuple[Any, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_fault[result["number"], result["fault"]].append(result)
    order = sorted(by_fault, key=lambda key: (isinstance(key[0], str), key[0] if isinstance(key[0], int) else 0))
    return HEAD + "".join(_row(*key, by_fault[key]) for key in order)


def _row(number: object, fault: str, results: list[dict[str, Any]]) -> str:
    noted: defaultdict[str, list[Any]] = defaultdict(list)
    for result in results:
        for name, value in result["noted"]:
            noted[name].append(value)
    bad = [result["test"].partition("::")[2] for result in results if result["outcome"] != "passed"]
    held = "held" if not bad else f"**failed**: {', '.join(sorted(set(bad)))}"
    back = sorted(noted.pop("recovery", []))
    runs = sum(noted.pop("runs", [])) or len(back) or len(results)
    # Some faults are named for what is done in full: of a sample it is said that it is one.
    how = runs if all(result["full"] for result in results) else f"{runs} (sample)"
    after = f"{statistics.median(back):.1f} s, {back[-1]:.1f} s" if back else ""
    also = "".join(f"; {name} {_figure(values)}" for name, values in sorted(noted.items()))
    return f"| {number} | {fault} | {how} | {results[0]['seed']} | {held}{also} | {after} |\n"


def _figure(values: list[Any]) -> str:
    most = max(values)
    return f"{most:.2f}" if isinstance(most, float) else str(most)


def write(table: str) -> None:
    """Put the table where the last one stands."""
    text = PAGE.read_text(encoding="utf-8")
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    body = f"{BEGIN}\n\nMachine: {where}.\n\n{table}\n{END}"
    PAGE.write_text(re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: body, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
