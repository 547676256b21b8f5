"""Who asks: a bearer token becomes a principal, and the policy is asked, before a handler or a body is looked at."""

from __future__ import annotations

from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from api.denied import Denied
from api.holding import HOLDS, Hold
from api.policy import Principal, Resource, Verb, allowed
from api.problems import Forbidden, TokenExpired, TokenMissing, TokenRevoked, TokenWrong
from api.recording import ADDRESS, SHOWN, Recorder, shows
from api.tokens import Tokens
from contracts.envelope import Context

OPEN = "open"
"""Route option: anybody may ask."""
VERB = "verb"
"""Route option: what the route does. A route with neither option is closed to everybody."""


class Gate:
    """The guard of every route."""

    def __init__(self, tokens: Tokens, denied: Denied, recorder: Recorder) -> None:
        self._tokens, self._denied, self._recorder = tokens, denied, recorder

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let through who may. Raises TokenMissing, TokenWrong, TokenRevoked, TokenExpired, TooMany or Forbidden."""
        if handler.opt.get(OPEN):
            return
        host = connection.client.host if connection.client is not None else "unknown"
        header, scope = connection.headers.get("authorization"), cast("dict[str, Any]", connection.scope)
        scope[ADDRESS] = self._recorder.address(host)
        try:
            principal = await self._authenticated(header, handler.opt.get(HOLDS))
        except (TokenMissing, TokenWrong, TokenRevoked, TokenExpired) as error:
            self._denied.note(host)
            holder = self._tokens.holder(header.partition(" ")[2].strip()) if header else None
            if holder is not None:
                await self._recorder.refused(Context.new(holder.id, address=scope[ADDRESS]), error.code)
            raise
        scope["user"] = principal
        SHOWN.set([])
        verb = handler.opt.get(VERB)
        if verb is None:
            raise Forbidden
        (require_raw if verb is Verb.RAW_READ else require)(principal, verb, _resource(connection, verb))

    async def _authenticated(self, header: str | None, kind: Hold | None) -> Principal:
        if not header:
            raise TokenMissing
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenMissing
        return await self._tokens.admit(token.strip(), kind)


def require(principal: Principal, verb: Verb, resource: Resource) -> None:
    """Ask the policy. Raises Forbidden, naming the right that is missing."""
    if not allowed(principal, verb, resource):
        raise Forbidden(f"The token does not hold the right {verb!s}.", right=str(verb))


def require_raw(principal: Principal, verb: Verb, resource: Resource) -> None:
    """Ask for the right to raw data, of which the answer shows some: that it does is entered into the log. Raises Forbidden."""
    require(principal, verb, resource)
    shows(resource)


def _resource(connection: ASGIConnection[Any, Any, Any, Any], verb: Verb) -> Resource:
    ids = [str(value) for value in connection.path_params.values()]
    return Resource(verb.partition(".")[0], ids[0] if ids else None)
