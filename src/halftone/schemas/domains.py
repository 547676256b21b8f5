"""Domains that are public because a standard or a package lists them: whole, however few of their values a table has."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import iso3166
from babel import Locale
from babel.numbers import get_territory_currencies

from halftone.schemas.words import Hints

_CLDR = "package: babel (CLDR)"
_LOCALES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "da", "nb", "fi", "cs", "hu", "ro", "tr")
_SUBDIVISIONS = (
    ("en_US", "states", "states_abbr"),
    ("en_CA", "provinces", "provinces_abbr"),
    ("en_AU", "states", "states_abbr"),
    ("en_IN", "states", "states_abbr"),
    ("it_IT", "states", "states_abbr"),
    ("de_DE", "states", None),
    ("de_AT", "states", None),
    ("es_ES", "regions", None),
)
"""Lists of names, and of codes in the same country."""
_PAIRED_SUBDIVISIONS = (("pt_BR", "estados"), ("es_MX", "states"), ("de_CH", "cantons"))
"""Lists of pairs of code and name."""


@dataclass(frozen=True)
class Domain:
    """A list of values that a column may be of."""

    semantic: str
    values: tuple[str, ...]
    sources: tuple[str, ...]
    hints: Hints
    needs_name: bool = False
    """Whether values alone say too little: two letters can be a country, a state or a language."""


_COUNTRY = Hints("country", "nation", "nationality", "land", "pays", "pais", "citizenship", "territory", "native country")
_LANGUAGE = Hints("language", "lang", "locale", "sprache", "langue", "idioma")
_CURRENCY = Hints("currency", "ccy", "waehrung", "devise", "moneda")
_REGION = Hints("state", "province", "region", "bundesland", "subdivision", "territory", "county")
_MONTH, _DAY = Hints("month", "mon", "monat", "mois", "mes"), Hints("weekday", "day", "dow", "wochentag", "jour", "dia")
_SEX = Hints("sex", "gender", "geschlecht", "sexe", "sexo")
_NO_HINT = Hints()


@cache
def domains() -> tuple[Domain, ...]:
    """All of them, the more telling first."""
    return (*_truths(), *_sexes(), *_calendars(), *_countries(), *_money(), *_subdivisions(), *_languages())


def _countries() -> Iterable[Domain]:
    iso, package = "standard: ISO 3166-1", "package: iso3166"
    # XK is in the package and not in the standard: Kosovo's code is for private use.
    countries = [country for country in iso3166.countries if country.alpha2 != "XK"]
    yield Domain("country_alpha_3", tuple(country.alpha3 for country in countries), (iso, package), _COUNTRY)
    yield Domain("country_alpha_2", tuple(country.alpha2 for country in countries), (iso, package), _COUNTRY, needs_name=True)
    yield Domain("country_numeric", tuple(country.numeric for country in countries), (iso, package), _COUNTRY, needs_name=True)
    english = Locale("en").territories
    yield Domain("country_name", tuple(str(english[country.alpha2]) for country in countries), (iso, _CLDR), _COUNTRY)
    yield Domain("country_name", tuple(country.name for country in countries), (iso, package), _COUNTRY)


def _money() -> Iterable[Domain]:
    tender = sorted({code for country in iso3166.countries for code in get_territory_currencies(country.alpha2)})
    yield Domain("currency_code", tuple(tender), ("standard: ISO 4217", _CLDR), _CURRENCY)
    names = Locale("en").currencies
    yield Domain("currency_name", tuple(str(names[code]) for code in tender), ("standard: ISO 4217", _CLDR), _CURRENCY)


def _languages() -> Iterable[Domain]:
    english = {code: str(name) for code, name in Locale("en").languages.items() if len(code) == 2}
    sources = ("standard: ISO 639-1", _CLDR)
    yield Domain("language_code", tuple(english), sources, _LANGUAGE, needs_name=True)
    yield Domain("language_name", tuple(english.values()), sources, _LANGUAGE)


def _calendars() -> Iterable[Domain]:
    for code in _LOCALES:
        locale = Locale(code)
        for width in ("wide", "abbreviated"):
            for context in ("stand-alone", "format"):
                months, days = locale.months[context][width], locale.days[context][width]
                yield Domain("month_name", tuple(months[n].strip(".") for n in range(1, 13)), (_CLDR,), _MONTH)
                yield Domain("weekday_name", tuple(days[n].strip(".") for n in range(7)), (_CLDR,), _DAY)


def _subdivisions() -> Iterable[Domain]:
    for locale, names, codes in _SUBDIVISIONS:
        yield _subdivision(locale, "name", _listed(locale, names))
        if codes is not None:
            yield _subdivision(locale, "code", _listed(locale, codes))
    for locale, pairs in _PAIRED_SUBDIVISIONS:
        codes_of, names_of = zip(*_listed(locale, pairs), strict=True)
        yield _subdivision(locale, "name", names_of)
        yield _subdivision(locale, "code", codes_of)


def _listed(locale: str, name: str) -> tuple[Any, ...]:
    provider = importlib.import_module(f"faker.providers.address.{locale}").Provider
    return tuple(getattr(provider, name))


def _subdivision(locale: str, kind: str, values: Iterable[str]) -> Domain:
    sources = (f"standard: ISO 3166-2:{locale[-2:]}", "package: faker")
    return Domain(f"subdivision_{kind}", tuple(dict.fromkeys(values)), sources, _REGION, needs_name=kind == "code")


def _truths() -> Iterable[Domain]:
    for pair in (("yes", "no"), ("y", "n"), ("t", "f"), ("true", "false"), ("on", "off"), ("ja", "nein"), ("oui", "non"), ("si", "no")):
        yield Domain("boolean", pair, ("convention: words for yes and no",), _NO_HINT)


def _sexes() -> Iterable[Domain]:
    yield Domain("sex", ("male", "female"), ("convention: the words of ISO/IEC 5218",), _SEX)
    yield Domain("sex", ("m", "f"), ("convention: the words of ISO/IEC 5218",), _SEX, needs_name=True)


STYLES: tuple[Callable[[str], str], ...] = (str, str.lower, str.upper, str.title)
"""Ways in which a table may write a list's values."""
