"""Sources in the settings: read from JSON, refused by name, and never shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from infra.settings import Settings
from infra.sources.errors import SourceUnknown

SECRET = "hunter2"
DATABASE = f"postgresql://jane:{SECRET}@db.example/people"


def loaded(monkeypatch: pytest.MonkeyPatch, **given: Any) -> Settings:
    for name, value in given.items():
        monkeypatch.setenv(f"HALFTONE_{name.upper()}", value if isinstance(value, str) else json.dumps(value))
    return Settings.load()


def test_sources_are_named_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store by its place alone, or with options; a worker is told all of it, and a worker alone."""
    stores = {"lake": "s3://bucket/people", "files": {"url": "file:///data", "options": {"aws_region": SECRET}}}
    settings = loaded(monkeypatch, sql_sources={"crm": DATABASE, "old": "sqlite:////data/x.db"}, object_sources=stores, sql_seconds="5")
    sources = settings.sources()
    assert (sources.database("crm"), sources.seconds) == (DATABASE, 5)
    assert (sources.store("lake").url, sources.store("files").options) == ("s3://bucket/people", {"aws_region": SECRET})
    assert type(sources).model_validate_json(sources.model_dump_json()) == sources
    for shown in (repr(settings), str(settings), repr(sources), str(sources), repr(sources.store("files"))):
        assert SECRET not in shown


@pytest.mark.parametrize(
    ("setting", "given"),
    [
        ("sql_sources", SECRET),
        ("sql_sources", [SECRET]),
        ("sql_sources", {"crm": SECRET}),
        ("sql_sources", {"crm": f"mysql://jane:{SECRET}@db/people"}),
        ("sql_sources", {"crm": f"sqlite:///{SECRET}.db"}),
        ("sql_sources", {"crm": "sqlite://"}),
        ("sql_sources", {"crm": f"postgresql://jane:{SECRET}@db:port/people"}),
        ("sql_sources", {"CRM 1": DATABASE}),
        ("object_sources", {"lake": f"https://{SECRET}.example/x"}),
        ("object_sources", {"lake": f"file://data/{SECRET}"}),
        ("object_sources", {"lake": f"s3://bucket?key={SECRET}"}),
        ("object_sources", {"lake": {"url": "s3://bucket", "secret": SECRET}}),
        ("object_sources", {"lake": {"url": "s3://bucket", "options": {"aws_region": [SECRET]}}}),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_name_of_the_setting(monkeypatch: pytest.MonkeyPatch, setting: str, given: Any) -> None:
    """Without what was given: it may be a password."""
    with pytest.raises(ValidationError) as refused:
        loaded(monkeypatch, **{setting: given})
    assert refused.value.errors(include_input=False)[0]["loc"][0] == setting
    assert SECRET not in str(refused.value)


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    """So that a misspelt one can be put right."""
    sources = Settings(sql_sources={"crm": DATABASE}).sources()
    with pytest.raises(SourceUnknown, match=r"No database is called 'cmr': there are crm\."):
        sources.database("cmr")
    with pytest.raises(SourceUnknown, match="none is named"):
        sources.store("lake")
