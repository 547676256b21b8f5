"""What a worker process can be made to do, for tests of its executor: functions of a task and a reporter, found by name."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import warnings

from contracts.events import DatasetVersionAdded, Origin
from contracts.jobs import Output, SynthesizeSpec
from contracts.problems import ProblemError
from infra.work.task import Finished, Happened, Task
from infra.work.worker import Reporter


class ColumnMissing(ProblemError):
    """A column is missing."""

    code = "column-missing"


def finish(task: Task, reporter: Reporter) -> Finished:
    """End well, with a table, a line of progress, and an event of its own."""
    spec = task.command.spec
    assert isinstance(spec, SynthesizeSpec)
    if task.measurements is None:
        reporter.opening()
    reporter.advanced("draw", 1.0)
    table = task.objects.put(task.object_id("table"), b"rows")
    added = DatasetVersionAdded(dataset=spec.target, version=1, origin=Origin.SYNTHETIC, table=table, job=task.command.job)
    return Finished(outputs=(Output(role="table", object=table),), events=(Happened.of(added),))


def chatter(task: Task, reporter: Reporter) -> Finished:
    """Print where reports go, in every way a library may, and then end well."""
    sys.stdout.write('{"say": "finished"}\n')
    sys.stdout.flush()
    os.write(1, b"not json at all\n\x00\xff")
    os.system("echo from a child process")
    return finish(task, reporter)


def refuse(task: Task, reporter: Reporter) -> Finished:
    """Find the input at fault, with half an output written."""
    reporter.opening()
    task.objects.put(task.object_id("table"), b"half")
    raise ColumnMissing("column 'age' is missing", column="age")


def refuse_unopened(_task: Task, _reporter: Reporter) -> Finished:
    """Find the parameters at fault, with nothing opened."""
    raise ColumnMissing("column 'age' is missing", column="age")


def defect(_task: Task, _reporter: Reporter) -> Finished:
    """Fail for a reason that names a value of the data."""
    raise ZeroDivisionError("secret value 42")


def die(task: Task, reporter: Reporter) -> Finished:
    """End without a word while measuring, with half an output written."""
    reporter.opening()
    task.objects.put(task.object_id("table"), b"half")
    os._exit(9)


def hang(task: Task, reporter: Reporter) -> Finished:
    """Write an output and half of another, say so, and never end."""
    reporter.opening()
    task.objects.put(task.object_id("model"), b"whole")
    with task.objects.write(task.object_id("table"), "text/plain", ".txt") as draft:
        draft.path.write_bytes(b"half")
        reporter.advanced("hang", 0.5)
        threading.Event().wait()
    raise AssertionError


def hoard(task: Task, reporter: Reporter) -> Finished:
    """Take far more memory than asked for, and hold it."""
    task.objects.put(task.object_id("table"), b"half")
    held = bytearray(b"x") * (400 << 20)
    reporter.advanced("hoard", 0.5)
    threading.Event().wait()
    raise AssertionError(len(held))


def beget(_task: Task, reporter: Reporter) -> Finished:
    """Start a process that would outlive this one, say so, and never end."""
    subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    reporter.advanced("beget", 0.5)
    threading.Event().wait()
    raise AssertionError


def dawdle(task: Task, reporter: Reporter) -> Finished:
    """Take a moment for each of many steps, and end well."""
    reporter.opening()
    for n in range(10):
        threading.Event().wait(0.03)
        reporter.advanced(f"step{n}", n / 10)
    return finish(task.model_copy(update={"measurements": task.object_id("measurements")}), reporter)


def measure_then_die(task: Task, reporter: Reporter) -> Finished:
    """Store measurements, and end; another attempt builds on them."""
    if task.measurements is None:
        reporter.opening()
        reporter.measured(task.objects.put(task.object_id("measurements"), b"noisy"))
        os._exit(1)
    assert task.objects.read(task.measurements) == b"noisy"
    finished = finish(task, reporter)
    kept = (*finished.outputs, Output(role="measurements", object=task.measurements))
    return finished.model_copy(update={"outputs": kept})


def full_disk(_task: Task, _reporter: Reporter) -> Finished:
    """Says all that a library might, on every way there is, and ends as where the disk is full."""
    sys.stdout.write("Xanthippeville\n")
    sys.stdout.flush()
    warnings.warn("Xanthippeville", RuntimeWarning, stacklevel=1)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from ValueError("Xanthippeville")
