"""Log lines: an action and its ids, never a row's values, nor a secret. JSON, one object a line; for people where there is a terminal.

What an exception says may quote what it choked on, and what a library says may too: of both, only what cannot is written down.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TextIO, cast

import structlog
from nats.errors import Error as NatsError

from contracts.problems import ProblemError
from infra.unfailing import Unfailing

log = structlog.get_logger()

OURS = frozenset({"actors", "api", "contracts", "infra"})
SPEAKABLE = (OSError, NatsError, sqlite3.OperationalError)
"""Exceptions of others whose text tells of files, connections and databases, and never of what is in them."""
FRAMES = 40
"""Most frames of a traceback, the innermost."""

_about: ContextVar[Mapping[str, str | int] | None] = ContextVar("about", default=None)


@contextlib.contextmanager
def about(ids: Mapping[str, str | int]) -> Iterator[None]:
    """Name in every line what is being worked on: message, job, trace."""
    token = _about.set(ids)
    try:
        yield
    finally:
        _about.reset(token)


def configure(level: str) -> None:
    """Write lines of a level and above to standard error, those of libraries among them, and how this process ends by itself."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            _name,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _exception,
            *((_spread, structlog.dev.ConsoleRenderer()) if terminal else (structlog.processors.JSONRenderer(default=_unknown),)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # A full disk must not fail what a line is about: supervision itself says what it does.
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", Unfailing(sys.stderr))),
        # Else a line that is left out costs as much as one that is bound anew: microseconds, for each message.
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)
    sys.excepthook = last_words


def last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Tell why this process ends, in a line like any other."""
    log.critical("process.broke", exc_info=(kind, error, trace))


def _name(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in (_about.get() or {}).items():
        line.setdefault(name, value)
    return line


def _exception(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = line.pop("exc_info", None)
    match given:
        case BaseException() as error:
            line["exception"] = told(error)
        case (_, BaseException() as error, _):
            line["exception"] = told(error)
        case True:
            current = sys.exc_info()[1]
            if current is not None:
                line["exception"] = told(current)
    return line


def _spread(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    shown: dict[str, Any] = json.loads(json.dumps(line, default=_unknown))
    if "exception" in shown:
        shown["exception"] = json.dumps(shown["exception"], indent=1)
    return shown


def told(error: BaseException) -> dict[str, Any]:
    """An exception without what it quotes: its class, where it came from, its causes; its text only if that holds no data."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    found: dict[str, Any] = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if _speakable(error):
        found["text"] = str(error)
    if isinstance(error, BaseExceptionGroup):
        found["members"] = [told(member) for member in error.exceptions]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        found["cause"] = told(cause)
    return found


def _speakable(error: BaseException) -> bool:
    # Problems are for whoever asked: they name columns, lines and values.
    ours = type(error).__module__.partition(".")[0] in OURS and not isinstance(error, ProblemError)
    return ours or isinstance(error, SPEAKABLE)


def _unknown(value: Any) -> str:
    """What JSON does not know is told by its class: its text may hold anything."""
    return f"<{type(value).__qualname__}>"


class _Libraries(logging.Handler):
    """Has libraries' lines look like ours: the text as its author wrote it, without what was to be put into it."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.msg if isinstance(record.msg, str) else f"<{type(record.msg).__qualname__}>"
        log.log(record.levelno, "library.said", logger=record.name, text=text, exc_info=record.exc_info)
