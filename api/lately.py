"""What was seen a moment ago, and is likely to be asked for next."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")
KEPT = 4096


class Lately(Generic[V]):
    """The latest values by key; of too many, the one that was put longest ago goes."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        return self._values.get(key)

    def put(self, key: str, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > KEPT:
            self._values.popitem(last=False)

    def clear(self) -> None:
        self._values.clear()
