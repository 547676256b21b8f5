"""What the edge itself enters into the log: who was shown raw data, who was refused what, and settings that changed.

A raw answer begins once its entry is on disk: what cannot be recorded is not shown. Addresses are told as hashes under a key of the
home's own (``address-key``): whoever holds it can find an address again, and once it is destroyed nobody can.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from sqlalchemy import delete, insert, select

from api.gateway import require_room
from api.policy import Resource, Verb
from api.problems import REFUSED
from contracts.base import Event
from contracts.envelope import Context, Envelope
from contracts.ids import SYSTEM, UNKNOWN, PrincipalId, new_id
from contracts.recorded import Outcome, RequestRecorded, SettingChange, SettingsChanged
from infra.database.store import Store, Transaction
from infra.home import Home, write_secret
from infra.settings import Settings

MOST_REFUSALS = 60
"""Refused requests of one principal within a minute that are entered one by one; what is over is counted, as one entry."""
MINUTE = 60.0
ADDRESS = "halftone.address"
"""Where a request keeps the hash of where it came from."""
SECRETS = frozenset({"admin_token", "signing_key"})
LEFT_OUT = frozenset({"signing_key"})
"""Settings of which the edge knows nothing."""
SHOWN: ContextVar[list[Resource] | None] = ContextVar("shown", default=None)
"""What raw data the request that is being answered is about to be shown."""
_ID = re.compile(r"[a-z]{2,3}_[0-9a-f]{32}")
_WORD = re.compile(r"[a-z0-9.+-]{1,64}")


def shows(resource: Resource) -> None:
    """Note that the answer shows raw data of something to somebody who may see it."""
    shown = SHOWN.get()
    if shown is not None and resource not in shown:
        shown.append(resource)


class Recorder:
    """Enters requests into the log, by way of the outbox: also while the broker is away."""

    def __init__(self, store: Store, home: Home, source: str = "/edge") -> None:
        self._store, self._source = store, source
        self._key = address_key(home)
        self._minute = 0
        self._refusals: Counter[PrincipalId] = Counter()

    def address(self, host: str) -> str:
        """How the log tells an address."""
        return hashlib.blake2b(host.encode(), key=self._key, digest_size=16).hexdigest()

    async def shown(self, context: Context, resources: list[Resource]) -> None:
        """Enter who is shown what, before it is. Raises BacklogFull: then it must not be shown."""
        events = [_event(Outcome.ALLOWED, Verb.RAW_READ, each.id) for each in resources]
        await self._enter(context, events, room=True)

    async def refused(self, context: Context, code: str, right: str | None = None, resource: str | None = None) -> None:
        """Enter what somebody known was refused; when that becomes too much, how much it was."""
        minute = int(time.monotonic() / MINUTE)
        if minute != self._minute:
            await self.count_refusals()
            self._minute = minute
        self._refusals[context.principal] += 1
        if self._refusals[context.principal] <= MOST_REFUSALS:
            await self._enter(context, [_event(Outcome.REFUSED, right, resource, code=code)])

    async def count_refusals(self) -> None:
        """Enter how many refusals were not entered one by one."""
        counted, self._refusals = self._refusals, Counter()
        for principal, count in counted.items():
            if count > MOST_REFUSALS:
                await self._enter(Context.new(principal), [_event(Outcome.REFUSED, None, None, count=count - MOST_REFUSALS)])

    async def denied(self, host: str, count: int) -> None:
        """Enter how often requests from an address had no valid token."""
        await self._enter(Context.new(UNKNOWN, address=self.address(host)), [_event(Outcome.DENIED, None, None, count=count)])

    async def settings(self, settings: Settings) -> None:
        """Enter which settings are others than when this was last done; at first, than the defaults."""
        now = {name: self._told(name, value) for name, value in settings.model_dump(mode="json").items() if name not in LEFT_OUT}

        def change(tx: Transaction) -> None:
            t = tx.tables["settings"]
            held = {row.name: SettingChange(name=row.name, value=row.value, hash=row.hash) for row in tx.connection.execute(select(t))}
            if not held:
                defaults = Settings().model_dump(mode="json")
                held = {name: self._told(name, defaults[name]) for name in now}
            changes = tuple(now[name] for name in sorted(now) if now[name] != held.get(name))
            tx.connection.execute(delete(t))
            tx.connection.execute(insert(t), [told.model_dump() for told in now.values()])
            if changes:
                tx.send(Envelope.wrap(SettingsChanged(changes=changes), Context.new(SYSTEM), source=self._source))

        await self._store.write(change)

    def _told(self, name: str, value: Any) -> SettingChange:
        """A setting as the log may tell it: numbers, switches and words as they are; paths, addresses and secrets as a hash."""
        text = "" if value is None else str(value)
        if isinstance(value, bool | int | float) or (isinstance(value, str) and name not in SECRETS and _WORD.fullmatch(text)):
            return SettingChange(name=name, value=text)
        return SettingChange(name=name, hash=self.address(f"{name}={text}") if text else None)

    async def _enter(self, context: Context, events: list[Event], *, room: bool = False) -> None:
        envelopes = [Envelope.wrap(event, context, source=self._source) for event in events]

        def change(tx: Transaction) -> None:
            if room:
                require_room(tx)
            tx.send(*envelopes)

        await self._store.write(change)


def _event(outcome: Outcome, right: str | None, resource: str | None, *, code: str | None = None, count: int = 1) -> Event:
    known = resource if resource is not None and _ID.fullmatch(resource) else None
    return RequestRecorded(request=new_id("req"), outcome=outcome, right=right, resource=known, code=code, count=count)


def address_key(home: Home) -> bytes:
    """The key under which addresses are hashed, 32 bytes: made once. Destroying it makes the hashes of the log mean nothing."""
    path = home.path / "address-key"
    if not path.exists():
        write_secret(path, secrets.token_hex(32) + "\n")
    return bytes.fromhex(path.read_text().strip())


class Sending:
    """Between a handler and its answer: what is to be entered is, before the first byte goes out."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def __call__(self, message: Mapping[str, Any], scope: Mapping[str, Any]) -> None:
        """Litestar's ``before_send``."""
        if message["type"] != "http.response.start":
            return
        shown, refused = SHOWN.get(), scope.get(REFUSED)
        principal = scope.get("user")
        if principal is None or not (shown or refused):
            return
        context = Context.new(principal.id, address=scope.get(ADDRESS))
        if refused:
            await self._recorder.refused(context, *refused)
        elif shown and message["status"] in {200, 206}:
            SHOWN.set(None)
            await self._recorder.shown(context, shown)
