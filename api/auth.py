"""Who asks: a bearer token becomes a principal, and the policy is asked, before a handler or a body is looked at."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from api.denied import Denied
from api.holding import HOLDS, Hold
from api.policy import Principal, Resource, Verb, allowed
from api.problems import Forbidden, TokenExpired, TokenMissing, TokenRevoked, TokenWrong
from api.tokens import Tokens

OPEN = "open"
"""Route option: anybody may ask."""
VERB = "verb"
"""Route option: what the route does. A route with neither option is closed to everybody."""


class Gate:
    """The guard of every route."""

    def __init__(self, tokens: Tokens, denied: Denied) -> None:
        self._tokens, self._denied = tokens, denied

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let through who may. Raises TokenMissing, TokenWrong, TokenRevoked, TokenExpired, TooMany or Forbidden."""
        if handler.opt.get(OPEN):
            return
        try:
            principal = self._authenticated(connection.headers.get("authorization"), handler.opt.get(HOLDS))
        except (TokenMissing, TokenWrong, TokenRevoked, TokenExpired):
            self._denied.note(connection.client.host if connection.client is not None else "unknown")
            raise
        connection.scope["user"] = principal
        verb = handler.opt.get(VERB)
        if verb is None:
            raise Forbidden
        require(principal, verb, _resource(connection, verb))

    def _authenticated(self, header: str | None, kind: Hold | None) -> Principal:
        if not header:
            raise TokenMissing
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenMissing
        return self._tokens.admit(token.strip(), kind)


def require(principal: Principal, verb: Verb, resource: Resource) -> None:
    """Ask the policy. Raises Forbidden, naming the right that is missing."""
    if not allowed(principal, verb, resource):
        raise Forbidden(f"The token does not hold the right {verb!s}.", right=str(verb))


def _resource(connection: ASGIConnection[Any, Any, Any, Any], verb: Verb) -> Resource:
    ids = [str(value) for value in connection.path_params.values()]
    return Resource(verb.partition(".")[0], ids[0] if ids else None)
