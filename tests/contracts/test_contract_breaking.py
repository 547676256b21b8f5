"""What breaks a version: each way is found and named, and what is allowed is not."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from contracts.breaking import breaking
from contracts.generate import models, schema


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


class Fish(BaseModel):
    kind: Literal["fish"] = "fish"


class Inner(BaseModel):
    n: int


class Narrower(BaseModel):
    n: Annotated[int, Field(ge=1)]


class Reason(BaseModel):
    n: int
    why: str


class Other(BaseModel):
    n: int = Field(description="the same, told in other words")
    more: bool = False


Tagged = Annotated[Cat | Dog, Field(discriminator="kind")]
MoreTagged = Annotated[Cat | Dog | Fish, Field(discriminator="kind")]
OtherTagged = Annotated[Cat | Fish, Field(discriminator="kind")]
Word = Annotated[str, Field(pattern="^[a-z]+$")]
Longer = Annotated[str, Field(pattern="^[a-z0-9]+$")]


def of(**fields: Any) -> dict[str, Any]:
    """The published schema of a model with these fields; one without a default stands as its bare type."""
    return schema("x", create_model("M", **{name: field if isinstance(field, tuple) else (field, ...) for name, field in fields.items()}))


BROKEN = [
    ("a field is gone", of(a=int, b=int), of(a=int), "/b: removed"),
    ("an optional field is gone", of(a=int, b=(int, 1)), of(a=int), "/b: removed"),
    ("a field is renamed", of(a=int), of(b=(int, 0)), "/a: removed"),
    ("a new field has no default", of(a=int), of(a=int, b=int), "/b: new, and without a default"),
    ("a default is gone", of(a=(int, 1)), of(a=int), "/a: has no default any more"),
    ("a default is another", of(a=(int, 1)), of(a=(int, 2)), "/a: default changed from 1 to 2"),
    ("a type is another", of(a=int), of(a=str), "/a: type changed from integer to string"),
    ("a whole number may be a fraction", of(a=int), of(a=float), "/a: type changed from integer to number"),
    ("a value may be missing", of(a=int), of(a=int | None), "/a: takes another type, null"),
    ("a value may not be missing any more", of(a=int | None), of(a=int), "/a: type changed from null to integer"),
    ("a value may be of another type", of(a=int), of(a=int | str), "/a: takes another type, string"),
    ("a value may be anything", of(a=int), of(a=Any), "/a: type changed from integer to any"),
    ("a vocabulary shrinks", of(a=Literal["x", "y"]), of(a=Literal["x"]), '/a: no longer takes "y"'),
    ("a vocabulary is exchanged", of(a=Literal["x"]), of(a=Literal["z"]), '/a: no longer takes "x"'),
    ("a vocabulary is given up", of(a=Literal["x", "y"]), of(a=str), "/a: is no closed vocabulary any more"),
    ("a text becomes a vocabulary", of(a=str), of(a=Literal["x", "y"]), "/a: takes certain values alone"),
    ("a pattern is another", of(a=Word), of(a=Longer), "/a: pattern changed from ^[a-z]+$ to ^[a-z0-9]+$"),
    ("a pattern is new", of(a=str), of(a=Word), "/a: pattern changed from None to ^[a-z]+$"),
    ("a floor rises", of(a=(int, Field(ge=0))), of(a=(int, Field(ge=1))), "/a: minimum raised from 0 to 1"),
    ("a floor is new", of(a=int), of(a=(int, Field(gt=0))), "/a: exclusiveMinimum raised from None to 0"),
    ("a ceiling falls", of(a=(str, Field(max_length=9))), of(a=(str, Field(max_length=8))), "/a: maxLength lowered from 9 to 8"),
    ("a list may not be empty any more", of(a=list[int]), of(a=(list[int], Field(min_length=1))), "/a: minItems raised from None to 1"),
    ("the items of a list change", of(a=list[int]), of(a=list[str]), "/a/*: type changed from integer to string"),
    ("a list of things becomes one thing", of(a=list[int]), of(a=int), "/a: type changed from array to integer"),
    ("a field within shrinks", of(a=Inner), of(a=Narrower), "/a/n: minimum raised from None to 1"),
    ("a field within a list's items is new", of(a=list[Inner]), of(a=list[Reason]), "/a/*/why: new, and without a default"),
    ("a field within an option is gone", of(a=Reason | None), of(a=Inner | None), "/a/why: removed"),
    ("the values of a map change", of(a=dict[str, int]), of(a=dict[str, str]), "/a: additionalProperties changed"),
    ("a tagged union may be missing", of(a=Tagged), of(a=Tagged | None), "/a: takes another type, null"),
    ("an untagged union gains a member", of(a=Inner | None), of(a=Inner | Reason | None), "/a: takes another type, object"),
    ("a tag must be given", of(a=Cat), of(a=Tagged), "/a/kind: has no default any more"),
    ("a member of a tagged union is gone", of(a=Tagged), of(a=OtherTagged), '/a/kind: no longer takes "dog"'),
]
ALLOWED = [
    ("a new field has a default", of(a=int), of(a=int, b=(int | None, None))),
    ("a field gets a default", of(a=int), of(a=(int, 1))),
    ("a vocabulary grows", of(a=Literal["x"]), of(a=Literal["x", "y"])),
    ("a floor falls", of(a=(int, Field(ge=1))), of(a=(int, Field(ge=0)))),
    ("a ceiling rises", of(a=(int, Field(le=1))), of(a=(int, Field(le=2)))),
    ("a limit is lifted", of(a=(list[int], Field(max_length=3))), of(a=list[int])),
    ("a tagged union gains a member", of(a=Tagged), of(a=MoreTagged)),
    ("an optional tagged union gains a member", of(a=Tagged | None), of(a=MoreTagged | None)),
    ("a class has another name, other words and a further field", of(a=Inner), of(a=Other)),
    ("one option is part of another", of(a=str | Annotated[str, Field(max_length=3)]), of(a=str | Annotated[str, Field(max_length=3)])),
    ("options stand in another order", of(a=int | str | None), of(a=None | str | int)),
]


@pytest.mark.parametrize(("old", "new", "says"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_break_is_found_and_named(old: dict[str, Any], new: dict[str, Any], says: str) -> None:
    """One change, one line, which says where and what."""
    (found,) = [line for line in breaking(old, new) if line.startswith(says)]
    assert found
    assert not breaking(old, old)


@pytest.mark.parametrize(("old", "new"), [case[1:] for case in ALLOWED], ids=[case[0] for case in ALLOWED])
def test_what_old_messages_and_readers_can_live_with_is_allowed(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Fields with a default are added, limits widened, vocabularies grow, words change."""
    assert breaking(old, new) == []


