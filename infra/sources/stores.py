"""A file from an object store, copied to disk as it comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from infra.sources.errors import KeyTooLarge, KeyUnknown, SourceDenied, SourceUnreachable
from infra.sources.named import Store

CHUNK = 1 << 20
RETRIES = 2
_SECONDS = {"connect_timeout": "10s", "timeout": "600s"}


def download(store: Store, key: str, target: BinaryIO, *, most: int, home: Path) -> None:
    """Copy what a store holds under a key, which was seen to be one: nothing in it climbs.

    Raises KeyUnknown, KeyTooLarge, SourceDenied or SourceUnreachable. The store's own words are not passed on: they name its address.
    """
    from obstore import exceptions  # noqa: PLC0415  # a client of stores is loaded by whoever needs it
    from obstore.store import from_url  # noqa: PLC0415

    if store.directory is not None:
        key = _within(store.directory, key, home)
    try:
        opened = from_url(store.url, **_options(store))
        found = opened.get(key)
        if found.meta["size"] > most:
            raise _too_large(most)
        _copy(found.stream(min_chunk_size=CHUNK), target, most)
    except (FileNotFoundError, exceptions.NotFoundError):
        raise KeyUnknown(f"The store holds nothing under {key!r}.", parameter="source.key") from None
    except (PermissionError, exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
        raise SourceDenied from None
    except (exceptions.BaseError, OSError, ValueError):
        raise SourceUnreachable("The store does not answer: try the job again in a while, or ask whoever runs it.") from None


def _options(store: Store) -> dict[str, Any]:
    if store.directory is not None:
        return {}
    plain = any(name.endswith("endpoint") and value.startswith("http://") for name, value in store.options.items())
    client = {**_SECONDS, **({"allow_http": True} if plain else {})}
    return {"config": store.options, "client_options": client, "retry_config": {"max_retries": RETRIES}}


def _within(directory: Path, key: str, home: Path) -> str:
    """The key of the file itself, symbolic links followed. Raises KeyUnknown for what lies outside, and for what is no file."""
    path = (directory / key).resolve()
    if not path.is_relative_to(directory) or path.is_relative_to(home.resolve()) or not path.is_file():
        raise KeyUnknown(f"The store holds nothing under {key!r}.", parameter="source.key")
    return path.relative_to(directory).as_posix()


def _copy(chunks: Any, target: BinaryIO, most: int) -> None:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        target.write(chunk)


def _too_large(most: int) -> KeyTooLarge:
    detail = f"The file is larger than {most:,} bytes: put it there in parts, compressed, or have HALFTONE_MAX_UPLOAD_BYTES raised."
    return KeyTooLarge(detail, limit=most)
