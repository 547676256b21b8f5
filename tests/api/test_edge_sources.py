"""Datasets made of files that the server reads itself: below what is opened, and nowhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from contracts.jobs import IngestSpec

pytestmark = pytest.mark.asyncio(loop_scope="module")

CSV = b"age;city\n41;Bern\n"


@pytest.fixture
def opened(system: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that the running edge may read, with a table, and one beside it that it may not."""
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "people.csv").write_bytes(CSV)
    (tmp_path / "secret.csv").write_bytes(CSV)
    # The running edge holds this very object.
    monkeypatch.setitem(system.settings.__dict__, "read_paths", f"/nowhere:{directory}:{system.home.path}")
    return directory


def held(system: Any) -> set[str]:
    return {path.name for path in system.home.objects.rglob("*") if path.is_file()}


async def test_a_file_of_the_server_becomes_a_dataset(system: Any, opened: Path) -> None:
    """As if it had been uploaded: its bytes are copied, its name is the file's, its options and schema count."""
    schema = {"columns": [{"name": "age", "type": "integer"}, {"name": "city", "type": "text"}]}
    body = {"source": {"path": str(opened / "people.csv")}, "read": {"delimiter": ";", "header": True}, "schema": schema}
    answer = await system.http.post("/v1/datasets", json=body)
    assert answer.status_code == 202, answer.text
    (command,) = await system.sent(answer.json()["job"])
    spec: Any = command.message.spec
    assert isinstance(spec, IngestSpec)
    assert system.objects.read(spec.source) == CSV
    assert json.loads(system.objects.read(spec.options))["delimiter"] == ";"
    assert spec.declared is not None
    assert str(opened).encode() not in command.dump()
    assert (await system.http.get(answer.headers["location"])).json()["name"] == "people.csv"


async def test_the_same_content_falls_under_the_same_budget_wherever_it_came_from(system: Any, opened: Path) -> None:
    """Sent or read, it is the same people."""
    content = CSV + os.urandom(8).hex().encode() + b";x\n"
    (opened / "other.csv").write_bytes(content)
    sent = await system.upload(content)
    read = (await system.http.post("/v1/datasets", json={"source": {"path": str(opened / "other.csv")}, "name": "read"})).json()
    accounts = [(await system.http.get(f"/v1/datasets/{each['dataset']}")).json()["account"] for each in (sent, read)]
    assert accounts[0] == accounts[1]


@pytest.mark.parametrize(
    "path", ["secret.csv", "data/../secret.csv", "data/link.csv", "absent.csv", "data-beside/x.csv", "", "/etc/passwd", "/"]
)
async def test_what_is_not_opened_is_refused_whether_it_is_there_or_not(system: Any, opened: Path, path: str) -> None:
    """Beside it, above it, through a link, nowhere: one and the same answer, and nothing is kept."""
    (opened / "link.csv").symlink_to(opened.parent / "secret.csv")
    before = held(system)
    answer = await system.http.post("/v1/datasets", json={"source": {"path": str(opened.parent / path)}})
    problem = await system.problem(answer, 403, "source-not-allowed")
    assert (problem["parameter"], "HALFTONE_READ_PATHS" in problem["detail"]) == ("source.path", True)
    assert held(system) == before


async def test_the_home_is_never_read(system: Any, opened: Path) -> None:
    """Not even where a directory that is opened holds it: tokens and objects are in there."""
    (system.home.path / "admin-token").write_text("not to be had")
    answer = await system.http.post("/v1/datasets", json={"source": {"path": str(system.home.path / "admin-token")}})
    await system.problem(answer, 403, "source-not-allowed")


@pytest.mark.parametrize("path", ["people.csv", "data/people.csv", "./x", "~/x", "/a\x00b", "/a\nb"])
async def test_a_path_that_is_not_absolute_is_refused(system: Any, opened: Path, path: str) -> None:
    """It would depend on where the server was started; control characters are in no path of ours."""
    await system.problem(await system.http.post("/v1/datasets", json={"source": {"path": path}}), 403, "source-not-allowed")


async def test_without_the_setting_nothing_is_read(system: Any, tmp_path: Path) -> None:
    """Closed until an administrator opens it."""
    (tmp_path / "a.csv").write_bytes(CSV)
    answer = await system.http.post("/v1/datasets", json={"source": {"path": str(tmp_path / "a.csv")}})
    await system.problem(answer, 403, "source-not-allowed")


async def test_what_is_no_table_to_read_is_refused_and_leaves_nothing(system: Any, opened: Path) -> None:
    """A file that is missing, a directory, a pipe that nobody writes to, an empty file, one beyond the limit."""
    os.mkfifo(opened / "pipe")
    (opened / "empty.csv").touch()
    (opened / "large.csv").write_bytes(b"x" * (system.settings.max_upload_bytes + 1))
    before = held(system)
    for name, status, code in (
        ("absent.csv", 404, "not-found"),
        ("", 422, "source-not-file"),
        ("pipe", 422, "source-not-file"),
        ("empty.csv", 422, "file-empty"),
        ("large.csv", 413, "too-large"),
    ):
        await system.problem(await system.http.post("/v1/datasets", json={"source": {"path": str(opened / name)}}), status, code)
    assert held(system) == before


@pytest.mark.parametrize(
    ("body", "status", "parameter"),
    [
        ("{", 400, None),
        ("{}", 422, "source"),
        ('{"source": "/data"}', 422, "source"),
        ('{"source": {}}', 422, "source"),
        ('{"source": {"path": 1}}', 422, "source.path"),
        ('{"source": {"path": "/x"}, "names": "x"}', 422, "names"),
        ('{"source": {"path": "/x"}, "read": {"quoting": "x"}}', 422, "read.quoting"),
        ('{"source": {"path": "/x"}, "read": {"header": "true"}}', 422, "read.header"),
        ('{"source": {"path": "/x"}, "schema": "x"}', 422, "schema"),
    ],
)
async def test_a_body_that_makes_no_sense_names_its_parameter(system: Any, body: str, status: int, parameter: str | None) -> None:
    """What is missing, unknown, or of another type."""
    answer = await system.http.post("/v1/datasets", content=body, headers={"Content-Type": "application/json"})
    problem = await system.problem(answer, status, "request-invalid" if status == 422 else "body-not-json")
    assert problem.get("parameter") == parameter
