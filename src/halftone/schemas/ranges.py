"""Ranges that are public because of what the values are, whatever a table holds of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.schema import ColumnType
from halftone.schemas.evidence import Evidence
from halftone.schemas.words import Hints


@dataclass(frozen=True)
class Meaning:
    """What numbers can be, and between which bounds they then lie; None where nobody can say."""

    semantic: str
    hints: Hints
    low: float | None
    high: float | None
    source: str
    whole: bool = False
    """Whether only whole numbers are meant."""


_CALENDAR = "standard: ISO 8601"
_EARTH = "standard: ISO 6709"
MEANINGS = (
    Meaning("age", Hints("age", "age years", "alter", "edad"), 0, 120, "convention: 0 to 120 (the greatest verified age is 122)"),
    Meaning("latitude", Hints("latitude", "lat"), -90, 90, _EARTH),
    Meaning("longitude", Hints("longitude", "lon", "lng", "long"), -180, 180, _EARTH),
    Meaning("probability", Hints("probability", "prob", "share", "fraction", "ratio"), 0, 1, "convention: a share of one"),
    Meaning("percentage", Hints("percent", "percentage", "pct", "prozent", "rate"), 0, 100, "convention: a share of a hundred"),
    Meaning("month", Hints("month", "mon", "monat", "mois", "mes"), 1, 12, _CALENDAR, whole=True),
    Meaning("weekday", Hints("weekday", "dow", "day of week", "wochentag"), 0, 7, _CALENDAR, whole=True),
    Meaning("day_of_month", Hints("day", "day of month", "dom", "tag"), 1, 31, _CALENDAR, whole=True),
    Meaning("day_of_year", Hints("day of year", "doy", "yearday"), 1, 366, _CALENDAR, whole=True),
    Meaning("week", Hints("week", "calendar week", "kw", "woche"), 1, 53, _CALENDAR, whole=True),
    Meaning("quarter", Hints("quarter", "qtr", "quartal"), 1, 4, _CALENDAR, whole=True),
    Meaning("hour", Hints("hour", "hr", "stunde", "hour of day"), 0, 23, _CALENDAR, whole=True),
    Meaning("minute", Hints("minute"), 0, 59, _CALENDAR, whole=True),
    Meaning("second", Hints("second"), 0, 60, _CALENDAR, whole=True),
    Meaning(
        "year",
        Hints("year", "yr", "jahr", "annee", "ano", "yob", "year of birth"),
        1900,
        2100,
        "convention: 1900 to 2100",
        whole=True,
    ),
    Meaning(
        "money",
        Hints(
            "price",
            "amount",
            "cost",
            "salary",
            "income",
            "revenue",
            "wage",
            "fee",
            "balance",
            "fare",
            "total",
            "payment",
            "preis",
            "betrag",
        ),
        None,
        None,
        "",
    ),
    Meaning("count", Hints("count", "number of", "num", "qty", "quantity", "anzahl", "n"), None, None, "", whole=True),
)


def meanings(column: Evidence) -> Iterable[tuple[Meaning, bool]]:
    """What a column's name says its numbers are, each with whether all of them lie within the bounds of that."""
    if column.type not in {ColumnType.INTEGER, ColumnType.NUMBER}:
        return
    for meaning in MEANINGS:
        if meaning.hints(column.words) and (not meaning.whole or column.type is ColumnType.INTEGER):
            fits = meaning.low is None or meaning.high is None or column.within(meaning.low, meaning.high)
            yield meaning, fits
