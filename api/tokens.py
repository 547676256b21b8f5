"""Tokens: given out, known again, revoked. Of each a hash is kept; the token itself is shown once.

A token is 256 random bits, so nothing slow is needed to guard its hash: there is no dictionary to go through. The hash is BLAKE2b
(RFC 7693) under a key of the home's own, kept apart from the database: whoever holds a copy of the table alone cannot even tell whether a
token that they have is in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from api.gateway import Gateway
from api.holding import Hold, Opened
from api.policy import Principal, Role
from api.present import moment
from api.problems import NotFound, TokenExpired, TokenRevoked, TokenWrong
from contracts import events
from contracts.envelope import Context
from contracts.ids import ADMINISTRATOR, TokenId, new_id
from contracts.views import TokenView
from infra.database.readers import Readers
from infra.database.store import Store, Transaction, now_ms

PREFIX = "ht_"
FOLLOW_SECONDS = 1.0
"""Within so long every edge knows that a token was revoked at another."""


@dataclass(frozen=True)
class _Known:
    """What a token opens, and until when (ms since 1970)."""

    principal: Principal
    expires: int | None = None
    revoked: bool = False


class Tokens:
    """The edge's table of tokens, and in memory what each request is asked for. The administrator's own is a setting: it is in no table."""

    def __init__(self, store: Store, readers: Readers, gateway: Gateway, key: bytes, admin_token: str, *, opened: Opened) -> None:
        self._table, self._readers, self._gateway = store.metadata.tables["tokens"], readers, gateway
        self._key, self._opened = key, opened
        self._administrator = self._digest(admin_token)
        self._known: dict[bytes, _Known] = {}
        self._seen: tuple[int, ...] = ()

    async def open(self) -> None:
        """Read the table."""
        for row in await self._rows():
            self._known[row.digest] = _known(row)
        self._known[self._administrator] = _Known(Principal(ADMINISTRATOR, Role.ADMINISTRATOR))

    async def follow(self) -> None:
        """See for ever what other edges give out and revoke."""
        t = self._table
        state = select(func.count(t.c.token), func.count(t.c.revoked_at))
        while True:
            found = await self._readers.first(state)
            seen = () if found is None else tuple(found)
            if seen != self._seen:
                await self.open()
                self._seen = seen
            await asyncio.sleep(FOLLOW_SECONDS)

    async def admit(self, token: str, kind: Hold | None) -> Principal:
        """Whose token it is; its request is held to how many there may be, and ends when the token does.

        Raises TokenWrong, TokenRevoked, TokenExpired or TooMany.
        """
        # Found by its hash: how long that takes says nothing of any token to who does not hold the key.
        digest = self._digest(token)
        known = self._known.get(digest) or await self._given_out_elsewhere(digest)
        if known.revoked:
            raise TokenRevoked
        if known.expires is not None and known.expires <= time.time() * 1000:
            raise TokenExpired(f"The token expired on {moment(known.expires)}: ask for another.")
        self._opened.admit(digest, kind, known.expires)
        return known.principal

    def holder(self, token: str) -> Principal | None:
        """Whose token it is or was, also where it opens nothing any more."""
        known = self._known.get(self._digest(token))
        return None if known is None else known.principal

    async def _given_out_elsewhere(self, digest: bytes) -> _Known:
        """A token that another edge has given out a moment ago. Raises TokenWrong."""
        row = await self._readers.first(select(self._table).where(self._table.c.digest == digest))
        if row is None:
            raise TokenWrong
        known = self._known[digest] = _known(row)
        return known

    async def issue(self, name: str, role: Role, expires: int | None, context: Context) -> tuple[TokenView, str]:
        """Give out a token: what is known of it, and the token, which nobody can ask for again."""
        token = PREFIX + secrets.token_urlsafe(32)
        row = {
            "token": new_id("tok"),
            "name": name,
            "role": role.value,
            "digest": self._digest(token),
            "holder": new_id("prn"),
            "issued_by": context.principal,
            "issued_at": now_ms(),
            "expires_at": expires,
        }
        event = events.TokenIssued(token=row["token"], holder=row["holder"], role=role.value)
        await self._gateway.tell((event,), context, also=lambda tx: _add(tx, row))
        issued = await self._row(str(row["token"]))
        self._known[issued.digest] = _known(issued)
        return _view(issued), token

    async def revoke(self, token: TokenId, context: Context) -> None:
        """Have a token open nothing any more, and end what it has open. Doing it again changes nothing. Raises NotFound."""
        held = await self._row(token)
        self._known[held.digest] = _Known(_known(held).principal, revoked=True)
        self._opened.end(held.digest, TokenRevoked())
        if held.revoked_at is None:
            # Also while the broker is away: a token that leaked cannot wait for it.
            await self._gateway.tell((events.TokenRevoked(token=token),), context, also=lambda tx: _revoke(tx, token), bus=False)

    async def all(self) -> list[TokenView]:
        """Every token that was ever given out, the newest first."""
        return [_view(row) for row in await self._rows()]

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode(), key=self._key, digest_size=32).digest()

    async def _row(self, token: TokenId) -> Row[Any]:
        found = next((row for row in await self._rows() if row.token == token), None)
        if found is None:
            raise NotFound.of("token", token)
        return found

    async def _rows(self) -> list[Row[Any]]:
        t = self._table
        return list(await self._readers.all(select(t).order_by(t.c.issued_at.desc(), t.c.token.desc())))


def _add(tx: Transaction, row: dict[str, Any]) -> None:
    tx.connection.execute(insert(tx.tables["tokens"]).values(**row))


def _revoke(tx: Transaction, token: TokenId) -> None:
    t = tx.tables["tokens"]
    tx.connection.execute(update(t).where((t.c.token == token) & t.c.revoked_at.is_(None)).values(revoked_at=now_ms()))


def _known(row: Row[Any]) -> _Known:
    return _Known(Principal(row.holder, Role(row.role)), row.expires_at, row.revoked_at is not None)


def _view(row: Row[Any]) -> TokenView:
    return TokenView(
        id=row.token,
        name=row.name,
        role=row.role,
        holder=row.holder,
        issued_by=row.issued_by,
        created=moment(row.issued_at),
        expires=None if row.expires_at is None else moment(row.expires_at),
        revoked=None if row.revoked_at is None else moment(row.revoked_at),
    )
