"""What a column of text can be: the narrowest type that every value of the whole file has.

All tests run on whole blocks. A column that is empty so far, or that fits nothing, is text. Never guessed: ``007`` and numbers that a
64-bit integer or a double cannot hold exactly stay text; so does anything but ISO 8601 for dates and times, since 02/03/2024 is two days.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from contracts.schema import ColumnType
from halftone.tables.written import canonical, leading_zero

EXACT = 2**53
"""Whole numbers below survive as doubles; from here on two of them may become one."""
_FINE_FROM, _FINE_TO = 1678, 2262
_DIGITS = r"^[+-]?[0-9]+$"
_INFINITY = r"^(?i:[+-]?inf(inity)?)$"
_TIME = r"^[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?$"


Parse = Callable[[pa.Array], pa.Array | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type that text may be read as."""

    type: ColumnType
    arrow: pa.DataType
    parse: Parse
    """Read a text array, or give None if a value in it is not of this type; missing values are of any."""
    hint: re.Pattern[str]
    """How any value of the type begins: one value tells most types apart, at a fraction of what a failed attempt costs."""


def _cast(arrow: pa.DataType) -> Parse:
    def parse(text: pa.Array) -> pa.Array | None:
        try:
            return pc.cast(text, arrow)
        except pa.ArrowInvalid:
            return None

    return parse


_whole, _double, _truth, _moment = _cast(pa.int64()), _cast(pa.float64()), _cast(pa.bool_()), _cast(pa.timestamp("us"))


def _true(flags: pa.Array) -> bool:
    """Whether any flag is set; a missing one is not."""
    return bool(pc.any(flags).as_py())


def _all(flags: pa.Array) -> bool:
    """Whether every flag is set; a missing one does not count."""
    return pc.all(flags).as_py() is not False


def _integer(text: pa.Array) -> pa.Array | None:
    """Written the way we would write it: that rules out 007, -0 and 0x1F, which the cast alone lets through."""
    numbers = _whole(text)
    return numbers if numbers is not None and canonical(text, numbers) else None


def _number(text: pa.Array) -> pa.Array | None:
    numbers = _double(text)
    if numbers is None or _true(pc.is_nan(numbers)) or leading_zero(text):
        return None
    large = pc.greater_equal(pc.abs(numbers), EXACT)
    if _true(large):
        rounded = pc.match_substring_regex(text.filter(large), _DIGITS)
        infinite = pc.match_substring_regex(text.filter(pc.is_inf(numbers)), _INFINITY)
        if _true(rounded) or not _all(infinite):
            return None
    return numbers


def _boolean(text: pa.Array) -> pa.Array | None:
    # Shorter ones, which the cast takes for truths too, are 0 and 1.
    shortest = pc.min(pc.binary_length(text)).as_py()
    return None if shortest is not None and shortest < len("true") else _truth(text)


def _time(text: pa.Array) -> pa.Array | None:
    if not _all(pc.match_substring_regex(text, _TIME)):
        return None
    moments = _moment(pc.binary_join_element_wise("1970-01-01", text, "T"))
    return None if moments is None else pc.cast(moments, pa.time64("us"))


def _kind(type_: ColumnType, arrow: pa.DataType, hint: str, parse: Parse | None = None) -> Kind:
    return Kind(type_, arrow, parse or _cast(arrow), re.compile(hint))


_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
INTEGER = _kind(ColumnType.INTEGER, pa.int64(), r"-?[0-9]", _integer)
NUMBER = _kind(ColumnType.NUMBER, pa.float64(), r"[+-]?([0-9.]|(?i:inf))", _number)
BOOLEAN = _kind(ColumnType.BOOLEAN, pa.bool_(), r"(?i:true|false)", _boolean)
DATE = _kind(ColumnType.DATE, pa.date32(), _DAY)
DATETIME = _kind(ColumnType.DATETIME, pa.timestamp("us"), _DAY)
DATETIME_FINE = _kind(ColumnType.DATETIME, pa.timestamp("ns"), _DAY)
DATETIME_ZONED = _kind(ColumnType.DATETIME, pa.timestamp("us", "UTC"), _DAY)
TIME = _kind(ColumnType.TIME, pa.time64("us"), r"[0-9]{2}:", _time)
TEXT = _kind(ColumnType.TEXT, pa.string(), "", lambda text: text)

KINDS = (INTEGER, NUMBER, BOOLEAN, DATE, DATETIME, DATETIME_FINE, DATETIME_ZONED, TIME)
"""From narrow to wide: the first that fits is the column's."""
NUMERIC = (INTEGER, NUMBER)
TEMPORAL = (DATE, DATETIME, DATETIME_FINE, DATETIME_ZONED, TIME)


class Narrowing:
    """What one column can still be, given all of it that was seen."""

    def __init__(self, kinds: tuple[Kind, ...] = KINDS) -> None:
        self._left = kinds
        self._seen = False
        self._padded = False  # blanks around a value have to be taken off to read it

    @property
    def kind(self) -> Kind:
        """The narrowest type that everything seen so far has."""
        return self._left[0] if self._seen and self._left else TEXT

    @property
    def settled(self) -> bool:
        """Whether the column is text, whatever comes."""
        return not self._left

    def see(self, text: pa.Array) -> pa.Array:
        """Look at the next block of the column, and read it as the type that is then left."""
        if not self._left or text.null_count == len(text):
            return self.read(text)
        self._seen = True
        found = self._among(self._trimmed(text))
        if not found and not self._padded:
            found = self._among(pc.ascii_trim_whitespace(text))
            self._padded = bool(found)
        self._left = tuple(found)
        return next(iter(found.values()), text)

    def limit(self, kinds: tuple[Kind, ...]) -> None:
        """Take note of a block that was read already, and of the types that it leaves."""
        self._seen = True
        self._left = tuple(kind for kind in self._left if kind in kinds)

    def read(self, text: pa.Array) -> pa.Array:
        """Read a block that was seen before."""
        return self.kind.parse(text if self.kind is TEXT else self._trimmed(text))

    def _trimmed(self, text: pa.Array) -> pa.Array:
        return pc.ascii_trim_whitespace(text) if self._padded else text

    def _among(self, text: pa.Array) -> dict[Kind, pa.Array | None]:
        """The kinds that fit, each with what it reads; None where a narrower one fits, and so this one must."""
        found: dict[Kind, pa.Array | None] = {}
        first = text[pc.index(pc.is_valid(text), True).as_py()].as_py()
        for kind in self._left:
            if _implied(kind, found):
                found[kind] = None
            elif kind.hint.match(first) and (values := kind.parse(text)) is not None:
                found[kind] = values
        return found


def _implied(kind: Kind, found: dict[Kind, pa.Array | None]) -> bool:
    """Whether a narrower type that fits makes it certain that this one does."""
    if kind is NUMBER and INTEGER in found:
        ends = pc.min_max(found[INTEGER])
        return bool(ends["min"].as_py() > -EXACT and ends["max"].as_py() < EXACT)
    if kind is DATETIME_FINE and DATETIME in found:
        return _in_nanoseconds(found[DATE if DATE in found else DATETIME])
    return kind is DATETIME and DATE in found


def _in_nanoseconds(moments: pa.Array | None) -> bool:
    """Whether all lie within the years that 64 bits of nanoseconds can count."""
    ends = pc.min_max(moments)
    return bool(ends["min"].as_py().year >= _FINE_FROM and ends["max"].as_py().year < _FINE_TO)
