"""What becomes of a message whose handler raises: tried again with growing pauses, or given up and kept in DEAD with the reason.

What passes (broker, database or object store away) is tried for as long as it lasts. What does not is tried a few times, counted in the
actor's own database, so that a restart forgets nothing.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from sqlalchemy import bindparam
from sqlalchemy.exc import InterfaceError, OperationalError

from contracts.envelope import Context, Envelope
from contracts.ids import SYSTEM, Code, MessageId, derived_message_id
from contracts.records import DeadLetter
from infra.database.dialect import insert
from infra.database.prepared import Prepared
from infra.database.store import Store, Transaction, now_ms
from infra.tracing import ids

log = structlog.get_logger()

MOST_ATTEMPTS = 5
"""Times that a handler may fail on a message for a reason that does not pass."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a second attempt, and between late ones."""
MOST_BODY = 64 * 1024
"""Bytes kept of a message that was given up."""
_JITTER = random.SystemRandom()


@dataclass(frozen=True)
class Verdict:
    """What becomes of a message after its handler: acknowledged, its effect being committed, or delivered again."""

    again_in: float | None
    """Seconds; None: never."""
    DONE: ClassVar[Self]
    LATER: ClassVar[Self]
    """Somebody else works on it: deliver again after a pause."""


Verdict.DONE, Verdict.LATER = Verdict(None), Verdict(2.0)


class Hopeless(Exception):
    """The message cannot be handled, now or ever: nothing is gained by trying again."""

    def __init__(self, code: Code) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Given:
    """A message that is given up."""

    subject: str
    letter: Envelope
    """Its copy for DEAD."""
    reason: Code
    envelope: Envelope | None
    """None where it cannot be read."""

    @property
    def cause(self) -> Envelope:
        """What anything that follows from this is caused by."""
        return self.envelope or self.letter


GiveUp = Callable[[Given, Transaction], None]
"""What else is to be written when a message is given up, so that nobody waits for it for ever."""


def nothing_else(_given: Given, _tx: Transaction) -> None:
    """Nobody waits."""


def pause(attempts: int) -> float:
    """Seconds before the next attempt, after so many: twice as long each time, and never in step with others."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts - 1, 16)) * _JITTER.uniform(0.8, 1.2)


def passes(error: BaseException) -> bool:
    """Whether the cause is something that is away, and will be back."""
    return isinstance(error, NatsError | OSError | OperationalError | InterfaceError)


class Retries:
    """Decides for the durables of one actor."""

    def __init__(self, store: Store, source: str, give_up: GiveUp = nothing_else) -> None:
        self._store, self._source, self._give_up = store, source, give_up
        t = store.metadata.tables["failures"]
        statement = insert(t).values(message_id=bindparam("message"), attempts=1, last_at=bindparam("now"))
        again = {"attempts": t.c.attempts + 1, "last_at": statement.excluded.last_at}
        self._count = Prepared(statement.on_conflict_do_update(index_elements=["message_id"], set_=again).returning(t.c.attempts))

    async def after(self, message: Msg, envelope: Envelope, error: Exception) -> Verdict:
        """What becomes of a message after its handler has raised."""
        if passes(error):
            log.warning("message.waits", type=envelope.type, **ids(envelope), error=type(error).__name__)
            return Verdict(pause(message.metadata.num_delivered))
        log.error("message.failed", type=envelope.type, **ids(envelope), exc_info=error)
        try:
            attempts = await self._store.write(partial(self._failed, message, envelope, error))
        except Exception:
            log.exception("message.not_given_up", **ids(envelope))
            return Verdict(pause(message.metadata.num_delivered))
        return Verdict.DONE if attempts is None else Verdict(pause(attempts))

    async def unreadable(self, message: Msg) -> None:
        """Give up what cannot be read."""
        await self._store.write(lambda tx: self._bury(tx, message, None, Hopeless(code="unreadable"), message.metadata.num_delivered))

    def _failed(self, message: Msg, envelope: Envelope, error: Exception, tx: Transaction) -> int | None:
        """How often the message was tried, or None if that was the last time."""
        attempts: int = self._count.first(tx.connection, message=envelope.id, now=now_ms()).attempts
        if attempts < MOST_ATTEMPTS and not isinstance(error, Hopeless):
            return attempts
        self._bury(tx, message, envelope, error if isinstance(error, Hopeless) else Hopeless(code="handler-failed"), attempts)
        return None

    def _bury(self, tx: Transaction, message: Msg, envelope: Envelope | None, why: Hopeless, attempts: int) -> None:
        original = envelope.id if envelope is not None else (message.headers or {}).get("Nats-Msg-Id", message.subject)
        letter = dead_letter(self._source, original, message.subject, message.data, reason=why.code, attempts=attempts, envelope=envelope)
        if tx.first_time(letter.id):
            self._give_up(Given(message.subject, letter, why.code, envelope), tx)
            tx.send(letter)


def dead_letter(
    source: str, original: MessageId, subject: str, body: bytes, *, reason: Code, attempts: int, envelope: Envelope | None = None
) -> Envelope:
    """A copy of a message that was given up, with the reason, as it goes to DEAD."""
    letter = DeadLetter(reason=reason, attempts=attempts, stream_subject=subject, body=base64.b64encode(body[:MOST_BODY]).decode())
    message_id = derived_message_id(original, "dead", 0)
    context = Context.new(SYSTEM) if envelope is None else envelope.context
    return Envelope.wrap(letter, context, source=source, message_id=message_id, causation=None if envelope is None else envelope.id)
