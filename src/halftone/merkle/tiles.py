"""A log as static files (C2SP tlog-tiles): the checkpoint, tiles of up to 256 hashes, and bundles of the entries under them.

A tile of level L holds nodes of tree level 8·L. Only the last of a level may be partial; its path then names its width.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from halftone.merkle.errors import ProofError
from halftone.merkle.tree import Get

WIDTH = 256
"""Hashes of a full tile, and entries of a full bundle."""
HEIGHT = 8
"""Levels of the tree from one level of tiles to the next."""
MOST_ENTRY_BYTES = 0xFFFF
"""Longest entry that a bundle can hold: its length is written in two bytes."""
ENTRIES = "entries"
_PATH = re.compile(r"(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile: hashes of one level, or, without a level, a bundle of entries."""

    level: int | None
    index: int
    #: Hashes or entries in it, 1 to 256.
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Below ``tile/``: level or ``entries``, the index in groups of three digits, the width of a partial one."""
        groups = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        part = "" if self.width == WIDTH else f".p/{self.width}"
        return f"{ENTRIES if self.level is None else self.level}/{'/'.join(groups)}{part}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read what stands behind ``tile/``.

        Raises:
            ProofError: it is no path of a tile, or not the one way to write it.

        """
        match = _PATH.fullmatch(path)
        if match is not None:
            level = None if match[1] == ENTRIES else int(match[1])
            tile = cls(level, int(match[2].replace("/", "").replace("x", "")), int(match[3] or WIDTH))
            if tile.path == path:
                return tile
        raise ProofError("A tile is <level>/<index> or entries/<index>, the index in groups of three digits, and .p/<width> if partial.")

    @property
    def start(self) -> int:
        """The first entry under it."""
        return self.index * self.span

    @property
    def end(self) -> int:
        """The entry after the last one under it."""
        return self.start + self.width * (self.span // WIDTH)

    @property
    def span(self) -> int:
        """Entries under a full one."""
        return int(WIDTH << HEIGHT * (self.level or 0))

    def nodes(self) -> Iterator[tuple[int, int]]:
        """Level and index, in the tree, of the hashes that it holds."""
        first = self.index * WIDTH
        return ((HEIGHT * (self.level or 0), index) for index in range(first, first + self.width))


def hash_tile(tile: Tile, get: Get) -> bytes:
    """The content of a tile of hashes."""
    return b"".join(get(level, index) for level, index in tile.nodes())


def entry_bundle(entries: Iterable[bytes]) -> bytes:
    """The content of a bundle: each entry after its length in two bytes.

    Raises:
        ProofError: an entry is too long for that.

    """
    parts = []
    for entry in entries:
        if len(entry) > MOST_ENTRY_BYTES:
            raise ProofError(f"An entry of {len(entry)} bytes does not fit into a bundle, which holds {MOST_ENTRY_BYTES}.")
        parts += [len(entry).to_bytes(2, "big"), entry]
    return b"".join(parts)


def tiles(size: int) -> Iterator[Tile]:
    """Every tile of a log of this size: the bundles of entries, then the hashes from the leaves up."""
    for level in (None, *range(64 // HEIGHT)):
        count = size >> HEIGHT * (level or 0)
        if not count:
            return
        full, rest = divmod(count, WIDTH)
        yield from (Tile(level, index) for index in range(full))
        if rest:
            yield Tile(level, full, rest)
