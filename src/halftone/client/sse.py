"""Server-sent events (WHATWG HTML, 9.2.6), as far as a job's story uses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream."""

    name: str
    data: str
    id: str | None = None


class EventParser:
    """Cuts a stream of bytes into events, however the bytes are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[str, str] = {}
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """The events that a chunk completes."""
        # A lone CR at the end may be the first half of CRLF: it waits for what follows.
        text = self._rest + chunk
        held = text.endswith(b"\r")
        lines = (text[:-1] if held else text).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + (b"\r" if held else b"")
        for line in lines:
            if event := self._take(line.decode(errors="replace")):
                yield event

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name in {"event", "id"}:
            self._fields[name] = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, fields = self._data, self._fields
        self._data, self._fields = [], {}
        return ServerEvent(fields.get("event", "message"), "\n".join(data), fields.get("id")) if data else None
