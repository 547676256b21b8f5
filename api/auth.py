"""Who asks: a bearer token becomes a principal, and the policy is asked, before a handler or a body is looked at."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from api.policy import Principal, Resource, Role, Verb, allowed
from api.problems import Forbidden, TokenMissing, TokenWrong
from contracts.ids import ADMINISTRATOR

OPEN = "open"
"""Route option: anybody may ask."""
VERB = "verb"
"""Route option: what the route does. A route with neither option is closed to everybody."""


class Tokens:
    """The tokens that are known, by their SHA-256: who reads this process's memory or core finds no token of the table."""

    def __init__(self, admin_token: str) -> None:
        self._known = [(_digest(admin_token), Principal(ADMINISTRATOR, Role.ADMINISTRATOR))]

    def principal(self, token: str) -> Principal | None:
        """Whose token it is. Every known one is compared, in constant time."""
        digest = _digest(token)
        found = None
        for known, principal in self._known:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Gate:
    """The guard of every route."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let through who may. Raises TokenMissing, TokenWrong or Forbidden."""
        if handler.opt.get(OPEN):
            return
        principal = self._authenticated(connection.headers.get("authorization"))
        connection.scope["user"] = principal
        verb = handler.opt.get(VERB)
        if verb is None:
            raise Forbidden
        require(principal, verb, _resource(connection, verb))

    def _authenticated(self, header: str | None) -> Principal:
        if not header:
            raise TokenMissing
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenMissing
        principal = self._tokens.principal(token.strip())
        if principal is None:
            raise TokenWrong
        return principal


def require(principal: Principal, verb: Verb, resource: Resource) -> None:
    """Ask the policy. Raises Forbidden, naming the right that is missing."""
    if not allowed(principal, verb, resource):
        raise Forbidden(f"The token does not hold the right {verb!s}.", right=str(verb))


def _resource(connection: ASGIConnection[Any, Any, Any, Any], verb: Verb) -> Resource:
    ids = [str(value) for value in connection.path_params.values()]
    return Resource(verb.partition(".")[0], ids[0] if ids else None)
