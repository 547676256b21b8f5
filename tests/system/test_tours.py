"""The tours: every snippet of docs/ runs, in order, as a reader would run it, on a system that others use as well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from running_system import PATIENCE_SECONDS, REPOSITORY, System

DOCS = REPOSITORY / "docs"


def snippets(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no snippets in {language}"
    return found


@pytest.fixture
def directory(system: System, tmp_path: Path) -> Path:
    """Where a reader stands: beside the home of a system that runs."""
    (tmp_path / ".halftone").symlink_to(system.home)
    return tmp_path


def environment(system: System) -> dict[str, str]:
    """A reader's, with the commands of this environment first, and nothing of ours in it."""
    edge = f"http://{system.http.base_url.host}:{system.http.base_url.port}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HALFTONE_")}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return {
        **kept,
        "PATH": path,
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'src'}",
        "HALFTONE_URL": edge,
        "HALFTONE_TOKEN": system.token,
    }


def run(command: list[str], script: str, system: System, directory: Path, *, anywhere: bool) -> str:
    around = environment(system)
    if not anywhere:
        del around["HALFTONE_URL"], around["HALFTONE_TOKEN"]
    done = subprocess.run(
        command, input=script, env=around, cwd=directory, capture_output=True, text=True, check=False, timeout=4 * PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tour_by_python(system: System, directory: Path) -> None:
    """It ends with ages, a refusal on the way, and a file of five hundred rows."""
    said = run([sys.executable, "-W", "error", "-"], "\n".join(snippets("tour-python.md", "python")), system, directory, anywhere=False)
    assert "8 such jobs fit" in said
    assert "500 rows as Arrow" in said
    assert "the charge is entry" in said
    assert "budget-exhausted" in said
    lines = (directory / "people-synthetic.csv").read_text().splitlines()
    assert len(lines) == 501


def test_the_tour_by_command_line(system: System, directory: Path) -> None:
    """Doctor finds nothing wrong, and what is refused ends with code 3."""
    script = "set -eu\n" + "\n".join(snippets("tour-cli.md", "sh"))
    said = run(["sh"], script, system, directory, anywhere=False)
    assert "such jobs fit\t8" in said
    assert "exit code 3" in said
    assert "verified: " in said
    assert len((directory / "people-synthetic.csv").read_text().splitlines()) == 501
    assert len((directory / "more.jsonl").read_text().splitlines()) == 50


def test_the_tour_by_curl(system: System, directory: Path) -> None:
    """The same over HTTP alone."""
    said = run(["sh"], "set -eu\n" + "\n".join(snippets("tour-curl.md", "sh")), system, directory, anywhere=True)
    assert '"admits": 8' in said
    assert "event: halftone.job.completed.v1" in said
    assert "budget-exhausted" in said
    assert len((directory / "people-synthetic.csv").read_text().splitlines()) == 501


@pytest.fixture
def subscriber(system: System, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """The subscriber of the page, as a program of its own."""
    (script,) = snippets("subscribers.md", "python")
    (directory / "subscriber.py").write_text(script)
    program = subprocess.Popen([sys.executable, "subscriber.py"], cwd=directory, env=environment(system), stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(PATIENCE_SECONDS, program.kill)
    watchdog.start()
    yield program
    watchdog.cancel()
    program.terminate()
    program.wait(10)
    assert program.stdout is not None
    program.stdout.close()


def test_the_subscriber_in_python_hears_of_completed_jobs(system: System, subscriber: subprocess.Popen[str]) -> None:
    """Also of one that completed before it listened: the durable kept it."""
    job = system.post("/v1/jobs", {"kind": "noop"}, Prefer="wait=10", expect=200)["id"]
    assert subscriber.stdout is not None
    assert any(job in line for line in subscriber.stdout), "the subscriber ended without having heard of the job"
