"""Tokens: who else may come in, and as what. For administrators."""

from __future__ import annotations

import datetime as dt

from contracts.views import TokenView
from halftone.client.answers import IssuedToken
from halftone.client.faces import Awaiting, Blocking, Items, Part, iteration, operation
from halftone.client.flow import Flow, ask
from halftone.client.reading import pages, parsed
from halftone.client.request import Request


class _Tokens(Part):
    """Tokens, each by its id, which opens nothing."""

    @operation
    def issue(self, name: str, role: str, *, expires: dt.datetime | None = None) -> Flow[IssuedToken]:
        """Give out a token under a role: administrator, curator or reader. The answer holds the token, this once.

        ``expires`` is when it stops opening anything; without a zone it is in this machine's.
        """
        body = {"name": name, "role": role} | ({} if expires is None else {"expires": expires.astimezone().isoformat()})
        # Without a key to know a repetition by: sent again after a lost answer it makes a second token, which is listed and can be revoked.
        return parsed(IssuedToken, (yield from ask(self.core, Request("POST", "/v1/tokens", body=body))).json())

    @iteration
    def list(self, *, limit: int | None = None) -> Items[TokenView]:
        """Tokens that were given out, the newest first; revoked ones too, for what was done with them is still told."""
        return Items(pages(self.core, TokenView, "/v1/tokens", limit=limit))

    @operation
    def revoke(self, token: str | TokenView) -> Flow[None]:
        """Have a token open nothing any more, and end what it has open. Doing it again changes nothing."""
        name = token if isinstance(token, str) else token.id
        yield from ask(self.core, Request("DELETE", f"/v1/tokens/{name}"))


class Tokens(_Tokens, Blocking):
    """Tokens, in a program that blocks."""


class AsyncTokens(_Tokens, Awaiting):
    """Tokens, in a program that awaits."""
