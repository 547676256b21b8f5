"""Personal data is found by name, form and checksum, and what only looks like it is left alone."""

from __future__ import annotations

import random
import string
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.schema import ColumnSchema, ColumnType
from halftone.schemas.checksums import luhn, mod_97
from halftone.schemas.draft import draft

DRAW = random.Random(11)
FIRST = ["James", "Mary", "Robert", "Patricia", "John", "Jennifer", "Michael", "Linda", "David", "Elizabeth"]
LAST = ["Smith", "Johnson", "Williams", "Brown", "Jones", "Garcia", "Miller", "Davis", "Martinez", "Lopez"]


def digits(count: int) -> str:
    return "".join(DRAW.choices(string.digits, k=count))


def card(prefix: str) -> str:
    """Sixteen digits, the last of which is the check."""
    body = prefix + digits(15 - len(prefix))
    return next(body + last for last in string.digits if slow_luhn(body + last))


def slow_luhn(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 * (doubled > 9)
    return total % 10 == 0


def iban(country: str) -> str:
    body = digits(18)
    rest = int("".join(str(int(letter, 36)) for letter in f"{body}{country}00")) % 97
    return f"{country}{98 - rest:02d}{body}"


def drafted(name: str, values: list[Any]) -> ColumnSchema:
    return draft(pa.table({name: values})).schema.columns[0]


MADE: dict[str, Any] = {
    "email": lambda: f"{DRAW.choice(FIRST)}.{digits(3)}@example{digits(1)}.org",
    "phone": lambda: f"+49 {digits(3)} {digits(7)}",
    "iban": lambda: iban("DE"),
    "card": lambda: card("4"),
    "ssn": lambda: f"{DRAW.randint(1, 665):03d}-{DRAW.randint(1, 99):02d}-{DRAW.randint(1, 9999):04d}",
    "ip": lambda: ".".join(str(DRAW.randint(0, 255)) for _ in range(4)),
    "address": lambda: f"{DRAW.randint(1, 999)} {DRAW.choice(LAST)} Street, Springfield",
    "name": lambda: f"{DRAW.choice(FIRST)} {DRAW.choice(LAST)}",
}


@pytest.mark.parametrize("pii", MADE)
def test_values_tell_without_a_name(pii: str) -> None:
    """The class is found in a column whose name says nothing, and the column then has no domain of real values."""
    column = drafted("x", [MADE[pii]() for _ in range(300)])
    assert (column.pii, column.type, column.categories) == (pii, ColumnType.TEXT, None)


@pytest.mark.parametrize(
    ("name", "make", "pii"),
    [
        ("phone_number", lambda: digits(10), "phone"),
        ("creditCard", lambda: int(card("5")), "card"),
        ("SSN", lambda: DRAW.randint(10**8, 6 * 10**8), "ssn"),
        ("first_name", lambda: DRAW.choice(FIRST), "first_name"),
        ("Nachname", lambda: DRAW.choice(LAST), "last_name"),
        ("street", lambda: f"{DRAW.choice(LAST)} {digits(3)}", "address"),
    ],
)
def test_a_name_tells_where_values_are_ambiguous(name: str, make: Any, pii: str) -> None:
    """Digits are a telephone number if the column is called so."""
    assert drafted(name, [make() for _ in range(300)]).pii == pii


def test_days_of_birth_are_personal_and_stay_dates() -> None:
    """A birth date can be modelled: it keeps its type and its bounds."""
    column = drafted("date_of_birth", [f"19{n:02d}-05-17" for n in range(40, 90)])
    assert column.pii is None
    days = pa.array([f"19{n:02d}-05-17" for n in range(40, 90)]).cast(pa.date32())
    column = draft(pa.table({"dob": days})).schema.columns[0]
    assert (column.pii, column.type, column.minimum, column.maximum) == ("date_of_birth", ColumnType.DATE, "1940-01-01", "1989-12-31")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("order", lambda: DRAW.randint(10**15, 6 * 10**15)),
        ("order", lambda: digits(16)),
        ("x", lambda: digits(10)),
        ("x", lambda: f"{DRAW.uniform(0, 1e6):.3f}x"),
        ("x", lambda: f"{DRAW.randint(1, 28):02d}.{DRAW.randint(1, 12):02d}.{DRAW.randint(1950, 2020)}"),
        ("version", lambda: f"{DRAW.randint(1, 9)}.{DRAW.randint(1, 9)}.{DRAW.randint(1, 99)}"),
        ("x", lambda: f"DE{digits(20)}"),
        ("x", lambda: f"9{digits(2)}-{digits(2)}-{digits(4)}"),
        ("city", lambda: DRAW.choice(["Austin", "Lincoln", "Madison", "Jackson", "Charlotte", "Houston", "Savannah"])),
        ("product name", lambda: f"{DRAW.choice(['red', 'blue'])} chair {digits(3)}"),
        ("ship_address_type", lambda: DRAW.choice(["home", "work"])),
    ],
)
def test_what_only_looks_personal_is_left_alone(name: str, make: Any) -> None:
    """Numbers without a check, dates, versions, accounts with a wrong check, cities called like people: none is taken for personal data."""
    assert drafted(name, [make() for _ in range(300)]).pii is None


def test_personal_data_within_free_text_is_pointed_out() -> None:
    """A note that holds addresses here and there is free text, and the person who checks it is told."""
    notes = [f"the patient came on day {n} and left" + (f", mail to a{n}@example.org" if n % 10 == 0 else "") for n in range(300)]
    guesses = {guess.about: guess for guess in draft(pa.table({"note": notes})).guesses}
    assert guesses["semantic"].value == "free_text"
    assert "email" in guesses["semantic"].check


@given(st.lists(st.text(string.digits, min_size=1, max_size=24), min_size=1, max_size=20))
def test_luhn_is_the_textbook_sum(numbers: list[str]) -> None:
    """All values at once give what one at a time gives, whatever their lengths."""
    assert luhn(pa.array(numbers)).tolist() == [slow_luhn(number) for number in numbers]


@given(st.lists(st.text(string.digits + string.ascii_uppercase, min_size=4, max_size=34), min_size=1, max_size=20))
def test_mod_97_is_the_remainder_of_the_whole_number(accounts: list[str]) -> None:
    """Digit by digit gives what Python's whole numbers give."""
    expected = [int("".join(str(int(letter, 36)) for letter in account[4:] + account[:4])) % 97 == 1 for account in accounts]
    assert mod_97(pa.array(accounts)).tolist() == expected
