"""What an administrator has named. Addresses and credentials stay in the settings and in the process that uses them: nothing shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from contracts.jobs import Fetch
from infra.sources.errors import SourceUnknown

T = TypeVar("T")

DATABASES = frozenset({"postgresql", "sqlite"})
STORES = ("s3://", "file:///")


class _Named(BaseModel):
    # What is refused is not quoted either: it may be a password with a blank in it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Store(_Named):
    """A part of an object store."""

    url: str = Field(repr=False, description="below which keys lie, such as s3://bucket/people or file:///data/people")
    options: dict[str, str] = Field(default={}, repr=False, description="of the store: aws_region, aws_access_key_id, aws_endpoint, ...")

    @field_validator("url")
    @classmethod
    def _known(cls, given: str) -> str:
        if not given.startswith(STORES) or "?" in given or "#" in given:
            raise ValueError("must begin with s3:// or file:///, and hold nothing but a place")
        return given

    @property
    def directory(self) -> Path | None:
        """The directory that it is, symbolic links followed; None for a store behind a network."""
        return Path(self.url.removeprefix("file://")).resolve() if self.url.startswith("file:///") else None


def _database(given: str) -> str:
    from sqlalchemy.engine import make_url  # noqa: PLC0415  # most settings name none
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(given)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):
        # The message of the library quotes the address.
        raise ValueError("must be the URL of a database, such as postgresql://user:password@host/name") from None
    if backend not in DATABASES:
        raise ValueError("must begin with postgresql:// or sqlite:////")
    if backend == "sqlite" and not Path(url.database or "").is_absolute():
        raise ValueError("must name a SQLite file by its absolute path: sqlite:////data/people.db")
    return given


def _json(given: Any) -> Any:
    """An environment variable holds the mapping as JSON."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError:
        raise ValueError('must be a JSON object of names, such as {"crm": "postgresql://user:password@host/name"}') from None


def _store(given: Any) -> Any:
    return {"url": given} if isinstance(given, str) else given


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""What a source is called: shown to whoever may use it."""
SqlSources = Annotated[dict[Name, Annotated[str, BeforeValidator(_database)]], BeforeValidator(_json)]
StoreSources = Annotated[dict[Name, Annotated[Store, BeforeValidator(_store)]], BeforeValidator(_json)]


class Sources(_Named):
    """Every source that there is."""

    sql: SqlSources = Field(default={}, repr=False)
    stores: StoreSources = Field(default={}, repr=False)
    seconds: int = Field(description="that a query may take, its rows read")

    def database(self, name: str) -> str:
        """The address of a database. Raises SourceUnknown."""
        return _found("database", name, self.sql)

    def store(self, name: str) -> Store:
        """An object store. Raises SourceUnknown."""
        return _found("object store", name, self.stores)


def _found(what: str, name: str, named: Mapping[str, T]) -> T:
    try:
        return named[name]
    except KeyError:
        known = f"there are {', '.join(sorted(named))}" if named else "none is named in the settings"
        raise SourceUnknown(f"No {what} is called {name[:80]!r}: {known}.", known=sorted(named)) from None


class AskedQuery(_Named):
    """Rows that a query gives. Kept as an object: no text of a client's crosses the bus."""

    sql: str
    query: str


class AskedKey(_Named):
    """A file that a store holds."""

    store: str
    key: str


FETCHED: dict[Fetch, type[AskedQuery | AskedKey]] = {Fetch.SQL: AskedQuery, Fetch.STORE: AskedKey}
"""What the source object of a job that fetches holds."""
