"""The draft of one column: from what is known of it to a schema, with a guess for each thing said."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from contracts.schema import BOUNDED, ColumnSchema, ColumnType
from halftone.schemas.domains import STYLES, Domain, domains
from halftone.schemas.evidence import Evidence
from halftone.schemas.guess import NAME, VALUES, About, Confidence, Guess
from halftone.schemas.personal import held_in_text, personal
from halftone.schemas.ranges import meanings
from halftone.schemas.rounding import widened
from halftone.schemas.words import Hints

IDENTIFIER = "identifier"
_DOMAIN_SHARE = 0.95
_ENOUGH = 10
"""Distinct values that say what a list is without the column's name."""
_MOST_CATEGORIES = 300
_REPEATED = 0.05
_NEARLY = 0.5
_FORMS = {"numbers": r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", "dates": r"^\d{4}-\d{2}-\d{2}([T ].*)?$"}
"""What text may be for the most part, and would be as a whole if all of it were."""
_ATTEST = "read off the data: attest it only if it is public knowledge, or set what is"
_POSTCODE = Hints("zip", "zip code", "zipcode", "postcode", "postal code", "plz", "code postal", "post code", "postal")
_IDENTIFIER = Hints("id", "identifier", "key", "uuid", "guid", "code", "number", "no", "nr", "index", "ref", "reference", "hash")
_POSTCODE_FORM = (
    r"^[0-9]{4,5}(-[0-9]{3,4})?$|^[A-Z]{1,2}[0-9][A-Z0-9]?\s*[0-9][A-Z]{2}$|^[A-Z][0-9][A-Z]\s?[0-9][A-Z][0-9]$|^[0-9]{2}-[0-9]{3}$"
)


@dataclass
class ColumnDraft:
    """A column's schema in the making."""

    column: Evidence
    changes: dict[str, Any] = field(default_factory=dict)
    guesses: list[Guess] = field(default_factory=list)

    def say(self, about: About, value: str, taken_from: tuple[str, ...], confidence: Confidence, check: str) -> None:
        """Note a guess."""
        self.guesses.append(
            Guess(column=self.column.name, about=about, value=value, taken_from=taken_from, confidence=confidence, check=check)
        )

    def schema(self) -> ColumnSchema:
        """The schema as far as it is drafted."""
        return ColumnSchema.model_validate(self.column.proposed.model_dump() | self.changes)


def draft_column(column: Evidence) -> ColumnDraft:
    """Draft one column: personal data first, then lists and ranges that are public, then what the data alone suggests."""
    draft = ColumnDraft(column)
    if column.empty:
        draft.say("type", "text", (), "unsure", "what the column is for: every value is missing")
        return draft
    if not (_personal(draft) or _public_list(draft) or _public_range(draft)):
        _from_data(draft)
    schema = draft.schema()
    draft.guesses.insert(0, _type_guess(column, schema))
    return draft


def _type_guess(column: Evidence, schema: ColumnSchema) -> Guess:
    unchanged = schema.type is column.type
    if schema.pii is None and (mixed := _nearly(column, schema.type)):
        return Guess(column=column.name, about="type", value=str(schema.type), taken_from=(VALUES,), confidence="unsure", check=mixed)
    return Guess(
        column=column.name,
        about="type",
        value=str(schema.type),
        taken_from=(VALUES,),
        confidence="certain" if unchanged else "likely",
        check="nothing: every value has this type"
        if unchanged
        else f"that it is right to treat stored {column.type} values as {schema.type}",
    )


def _nearly(column: Evidence, drafted: ColumnType) -> str | None:
    """What to check of text most of which would be something else, were it not for a few values."""
    if column.type is not ColumnType.TEXT:
        return None
    for what, form in _FORMS.items():
        share = pc.mean(pc.match_substring_regex(pc.utf8_trim_whitespace(column.sample), form)).as_py() or 0.0
        if _NEARLY <= share < 1:
            rest = "; correct the others in the file (separators of thousands, units, words for missing) to have a column of them"
            return f"that it is {drafted}: {math.floor(share * 100)}% of the values sampled are {what}{rest}"
    return None


def _personal(draft: ColumnDraft) -> bool:
    found = personal(draft.column)
    if found is None:
        return False
    draft.say("pii", found.pii, found.taken_from, found.confidence, found.check)
    if found.pii == "date_of_birth":
        draft.changes |= {"pii": found.pii, "semantic": found.pii}
        _bounds_from_data(draft)
        return True
    draft.changes |= {"type": ColumnType.TEXT, "pii": found.pii, "semantic": found.pii, **_NO_DOMAIN}
    return True


_NO_DOMAIN: dict[str, Any] = {"categories": None, "minimum": None, "maximum": None, "granularity": None}


def _public_list(draft: ColumnDraft) -> bool:
    """Whether the values are of a list that is public; all of the list becomes the domain, in the table's own spelling."""
    counted = draft.column.counted
    if draft.column.type is not ColumnType.TEXT or not counted:
        return False
    fits = [fit for domain in domains() if (fit := _fit(draft.column, domain, counted)) is not None]
    if not fits:
        return False
    domain, values, share = max(fits, key=lambda fit: (fit[0].hints(draft.column.words), fit[2], -len(fit[1])))
    named = domain.hints(draft.column.words)
    taken = ((NAME,) if named else ()) + (VALUES, *domain.sources)
    confidence: Confidence = (
        "certain" if named and share == 1 else "likely" if named or len(counted) >= _ENOUGH or len(values) <= 2 else "unsure"
    )
    outside = sum(count for value, count in counted.items() if value not in set(values))
    strays = f"; {outside:,} values are not in the list and would be recoded" if outside else ""
    draft.changes |= {"type": ColumnType.CATEGORICAL, "categories": values, "semantic": domain.semantic}
    draft.say("semantic", domain.semantic, taken, confidence, f"that the values mean {domain.semantic.replace('_', ' ')}")
    draft.say("categories", f"all {len(values):,} of the list", domain.sources, confidence, f"that the list is the one meant{strays}")
    return True


def _fit(column: Evidence, domain: Domain, counted: dict[Any, int]) -> tuple[Domain, tuple[str, ...], float] | None:
    """The list in the spelling that covers most values, and the share of values it covers; None if that is too few."""
    if domain.needs_name and not domain.hints(column.words):
        return None
    best = max((tuple(dict.fromkeys(map(style, domain.values))) for style in STYLES), key=lambda values: _covered(counted, values))
    share = _covered(counted, best) / sum(counted.values())
    matched = len(set(counted) & set(best))
    if share < _DOMAIN_SHARE or (matched < 2 and not domain.hints(column.words)):
        return None
    return domain, best, share


def _covered(counted: dict[Any, int], values: tuple[str, ...]) -> int:
    return sum(counted.get(value, 0) for value in values)


def _public_range(draft: ColumnDraft) -> bool:
    for meaning, fits in meanings(draft.column):
        if not fits:
            continue
        draft.changes["semantic"] = meaning.semantic
        draft.say(
            "semantic", meaning.semantic, (NAME, VALUES), "likely", f"that the numbers are of kind {meaning.semantic.replace('_', ' ')}"
        )
        if meaning.low is None or meaning.high is None:
            _bounds_from_data(draft)
            return True
        number = int if draft.column.type is ColumnType.INTEGER else float
        draft.changes |= {"minimum": number(meaning.low), "maximum": number(meaning.high)}
        draft.say("bounds", f"{meaning.low:g} to {meaning.high:g}", (meaning.source,), "likely", "that no value can lie outside")
        return True
    return False


def _from_data(draft: ColumnDraft) -> None:
    column = draft.column
    if column.type is ColumnType.TEXT:
        _text(draft)
    elif column.type is ColumnType.INTEGER:
        _whole_numbers(draft)
    elif column.type in BOUNDED:
        _bounds_from_data(draft)


def _whole_numbers(draft: ColumnDraft) -> None:
    column = draft.column
    if set(column.counted or ()) == {0, 1}:
        draft.changes |= {"type": ColumnType.CATEGORICAL, "categories": (0, 1), "semantic": "boolean", **_NO_RANGE}
        draft.say("semantic", "boolean", (VALUES,), "likely", "that 0 and 1 mean no and yes")
        draft.say("categories", "0 and 1", ("convention: digits for no and yes",), "likely", "that there is no third value")
        return
    if _POSTCODE(column.words) and column.share(pc.match_substring_regex(column.text, _POSTCODE_FORM)) >= _DOMAIN_SHARE:
        _as_text(draft, "postcode", (NAME, VALUES), "that these are postcodes, and that none has lost a leading zero")
        return
    if _IDENTIFIER(column.words) and column.distinct_share > 1 - _REPEATED:
        _as_text(draft, IDENTIFIER, (NAME, VALUES), "that the numbers only tell rows apart, and measure nothing")
        return
    _bounds_from_data(draft)


_NO_RANGE: dict[str, Any] = {"minimum": None, "maximum": None, "granularity": None}


def _as_text(draft: ColumnDraft, semantic: str, taken: tuple[str, ...], check: str, confidence: Confidence = "likely") -> None:
    draft.changes |= {"type": ColumnType.TEXT, "semantic": semantic, **_NO_DOMAIN}
    draft.say("semantic", semantic, taken, confidence, check)


def _text(draft: ColumnDraft) -> None:
    """Categories, codes or free text: by how often values come again, and by how many words they have."""
    column = draft.column
    if _POSTCODE(column.words) and column.share(pc.match_substring_regex(column.text, _POSTCODE_FORM)) >= _DOMAIN_SHARE:
        _as_text(draft, "postcode", (NAME, VALUES), "that these are postcodes")
        return
    counted = column.counted
    if counted and (draft.schema().categories or (len(counted) <= _MOST_CATEGORIES and len(counted) <= _REPEATED * column.present)):
        draft.changes |= {"type": ColumnType.CATEGORICAL, "categories": tuple(sorted(counted))}
        draft.say("categories", f"{len(counted):,} values", (VALUES,), "unsure", _ATTEST)
        return
    if float(pc.mean(pc.count_substring_regex(column.text, r"\S+")).as_py()) >= 4:
        _as_text(draft, "free_text", (VALUES,), _held(column))
    elif column.distinct_share > 1 - _REPEATED and column.share(pc.match_substring_regex(column.text, r"^\S+$")) >= _DOMAIN_SHARE:
        _as_text(draft, IDENTIFIER, (NAME, VALUES) if _IDENTIFIER(column.words) else (VALUES,), "that the values only tell rows apart")
    else:
        _as_text(draft, "text", (VALUES,), f"whether there is a public list of these values; {_held(column)}", "unsure")


def _held(column: Evidence) -> str:
    held = held_in_text(column)
    return f"the personal data in it: some values hold {', '.join(held)}" if held else "whether values hold personal data among other words"


def _bounds_from_data(draft: ColumnDraft) -> None:
    proposed = draft.column.proposed
    if proposed.minimum is None or proposed.maximum is None:
        return
    low, high = widened(proposed.minimum, proposed.maximum, draft.column.type)
    draft.changes |= {"minimum": low, "maximum": high}
    if draft.column.type is ColumnType.TIME:
        draft.say("bounds", "the whole day", ("standard: ISO 8601",), "certain", "nothing: a time of day lies within the day")
    else:
        draft.say("bounds", f"{low} to {high}", (VALUES,), "unsure", f"{_ATTEST}; widened to round values")
