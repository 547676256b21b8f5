"""The worker process: does one task and ends. Run as ``python -m infra.work.worker ENTRY`` with the task on standard input."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import cast

from contracts.ids import Code, ObjectId
from contracts.problems import ProblemError
from infra.failpoints import around
from infra.process import exit_when_closed
from infra.work.task import Advanced, Broken, Finished, Measured, Opening, Task

REPORT_EVERY = 0.1
"""Seconds between two reports of progress."""


class Reporter:
    """The worker's way to speak to its executor."""

    def __init__(self, out: int, acknowledged: int) -> None:
        self._out, self._acknowledged = out, acknowledged
        self._last, self._step = 0.0, ""

    def advanced(self, step: Code, fraction: float) -> None:
        """Say how far the work is, in [0, 1] of the whole job; the executor hears of it a few times a second."""
        now = time.monotonic()
        if step != self._step or now - self._last >= REPORT_EVERY or fraction >= 1:
            self._last, self._step = now, step
            self.say(Advanced(step=step, fraction=min(1.0, max(0.0, fraction))))

    @around("worker.opening")
    def opening(self) -> None:
        """Say that what was granted is about to be used; returns when that is written down, and is charged whatever becomes of the job."""
        self.say(Opening())
        os.read(self._acknowledged, 1)

    @around("worker.measured")
    def measured(self, object_id: ObjectId) -> None:
        """Say that measurements are stored; returns when the executor has made a note of them that survives a crash."""
        self.say(Measured(object=object_id))
        os.read(self._acknowledged, 1)

    def say(self, report: Advanced | Opening | Measured | Finished | Broken) -> None:
        line = memoryview(report.model_dump_json().encode() + b"\n")
        while line:
            line = line[os.write(self._out, line) :]


Work = Callable[[Task, Reporter], Finished]


class WorkFailed(ProblemError):
    """The job failed for a reason that is not its own; its log says more."""

    status, code = 500, "internal-error"


def perform(task: Task, reporter: Reporter) -> None:
    """Do the task and report its end. What may pass (the disk, memory) is left to end the process: then it is tried again."""
    module, _, name = task.entry.partition(":")
    work = cast("Work", getattr(importlib.import_module(module), name))
    try:
        reporter.say(work(task, reporter))
    except ProblemError as error:
        reporter.say(_broken(error))
    except (OSError, MemoryError):
        raise
    except Exception:  # noqa: BLE001  # a defect of ours, or of a library: it would fail again
        # What others see must not depend on the rows: the traceback goes to the log, for those with the right to raw data.
        reporter.say(_broken(WorkFailed()))


def _broken(error: ProblemError) -> Broken:
    return Broken(code=error.code, problem=error.document().model_dump(mode="json"), log=traceback.format_exc())


def prepare(entry: str) -> None:
    """Import what tasks of this kind need: done while no job waits, where the worker was started ahead."""
    module = importlib.import_module(entry.partition(":")[0])
    for heavy in getattr(module, "HEAVY", ()):
        importlib.import_module(heavy)


def main() -> None:
    """Prepare, read the task, keep standard output for reports, and end with the executor whatever happens."""
    # Ctrl-C on the terminal reaches every process of the group; how this one ends is for its executor to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = partial(_broke, {})
    out = os.dup(1)
    # What a library prints must not be taken for a report; nor is it for a log: like its warnings, it may quote the rows it works on.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    prepare(sys.argv[1])
    task_line = _line(0)
    if not task_line:
        return
    acknowledge_read, acknowledge_write = os.pipe()
    exit_when_closed(0, heard=acknowledge_write)
    task = Task.model_validate_json(task_line)
    sys.excepthook = partial(_broke, {"job": task.command.job, "attempt": task.attempt})
    perform(task, Reporter(out, acknowledge_read))


def _line(descriptor: int) -> bytes:
    """A line, and nothing of what may follow it; empty at the end."""
    line = bytearray()
    while not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
        line += byte
    return bytes(line)


def _broke(ids: dict[str, str | int], kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    from infra import logs  # noqa: PLC0415  # wanted this once

    logs.configure("warning")
    with logs.about(ids):
        logs.last_words(kind, error, trace)


if __name__ == "__main__":
    main()
