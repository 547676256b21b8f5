"""The subscribers of docs/subscribers.md name what there is: Python's is run by another test, Go and Node.js are not on every machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts import subjects
from contracts.events import EVENTS, JobCompleted
from infra.bus.topology import DURABLES, OUTSIDERS, PUBLISH, inbox_prefix
from infra.home import BusAccess, Home

PAGE = (Path(__file__).parents[1] / "docs" / "subscribers.md").read_text(encoding="utf-8")
LANGUAGES = ("python", "go", "js")
USER = "subscriber"


def snippet(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_subscriber_names_what_its_user_may_use(language: str, tmp_path: Path) -> None:
    """The user, its inbox, the durable and its stream; and of the file with the address only what is in it."""
    text = snippet(language)
    (durable,) = [each for each in DURABLES if each.user == USER]
    assert USER in OUTSIDERS
    assert durable.filters == (subjects.events_of(JobCompleted),)
    for name in (durable.name, durable.stream, inbox_prefix(USER), ".halftone/bus.json"):
        assert name in text
    known = BusAccess.ensure(Home(tmp_path).prepare(), 0)
    assert USER in known.passwords
    for field in ("host", "port", "passwords"):
        assert re.search(rf"\b{field}\b", text)
        assert hasattr(known, field)


def test_what_is_asked_for_by_subject_may_be() -> None:
    """The subjects of the broker's own that a snippet spells out are among the user's rights."""
    spelled = re.findall(r"\$JS\.API\.[A-Za-z0-9_.-]+", "".join(map(snippet, LANGUAGES)))
    assert spelled
    assert set(spelled) <= set(PUBLISH[USER])


def test_every_subject_that_the_page_names_is_one_of_ours() -> None:
    """With the wildcard or the placeholder in it."""
    named = set(re.findall(r"halftone\.evt\.[a-z]+\.(?:\*|<[a-z]+>)\.[a-z_]+", PAGE))
    assert "halftone.evt.job.*.completed" in named
    assert {re.sub(r"<[a-z]+>", "*", each) for each in named} <= {subjects.events_of(kind) for kind in EVENTS}
