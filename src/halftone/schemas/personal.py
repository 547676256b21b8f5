"""Personal data, told from a column's name and from its values: by checksum where there is one, by form where there is none.

Asked of the distinct values of a sample. A form alone is not enough where other things have it too: digits are a telephone number only with
a plus sign, separators or a name that says so, and a card number only if nearly all pass a check that one random number in ten passes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from contracts.schema import ColumnType
from halftone.schemas.checksums import luhn, mod_97
from halftone.schemas.evidence import Evidence
from halftone.schemas.guess import NAME, VALUES, Confidence
from halftone.schemas.words import Hints

MOST = 0.8
"""Share of distinct values that must have a form for the column to be of it: real columns have slips."""
NEARLY_ALL = 0.95
SOME = 0.02
"""From this share on, text is said to hold personal data among other things."""
_FEW = 5

_OCTET = r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_GROUPS = r"[0-9A-Fa-f]{1,4}:"
_AREA = r"(00[1-9]|0[1-9][0-9]|[1-5][0-9]{2}|6[0-57-9][0-9]|66[0-57-9]|[78][0-9]{2})"
_SERIAL = r"([0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})"
_ROAD = r"\b(street|st|avenue|ave|road|rd|lane|ln|drive|dr|court|ct|way|boulevard|blvd|place|pl|square|terrace)\b"
_FORMS = {
    "email": r"^[^@\s]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}$",
    "ip": rf"^{_OCTET}(\.{_OCTET}){{3}}$|^({_GROUPS}){{7}}[0-9A-Fa-f]{{1,4}}$|^({_GROUPS}){{1,6}}(:[0-9A-Fa-f]{{1,4}}){{1,6}}$",
    "ssn": rf"^{_AREA}-(0[1-9]|[1-9][0-9])-{_SERIAL}$",
    "address": rf"(?i)^[0-9]+[a-z]?\s+\S.*{_ROAD}|(straße|strasse|gasse|weg|allee)\s+[0-9]+|^[0-9]+,?\s+(rue|avenue|boulevard|chemin)\s",
}
_PHONE = r"^(\+|00)?[0-9(][0-9 ().\-/]{5,20}[0-9](\s?(x|ext\.?)\s?[0-9]{1,6})?$"
_PHONE_MARKED = r"^\+|[0-9)][ .\-/()]+[0-9]"
_DAYS = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}|^[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4}$"
_NOT_PHONE = rf"{_DAYS}|^[0-9]+\.[0-9]+$|^[0-9]{{1,3}}(\.[0-9]{{1,3}}){{3}}$|^[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}$"
_WITHIN = {
    "email": r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z]{2,}",
    "phone": r"\+[0-9][0-9 ().\-]{7,}[0-9]",
    "ssn": r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b",
}

_EMAIL = Hints("email", "e mail", "mail", "mail address", "courriel", "correo")
_PHONE_NAME = Hints("phone", "telephone", "tel", "mobile", "cell", "fax", "handy", "telefon", "phone number", "msisdn", "portable")
_IBAN = Hints("iban", "bank account", "konto")
_CARD = Hints("card", "card number", "credit card", "cc", "pan", "cc number", "ccnum")
_SSN = Hints("ssn", "social security", "social security number", "tax id", "tin")
_IP = Hints("ip", "ip address", "ipaddr", "client ip", "remote addr")
_ADDRESS = Hints("address", "street", "addr", "adresse", "anschrift", "strasse", "straße", "direccion", "address line")
_BIRTH = Hints("birth date", "date of birth", "birthdate", "dob", "birthday", "born", "geburtsdatum", "date naissance", "fecha nacimiento")
_FIRST = Hints("first name", "given name", "forename", "fname", "vorname", "prenom", "firstname", "middle name")
_LAST = Hints("last name", "surname", "family name", "lname", "nachname", "nom", "lastname", "apellido", "maiden name")
_FULL = Hints("name", "full name", "person", "customer", "patient", "employee", "holder", "contact", "customer name", "patient name")
_THING = Hints(
    "product", "file", "city", "country", "event", "company", "brand", "model", "host", "user", "column", "table", "place", "item", "state"
)
_LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE")


@dataclass(frozen=True)
class Personal:
    """A class of personal data that a column seems to hold."""

    pii: str
    taken_from: tuple[str, ...]
    confidence: Confidence
    check: str


def personal(column: Evidence) -> Personal | None:
    """What personal data a column holds, if any."""
    if column.empty:
        return None
    if column.type in {ColumnType.DATE, ColumnType.DATETIME}:
        return _birth(column)
    if column.type not in {ColumnType.TEXT, ColumnType.INTEGER}:
        return None
    return next((found for test in _TESTS if (found := test(column)) is not None), None)


def held_in_text(column: Evidence) -> tuple[str, ...]:
    """The classes that occur here and there in free text."""
    if column.type is not ColumnType.TEXT:
        return ()
    return tuple(pii for pii, form in _WITHIN.items() if column.share(pc.match_substring_regex(column.text, form)) >= SOME)


def _birth(column: Evidence) -> Personal | None:
    if not _BIRTH(column.words):
        return None
    return Personal("date_of_birth", (NAME,), "likely", "that these are people's days of birth")


def _formed(pii: str, hints: Hints, sources: tuple[str, ...] = ()) -> Callable[[Evidence], Personal | None]:
    def test(column: Evidence) -> Personal | None:
        if column.type is not ColumnType.TEXT:
            return None
        share, named = column.share(pc.match_substring_regex(column.text, _FORMS[pii])), hints(column.words)
        if share < (MOST / 2 if named else MOST):
            return None
        return _found(pii, share, named=named, sources=sources, few=len(column.text) < _FEW)

    return test


def _found(pii: str, share: float, *, named: bool, sources: tuple[str, ...] = (), few: bool = False) -> Personal:
    confidence: Confidence = "certain" if named and share >= NEARLY_ALL else "likely" if named or not few else "unsure"
    taken = ((NAME,) if named else ()) + (VALUES, *sources)
    return Personal(pii, taken, confidence, f"that the values are of class {pii}: {share:.0%} of those sampled have its form")


def _iban(column: Evidence) -> Personal | None:
    if column.type is not ColumnType.TEXT:
        return None
    plain = pc.utf8_upper(pc.replace_substring_regex(column.text, r"[\s-]", ""))
    shaped = plain.filter(pc.match_substring_regex(plain, r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"))
    share = float(mod_97(shaped).sum()) / max(1, len(plain))
    return _found("iban", share, named=_IBAN(column.words), sources=("standard: ISO 13616",)) if share >= MOST else None


def _card(column: Evidence) -> Personal | None:
    plain = pc.replace_substring_regex(column.text, r"[ -]", "")
    shaped = plain.filter(pc.match_substring_regex(plain, r"^[2-6][0-9]{11,18}$"))
    share, named = float(luhn(shaped).sum()) / max(1, len(plain)), _CARD(column.words)
    if share < (MOST if named else NEARLY_ALL) or (len(plain) < _FEW and not named):
        return None
    return _found("card", share, named=named, sources=("standard: ISO/IEC 7812",))


def _phone(column: Evidence) -> Personal | None:
    text, named = column.text, _PHONE_NAME(column.words)
    shaped = pc.and_(pc.match_substring_regex(text, _PHONE), pc.invert(pc.match_substring_regex(text, _NOT_PHONE)))
    digits = pc.utf8_length(pc.replace_substring_regex(pc.replace_substring_regex(text, "[xe].*$", ""), "[^0-9]", ""))
    shaped = pc.and_(shaped, pc.and_(pc.greater_equal(digits, 7), pc.less_equal(digits, 15)))
    if not named:
        shaped = pc.and_(shaped, pc.match_substring_regex(text, _PHONE_MARKED))
    share = column.share(shaped)
    return _found("phone", share, named=named, sources=("standard: E.164",) if named else (), few=True) if share >= MOST else None


def _ssn_digits(column: Evidence) -> Personal | None:
    if not _SSN(column.words) or column.share(pc.match_substring_regex(column.text, r"^[0-9]{7,9}$")) < MOST:
        return None
    return Personal("ssn", (NAME, VALUES), "likely", "that these are national identity numbers")


def _address(column: Evidence) -> Personal | None:
    if column.type is ColumnType.TEXT and _ADDRESS(column.words) and column.distinct_share > 0.5:  # else they are codes
        return Personal("address", (NAME,), "likely", "that these are people's addresses")
    return None


def _name(column: Evidence) -> Personal | None:
    if column.type is not ColumnType.TEXT:
        return None
    first, last = _vocabulary()
    lower = pc.utf8_lower(column.text)
    heads = pc.replace_substring_regex(lower, r"[ ,].*$", "")
    firsts, lasts = column.share(pc.is_in(heads, first)), column.share(pc.is_in(lower, last))
    for pii, hints in (("first_name", _FIRST), ("last_name", _LAST)):
        if hints(column.words):
            return Personal(pii, (NAME,), "likely", "that these are people's names")
    spaced = column.share(pc.match_substring_regex(lower, r"^\S+[ ,]+\S+"))
    if firsts >= MOST / 2 and spaced >= MOST and (_FULL(column.words) or firsts >= MOST):
        named = _FULL(column.words) and not _THING(column.words)
        return Personal("name", ((NAME,) if named else ()) + ("values", "package: faker"), "likely", "that these are people's names")
    if _THING(column.words) or len(column.text) < _FEW:
        return None
    pii, share = max((("first_name", firsts), ("last_name", lasts)), key=lambda pair: pair[1])
    if share >= MOST and spaced < SOME:
        return Personal(pii, (VALUES, "package: faker"), "unsure", "that these are people's names, and not of places or things")
    return None


@cache
def _vocabulary() -> tuple[pa.Array, pa.Array]:
    """First and last names in lower case, of several languages."""
    providers = [importlib.import_module(f"faker.providers.person.{locale}").Provider for locale in _LOCALES]
    first, last = (
        sorted({str(name).lower() for each in providers for name in getattr(each, kind)}) for kind in ("first_names", "last_names")
    )
    return pa.array(first, pa.string()), pa.array(last, pa.string())


_TESTS: tuple[Callable[[Evidence], Personal | None], ...] = (
    _formed("email", _EMAIL),
    _formed("ip", _IP),
    _formed("ssn", _SSN, ("standard: US Social Security, areas and groups in use",)),
    _ssn_digits,
    _iban,
    _card,
    _phone,
    _formed("address", _ADDRESS),
    _address,
    _name,
)
