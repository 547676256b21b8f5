"""Generated files: as generated, the same everywhere, and never replaced by what breaks them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from contracts.envelope import MESSAGES
from contracts.generate import FOLDER, files, main, models

STARTED = "schemas/halftone.job.started.v1.json"
GENERATED = files()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with everything generated."""
    assert main([], tmp_path) == 0
    return tmp_path


def change(path: Path, **fields: Any) -> None:
    """Set fields of a schema's ``properties``; None takes one away."""
    document = json.loads(path.read_text("utf-8"))
    for name, field in fields.items():
        if field is None:
            del document["properties"][name]
        else:
            document["properties"][name] = field
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in folder.rglob("*.json")}


def test_the_checked_in_files_are_as_generated(capsys: pytest.CaptureFixture[str]) -> None:
    """Who changes a message runs the generator and commits what it writes."""
    assert main(["--check"]) == 0, capsys.readouterr().err
    assert {path.name for path in (FOLDER / "schemas").iterdir()} == {f"{name}.json" for name in models()}


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_files_depend_on_nothing_but_the_contracts(tmp_path: Path, seed: str) -> None:
    """Another process, folder and order of hashes give the same bytes."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Kathmandu", "PYTHONPATH": str(FOLDER.parent)}
    command = [sys.executable, "-m", "contracts.generate", "--check"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_written_passes_the_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file, and no other one; in silence."""
    assert content(folder) == GENERATED
    assert main(["--check"], folder) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", [STARTED, "asyncapi.json"])
def test_a_file_that_differs_is_shown_and_left_alone(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """The check fails with an excerpt of the difference, and writes nothing; generating puts the file right."""
    text = (folder / name).read_text("utf-8").replace("The executor has taken the job up.", "It began.")
    (folder / name).write_text(text, "utf-8")
    assert main(["--check"], folder) == 1
    shown = capsys.readouterr().err
    assert f"--- {name}" in shown
    assert '"It began."' in shown
    assert (folder / name).read_text("utf-8") == text
    assert main([], folder) == 0
    assert content(folder) == GENERATED


def test_a_missing_file_is_shown_and_not_made_by_the_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A message whose schema nobody committed fails the check."""
    (folder / STARTED).unlink()
    assert main(["--check"], folder) == 1
    assert f"+++ {STARTED}" in capsys.readouterr().err
    assert not (folder / STARTED).exists()


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_a_stale_schema_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """A version is read for ever: its schema does not vanish because nothing makes it any more."""
    stale = folder / "schemas" / "halftone.job.paused.v1.json"
    stale.write_text((folder / STARTED).read_text("utf-8"), "utf-8")
    assert main(arguments, folder) == 1
    assert "schemas/halftone.job.paused.v1.json: is stale" in capsys.readouterr().err
    assert stale.exists()


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ({"by": {"type": "string"}}, "/by: removed"),
        ({"attempt": {"type": "string"}}, "/attempt: type changed from string to integer"),
        ({"attempt": {"type": "integer", "minimum": 0}}, "/attempt: minimum raised from 0 to 1"),
        ({"attempt": None}, "/attempt: new, and without a default"),
    ],
)
def test_a_broken_version_is_refused_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], kept: dict[str, Any], says: str
) -> None:
    """Neither the check nor the generator accepts it: the message says which field, and what to do."""
    change(folder / STARTED, **kept)
    before = content(folder)
    for arguments in ([], ["--check"]):
        assert main(arguments, folder) == 1
        shown = capsys.readouterr().err
        assert f"{STARTED}: {says}" in shown
        assert "new version" in shown
    assert content(folder) == before


def test_a_compatible_change_is_written(folder: Path) -> None:
    """A version that gains a field with a default only needs generating."""
    change(folder / "schemas/halftone.job.failed.v1.json", problem=None)
    assert main(["--check"], folder) == 1
    assert main([], folder) == 0
    assert main(["--check"], folder) == 0


def test_a_version_that_is_new_may_say_anything(folder: Path) -> None:
    """Nobody relies on a version without a checked-in schema."""
    change(folder / STARTED, by={"type": "string"})
    assert main([], folder) == 1
    (folder / STARTED).unlink()
    assert main([], folder) == 0
    assert content(folder) == GENERATED


@pytest.mark.parametrize("name", models())
def test_a_published_schema_is_one(name: str) -> None:
    """JSON Schema 2020-12, with an id of its own, that forbids no later field."""
    document = json.loads(GENERATED[f"schemas/{name}.json"])
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == f"urn:halftone:schema:{name}"
    assert '"additionalProperties": false' not in json.dumps(document)


def test_a_golden_message_fits_its_published_schema(golden: bytes) -> None:
    """The envelope and the data, also with fields of a later release; without a required field, or with a wrong one, it does not."""
    document = json.loads(golden)
    kind = MESSAGES[document["type"]]
    schemas = {name: json.loads((FOLDER / f"schemas/{name}.json").read_text("utf-8")) for name in ("halftone.envelope.v1", kind.TYPE)}
    assert document["dataschema"] == schemas[kind.TYPE]["$id"]
    jsonschema.Draft202012Validator(schemas["halftone.envelope.v1"]).validate(document)
    data = jsonschema.Draft202012Validator(schemas[kind.TYPE])
    data.validate(document["data"])
    for name, field in kind.model_fields.items():
        assert not data.is_valid({**document["data"], name: {"neither": "here nor there"}})
        if field.is_required():
            assert not data.is_valid({key: value for key, value in document["data"].items() if key != name})
