"""Dead letters: messages that were given up. An operator looks at them, has their jobs done anew, or discards them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Annotated

from litestar import Response, Router, get, post
from litestar.params import PathParameter, QueryParameter

from api.auth import VERB, require
from api.edge import CATCH_UP, Edge
from api.policy import Resource, Verb
from api.problems import Conflict, NotFound
from api.v1 import retries
from api.v1.answers import Accepted
from api.v1.jobs import accepted
from api.v1.parameters import Asked, Cursor, Limit, MinSequence, TheEdge, bad_cursor, context
from contracts.envelope import Envelope
from contracts.events import LetterSettled, Settlement
from contracts.ids import MessageId, derived_message_id
from contracts.views import DeadLetterView, Page
from infra.database.store import Transaction

REPLAY, DISCARD = ":replay", ":discard"


class NotReplayable(Conflict):
    """Only a letter about a job can be replayed, and only while nobody has settled it."""

    code = "not-replayable"


@get("/", operation_id="listDeadLetters", summary="List dead letters, the newest first", opt={VERB: Verb.DEAD_READ})
async def list_letters(
    edge: TheEdge,
    settled: Annotated[bool | None, QueryParameter(description="true: only those that were settled; false: only those that wait")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    min_seq: MinSequence = None,
) -> Page[DeadLetterView]:
    """Messages that were given up, without the messages themselves."""
    if cursor is not None and not _is_message(cursor):
        raise bad_cursor(cursor)
    await edge.reached(min_seq)
    return await edge.views.letters(settled=settled, after=cursor, limit=limit)


LetterPath = Annotated[str, PathParameter(description="id of the dead letter")]


@get("/{letter:str}", operation_id="getDeadLetter", summary="Look at a dead letter", opt={VERB: Verb.DEAD_READ})
async def read(letter: LetterPath, edge: TheEdge) -> DeadLetterView:
    """The letter with the message that was given up."""
    return await _found(edge, letter)


@post(
    "/{target:str}",
    status_code=200,
    operation_id="settleDeadLetter",
    summary="Settle a dead letter: POST /v1/dead-letters/{id}:replay, POST /v1/dead-letters/{id}:discard",
    opt={VERB: Verb.DEAD_SETTLE},
)
async def settle(
    target: Annotated[str, PathParameter(description="id of the dead letter, and ':replay' or ':discard'")], request: Asked, edge: TheEdge
) -> Response[Accepted | DeadLetterView]:
    """``:replay`` asks for a new job of the same specification, which names the one that failed; 409 where that cannot be.

    ``:discard`` says that nothing is to be done. The letter stays listed, as settled; asking again changes nothing.
    """
    name, colon, verb = target.rpartition(":")
    if colon + verb not in {REPLAY, DISCARD}:
        raise NotFound(f"A dead letter takes '{REPLAY}' and '{DISCARD}' and nothing else: POST /v1/dead-letters/{{id}}{REPLAY}.")
    letter = await _found(edge, name)
    if colon + verb == REPLAY:
        return Response(await _replay(edge, letter, request), status_code=202)
    if letter.settled is None:
        event = LetterSettled(letter=letter.id, how=Settlement.DISCARDED)
        await edge.gateway.send(event, context(request), _settling(letter.id))
        letter = await edge.until(lambda: _settled(edge, letter.id), CATCH_UP) or letter
    return Response(letter)


async def _replay(edge: Edge, letter: DeadLetterView, request: Asked) -> Accepted:
    require(request.user, Verb.JOB_CREATE, Resource("job", letter.job))
    if letter.job is None:
        raise NotReplayable("The letter is about no job: there is nothing to do anew. Discard it.", id=letter.id)
    if letter.settled is not None:
        raise NotReplayable(f"The letter was {letter.settled} before.", id=letter.id, job=letter.replayed_as)
    view = await edge.job(letter.job)
    made = context(request, view.project)
    order = await retries.again(edge, view, made, request.user)
    told = LetterSettled(letter=letter.id, how=Settlement.REPLAYED, job=order.job)
    event = Envelope.wrap(told, made, source=edge.runtime.source, message_id=_settling(letter.id))

    def also(tx: Transaction) -> None:
        if tx.has_sent(event.id):
            raise NotReplayable("The letter was settled a moment ago.", id=letter.id)
        if order.also is not None:
            order.also(tx)
        tx.send(event)

    return accepted(await edge.gateway.accept(replace(order, also=also), made))


def _settling(letter: MessageId) -> MessageId:
    """The id of the event that settles a letter: one for every way to do so."""
    return derived_message_id(letter, "settled", 0)


async def _settled(edge: Edge, letter: MessageId) -> DeadLetterView | None:
    view = await edge.views.letter(letter)
    return view if view is not None and view.settled is not None else None


async def _found(edge: Edge, name: str) -> DeadLetterView:
    view = await edge.views.letter(name) if _is_message(name) else None
    if view is None:
        raise NotFound.of("dead letter", name)
    return view


def _is_message(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


router = Router("/dead-letters", route_handlers=[list_letters, read, settle], tags=["dead letters"])
