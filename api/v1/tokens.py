"""Tokens: given out under a role, listed, revoked."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, SkipValidation
from pydantic import AwareDatetime, Field, field_validator
from pydantic_core import PydanticCustomError

from api.auth import VERB
from api.bodies import json_body
from api.policy import Role, Verb
from api.tokens import Tokens
from api.v1.bodies import Body, OneLine
from api.v1.parameters import Asked, context
from contracts.views import Page, TokenView

TheTokens = NamedDependency[SkipValidation[Tokens]]


class TokenBody(Body):
    """A token to be given out."""

    name: OneLine = Field(description="what it is called, one line: whose it is, or what it is for")
    role: Role = Field(description="what it may do: administrator, curator or reader")
    expires: Annotated[AwareDatetime, Field(strict=True)] | None = Field(
        default=None, description="when it stops opening anything, RFC 3339; absent: when it is revoked"
    )

    @field_validator("expires")
    @classmethod
    def _to_come(cls, expires: dt.datetime | None) -> dt.datetime | None:
        if expires is not None and expires <= dt.datetime.now(dt.UTC):
            raise PydanticCustomError("expires", "must be a time to come")
        return expires


class IssuedToken(TokenView):
    """A token that was given out just now, with the token itself: it is shown this once."""

    token: str = Field(description="the token: give it as 'Authorization: Bearer <token>'")


@post(
    "/",
    dto=json_body(TokenBody, {"role": "one of administrator, curator, reader"}),
    return_dto=None,
    operation_id="createToken",
    summary="Give out a token",
    opt={VERB: Verb.TOKEN_MANAGE},
)
async def create(data: JSONBody[TokenBody], request: Asked, tokens: TheTokens) -> Response[IssuedToken]:
    """The answer shows the token, once: only its hash is kept. Who holds it acts as a principal of its own, under the role."""
    expires = None if data.expires is None else int(data.expires.timestamp() * 1000)
    view, token = await tokens.issue(data.name, data.role, expires, context(request))
    headers = {"Location": f"/v1/tokens/{view.id}", "Cache-Control": "no-store"}
    return Response(IssuedToken(**view.model_dump(), token=token), headers=headers)


@get("/", operation_id="listTokens", summary="List tokens, the newest first", opt={VERB: Verb.TOKEN_MANAGE})
async def list_tokens(tokens: TheTokens) -> Page[TokenView]:
    """Every token that was given out here, also those that were revoked: jobs and the log go on naming their holders.

    The administrator's own token is a setting, and not listed.
    """
    return Page[TokenView](items=tuple(await tokens.all()))


@delete("/{token:str}", operation_id="revokeToken", summary="Revoke a token", opt={VERB: Verb.TOKEN_MANAGE})
async def revoke(token: Annotated[str, PathParameter(description="id of the token")], request: Asked, tokens: TheTokens) -> None:
    """From the next request on it opens nothing. Revoking it again changes nothing."""
    await tokens.revoke(token, context(request))


router = Router("/tokens", route_handlers=[create, list_tokens, revoke], tags=["tokens"])
