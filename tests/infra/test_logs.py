"""Log lines: what they hold, and what they never do."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nats.errors import ConnectionClosedError
from pydantic import BaseModel
from sqlalchemy import create_engine, text
from structlog.testing import capture_logs

from contracts.commands import RunJob
from contracts.ids import new_id
from contracts.jobs import NoopSpec
from contracts.problems import ProblemError
from infra import logs, tracing
from infra.work.executor import WorkerLost
from infra.work.task import Limits, Task

VALUE = "Xanthippeville"


def _validates() -> None:
    class Row(BaseModel):
        income: int

    Row.model_validate({"income": VALUE})


def _inserts() -> None:
    with create_engine("sqlite://").begin() as connection:
        connection.execute(text("CREATE TABLE t (name TEXT UNIQUE)"))
        connection.execute(text("INSERT INTO t VALUES (:name), (:name)"), {"name": VALUE})


def _refuses() -> None:
    raise ProblemError(f"column 'town' has no category {VALUE!r}")


def _groups() -> None:
    raise ExceptionGroup(VALUE, [ValueError(VALUE), KeyError(VALUE)])


def _causes() -> None:
    try:
        int(VALUE)
    except ValueError as error:
        raise WorkerLost("its lease is lost") from error


def raised(by: Callable[[], None]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # any: what it is, is the test's
        by()
    return caught.value


@pytest.mark.parametrize("by", [_validates, _inserts, _refuses, _groups, _causes], ids=lambda by: by.__name__)
def test_what_an_exception_quotes_is_not_told(by: Callable[[], None]) -> None:
    """Validation, the database, a problem for whoever asked, a group, a cause: each named by its class and its frames."""
    told = logs.told(raised(by))
    assert VALUE not in json.dumps(told)
    assert by.__name__ in json.dumps(told["at"])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (WorkerLost("ended with code 9"), "ended with code 9"),
        (ConnectionClosedError(), "nats: connection closed"),
        (OSError(28, "full"), "full"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_quote_data_says_what_was_wrong(error: Exception, text: str) -> None:
    """Our own exceptions, the bus's, the operating system's."""
    assert text.lower() in logs.told(error)["text"].lower()


def test_causes_and_members_are_told_each_by_itself() -> None:
    """With what may be said of each."""
    told = logs.told(raised(_causes))
    assert (told["type"], told["text"], told["cause"]["type"]) == (
        "infra.work.executor.WorkerLost",
        "its lease is lost",
        "builtins.ValueError",
    )
    assert "text" not in told["cause"]
    assert [member["type"] for member in logs.told(raised(_groups))["members"]] == ["builtins.ValueError", "builtins.KeyError"]


SPEAK = """
import logging, structlog
from infra import logs
logs.configure("info")
log = structlog.get_logger()
with logs.about({"message": "m", "job": "j"}):
    log.info("thing.done", count=3)
    log.debug("thing.considered")
logging.getLogger("lib").error("got %s", "Xanthippeville")
try:
    int("Xanthippeville")
except ValueError:
    logging.getLogger("lib").exception("failed with %r", "Xanthippeville")
log.info("thing.held", what={"Xanthippeville"})
raise RuntimeError("Xanthippeville")
"""


def said(errors: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in errors.splitlines()]


def test_a_process_writes_one_json_object_a_line_whatever_speaks() -> None:
    """Its own actions with the ids they are about, libraries without what they put into their texts, and its last words."""
    done = subprocess.run([sys.executable, "-c", SPEAK], capture_output=True, text=True, check=False)
    first, library, failed, held, last = said(done.stderr)
    assert {name: first[name] for name in ("event", "message", "job", "count", "level")} == {
        "event": "thing.done",
        "message": "m",
        "job": "j",
        "count": 3,
        "level": "info",
    }
    assert (library["event"], library["logger"], library["text"], library["level"]) == ("library.said", "lib", "got %s", "error")
    assert (failed["text"], failed["exception"]["type"]) == ("failed with %r", "builtins.ValueError")
    assert held["what"] == "<set>"
    assert (last["event"], last["level"], last["exception"]["type"]) == ("process.broke", "critical", "builtins.RuntimeError")
    assert VALUE not in done.stderr
    assert done.returncode == 1


def test_a_line_is_for_people_where_there_is_a_terminal() -> None:
    """The same line, set for reading."""
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", SPEAK.partition("raise")[0]], stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "thing.done" in shown
    assert VALUE not in shown
    with pytest.raises(json.JSONDecodeError):
        json.loads(shown.splitlines()[0])


def broken_worker(task_line: str) -> tuple[dict[str, Any], str]:
    """The one line that a worker writes which breaks, and all that it wrote."""
    command = [sys.executable, "-m", "infra.work.worker", "work_entries:full_disk"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stderr is not None
        # Held open: a worker whose executor is gone ends without a word.
        worker.stdin.write(task_line + "\n")
        worker.stdin.flush()
        errors, reports = worker.stderr.read(), worker.stdout.read()
    (line,) = said(errors)
    return line, errors + reports


def test_a_worker_that_cannot_read_its_task_does_not_quote_it() -> None:
    """It says what is wrong with it by the class of the error."""
    line, written = broken_worker(json.dumps({"entry": VALUE}))
    assert (line["event"], line["exception"]["type"]) == ("process.broke", "pydantic_core._pydantic_core.ValidationError")
    assert VALUE not in written


def test_a_worker_that_breaks_names_its_job_and_writes_nothing_that_libraries_say(tmp_path: Path) -> None:
    """Neither what they print nor what they warn of, nor what an exception quotes; that the disk is full is said."""
    command = RunJob(job=new_id("job"), spec=NoopSpec())
    limits = Limits(max_upload_bytes=1, max_table_bytes=1, max_columns=1)
    task = Task(entry="work_entries:full_disk", command=command, attempt=2, objects_directory=tmp_path, limits=limits)
    line, written = broken_worker(task.model_dump_json())
    assert (line["event"], line["job"], line["attempt"]) == ("process.broke", command.job, 2)
    assert "No space left" in line["exception"]["text"]
    assert VALUE not in written


def test_a_request_without_a_trace_gets_one_and_a_malformed_one_is_not_taken() -> None:
    """Every line of a request, and what it causes, has a trace."""
    known = f"00-{'a' * 32}-{'b' * 16}-01"
    for given, expected in ((known, known), ("", None), ("00-" + "0" * 32 + "-" + "b" * 16 + "-01", None), (VALUE, None)):
        with tracing.request("GET", given.encode()):
            carried = tracing.carried()
        assert carried is not None
        assert (carried == known) is (expected is not None)
        assert tracing.carried() is None


def test_library_lines_keep_their_level(caplog: pytest.LogCaptureFixture) -> None:
    """A warning stays one."""
    with capture_logs() as lines:
        logs._Libraries().emit(logging.LogRecord("lib", logging.WARNING, __file__, 1, "careful with %s", (VALUE,), None))
    assert [(line["event"], line["log_level"], line["text"]) for line in lines] == [("library.said", "warning", "careful with %s")]
