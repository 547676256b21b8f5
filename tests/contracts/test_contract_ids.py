"""Ids: what they look like, how they sort, and that the same causes give the same ones for ever."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.ids import (
    ADMINISTRATOR,
    DEFAULT_PROJECT,
    SYSTEM,
    AccountId,
    Code,
    DatasetId,
    JobId,
    MessageId,
    ObjectId,
    PrincipalId,
    ProjectId,
    derived_id,
    derived_message_id,
    new_id,
    new_message_id,
)

KINDS = {"job": JobId, "ds": DatasetId, "obj": ObjectId, "acc": AccountId, "prj": ProjectId, "prn": PrincipalId}
TOKEN = re.compile(r"[a-z0-9_-]+")
milliseconds = st.integers(0, 2**48 - 1)
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@pytest.mark.parametrize("prefix", KINDS)
def test_fresh_and_derived_ids_have_the_form_of_their_kind(prefix: str) -> None:
    """Both ways of making an id give one that the type accepts, and that is one token of a subject."""
    for made in (new_id(prefix), derived_id(prefix, "a cause, in free text")):
        assert TypeAdapter(KINDS[prefix]).validate_python(made) == made
        assert TOKEN.fullmatch(made)


@pytest.mark.parametrize("prefix", KINDS)
def test_an_id_of_another_form_is_refused(prefix: str) -> None:
    """Another kind's prefix, another length, other characters, a line end or a path: none of it is an id."""
    good = new_id(prefix)
    adapter = TypeAdapter(KINDS[prefix])
    other = next(name for name in KINDS if name != prefix)
    for bad in (new_id(other), good[:-1], good + "0", good.upper(), good[:-1] + "g", good + "\n", good[:-2] + "..", good[:-1] + "*", ""):
        with pytest.raises(ValidationError):
            adapter.validate_python(bad)


def test_the_well_known_ids_have_the_form_of_their_kind() -> None:
    """The default project, the administrator and the system are ids like others."""
    assert TypeAdapter(ProjectId).validate_python(DEFAULT_PROJECT)
    assert {TypeAdapter(PrincipalId).validate_python(known) for known in (ADMINISTRATOR, SYSTEM)} == {ADMINISTRATOR, SYSTEM}


@given(milliseconds, milliseconds)
def test_ids_sort_by_the_millisecond_they_were_made_in(one: int, other: int) -> None:
    """Text order is time order, whatever the random part, up to the year 10889."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: one * 1_000_000 + 999_999)
        first = new_id("job")
        patch.setattr(time, "time_ns", lambda: other * 1_000_000)
        second = new_id("job")
    assert len(first) == len(second) == 36
    if one != other:
        assert (first < second) == (one < other)


def test_ids_of_one_millisecond_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 random bits tell them apart: a collision among 5,000 has probability 1e-17."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_772_357_400_125_000_000)
    assert len({new_id("obj") for _ in range(5_000)}) == 5_000


def test_derived_ids_never_change() -> None:
    """What was derived by an earlier release is derived again, or a retry across an upgrade would do its work twice."""
    cause = "0199f3a1-b2c0-4000-8000-000000001001"
    assert derived_id("ds", "job_1", "target") == "ds_e3108407c0fb5275a14957e585ef625f"
    assert derived_message_id(cause, "run", 0) == "a89d9d4c-e70c-50ac-8337-366cc2b29ce1"


@given(st.lists(words, min_size=1, max_size=4), st.lists(words, min_size=1, max_size=4))
def test_derived_ids_tell_causes_apart(one: list[str], other: list[str]) -> None:
    """The same causes give the same id, others another: also when only the border between two of them moves."""
    assert (derived_id("ds", *one) == derived_id("ds", *other)) == (one == other)


@given(st.tuples(words, words, st.integers(0, 99)), st.tuples(words, words, st.integers(0, 99)))
def test_derived_message_ids_tell_cause_handler_and_number_apart(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    """A handler's n-th message has an id of its own, the same on each try, and of the form of a message id."""
    assert (derived_message_id(*one) == derived_message_id(*other)) == (one == other)
    assert TypeAdapter(MessageId).validate_python(derived_message_id(*one))


def test_a_fresh_message_id_is_a_message_id_and_new() -> None:
    """Two causes never share an id."""
    one, other = (TypeAdapter(MessageId).validate_python(new_message_id()) for _ in range(2))
    assert one != other


@pytest.mark.parametrize("word", ["marginal", "budget-exhausted", "v1.2", "1d", "a" * 64])
def test_a_word_of_a_vocabulary_is_a_code(word: str) -> None:
    """Lower case, digits, dots, hyphens and underscores, 64 at most."""
    assert TypeAdapter(Code).validate_python(word) == word


@pytest.mark.parametrize("text", ["", "Jane Doe", "a" * 65, "_hidden", "café", "a\n", "halftone.>", "a*", "UPPER"])
def test_free_text_is_no_code(text: str) -> None:
    """Spaces, capitals, wildcards, accents and long texts are refused."""
    with pytest.raises(ValidationError):
        TypeAdapter(Code).validate_python(text)