@pytest.mark.parametrize(("wide", "narrow"), [(Reason | None, Narrower | None), (list[Reason] | int, list[Narrower] | int)])
def test_a_break_within_an_option_is_told_as_that_alone(wide: Any, narrow: Any) -> None:
    """The branches of a union are compared with their likes, so that the lines point to what changed."""
    one, other = breaking(of(a=wide), of(a=narrow))
    assert one.endswith("/n: minimum raised from None to 1")
    assert other.endswith("/why: removed")


PUBLISHED = {name: schema(name, kind) for name, kind in models().items()}


def broken(document: dict[str, Any], owner: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema with one field of one of its models gone, of another type, or required: each field in turn."""
    fields = _model(document, owner).get("properties", {})
    for name, field in fields.items():
        for change in ("gone", "other", "required"):
            mutant = copy.deepcopy(document)
            model = _model(mutant, owner)
            if change == "gone":
                del model["properties"][name]
            elif change == "other":
                model["properties"][name] = {"type": "string" if field.get("type") == "null" else "null"}
            elif name in model.get("required", ()):
                continue
            else:
                model["required"] = [*model.get("required", ()), name]
            yield f"{owner}.{name} {change}", mutant


def _model(document: dict[str, Any], owner: str) -> dict[str, Any]:
    return document if owner == document["title"] else document["$defs"][owner]


OWNERS = {owner: name for name, document in PUBLISHED.items() for owner in (document["title"], *document.get("$defs", ()))}
"""Each model, and one of the schemas that it is part of."""


@pytest.mark.parametrize("owner", OWNERS)
def test_no_field_of_a_published_schema_can_be_broken_unseen(owner: str) -> None:
    """Take any field away, give it another type or make it required, however deep it lies: the check sees it."""
    document = PUBLISHED[OWNERS[owner]]
    assert [which for which, mutant in broken(document, owner) if not breaking(document, mutant)] == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_schema_can_take_its_own_place(name: str) -> None:
    """Nothing that has not changed is a break."""
    assert breaking(PUBLISHED[name], copy.deepcopy(PUBLISHED[name])) == []


def test_a_model_that_is_part_of_itself_is_compared() -> None:
    """A reference to a model within itself ends the comparison there instead of going round for ever."""

    class Node(BaseModel):
        value: int
        below: list[Node] = []

    old = schema("x", Node)
    new = json.loads(json.dumps(old).replace('"integer"', '"string"'))
    assert breaking(old, old) == []
    assert breaking(old, new)
