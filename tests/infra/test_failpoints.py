"""Fail-points: not there at all in production, and in a test of faults exactly where and when they were asked for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from infra import failpoints
from infra.failpoints import DIRECTORY, FailedOnPurpose, around
from running_system import REPOSITORY

EVERYWHERE = """

from actors import budget_keeper
from api.gateway import Gateway
from api.views.projector import Fold
from infra.bus import relay, runs
from infra.database.store import Transaction
from infra.database.writer import Writer
from infra.work.executor import Executor
from infra.work.worker import Reporter
for function in (relay.Relay._publish, runs.settle, Writer._commit, Transaction.send, budget_keeper.handle, Gateway.accept,
                 Gateway._promise, Fold.apply, Executor._write_end, Reporter.opening, Reporter.measured):
    assert not hasattr(function, "__wrapped__"), function
"""


@pytest.fixture
def armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of armed places, and a process whose name is not that of a worker."""
    monkeypatch.setenv(DIRECTORY, str(tmp_path))
    monkeypatch.setattr(failpoints, "process_name", lambda: "edge")
    return tmp_path


def test_without_the_variable_a_function_is_the_one_that_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wrapped, looked up or called: in production there are no fail-points."""
    monkeypatch.delenv(DIRECTORY, raising=False)

    def function() -> None: ...

    assert around("any")(function) is function


def test_no_function_of_the_project_is_wrapped_in_production() -> None:
    """Every module that names places holds its own functions, unless the variable is set."""
    done = subprocess.run(
        [sys.executable, "-c", EVERYWHERE], cwd=REPOSITORY, env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/src"}, check=False
    )
    assert done.returncode == 0


def test_a_place_fails_once_on_the_visit_that_was_asked_for(armed: Path) -> None:
    """The file says what, where and when, and is gone once it has happened."""
    visited = []
    place = around("step")(lambda: visited.append("in"))
    (armed / "edge:step:after").write_text("fail 2")
    place()
    with pytest.raises(FailedOnPurpose, match="step:after"):
        place()
    place()
    assert visited == ["in", "in", "in"]
    assert list(armed.iterdir()) == []


async def test_a_coroutine_has_the_same_places(armed: Path) -> None:
    """Before it begins, and once its result is there; again and again where that was asked for."""
    happened = asyncio.Event()

    @around("step")
    async def step() -> str:
        happened.set()
        return "done"

    (armed / "edge:step:before").write_text("fail every")
    for _ in range(3):
        with pytest.raises(FailedOnPurpose):
            await step()
    assert not happened.is_set()
    (armed / "edge:step:before").unlink()
    assert await step() == "done"


def test_another_process_is_left_alone(armed: Path) -> None:
    """A place is armed in one process."""
    (armed / "budget_keeper:step:before").write_text("fail")
    assert around("step")(lambda: 1)() == 1


def test_a_killed_process_says_nothing_more(tmp_path: Path) -> None:
    """Kill is the kernel's, as a power cut is: no handler and no finally runs."""
    (tmp_path / "worker:step:before").write_text("kill")
    code = "from infra.failpoints import around\ntry:\n    around('step')(print)('in')\nfinally:\n    print('cleaned up')"
    environment = {DIRECTORY: str(tmp_path), "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/src"}
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-9, b"")
