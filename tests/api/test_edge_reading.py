"""How an upload is to be read, said beside it: checked at once, kept for the worker, never on the bus."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.reading import OPTIONS, OptionsWrong, read_options
from contracts import subjects
from contracts.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

CSV = b"a;b\n1;2\n"


async def test_what_is_said_of_a_file_is_kept_for_its_worker(system: Any) -> None:
    """As an object that the command names; none of it crosses the bus."""
    said = {"format": "csv", "delimiter": ";", "quote": "", "encoding": "cp1252", "header": "false", "sheet": "Telling name"}
    answer = await system.upload(CSV, **said)
    (command,) = await system.sent(answer["job"])
    held = json.loads(system.objects.read(command.message.spec.options))
    assert held == {**said, "header": False}
    events = await system.stored(subjects.EVENTS, answer["job"])
    assert not any(b"Telling" in envelope.dump() or b"cp1252" in envelope.dump() for envelope in (command, *events))


async def test_nothing_said_is_nothing_kept(system: Any) -> None:
    """All is detected then; an empty part says nothing either, but for the quote."""
    answer = await system.upload(CSV, format="", delimiter="", encoding="")
    (command,) = await system.sent(answer["job"])
    assert command.message.spec.options is None


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("format", "pdf", "csv"),
        ("delimiter", "::", "one ASCII character"),
        ("delimiter", "\u20ac", "one ASCII character"),
        ("quote", "''", "one ASCII character"),
        ("encoding", "klingon", "utf-8"),
        ("encoding", "rot13", "utf-8"),
        ("header", "perhaps", "true"),
        ("sheet", "s" * 257, "256"),
        ("sheet", "a\nb", "one line"),
    ],
)
async def test_an_option_that_makes_no_sense_is_refused_and_leaves_nothing(system: Any, option: str, value: str, says: str) -> None:
    """422, before anything is promised: which option, and what would be right; the upload is not kept."""
    before = {path.name for path in system.home.objects.rglob("obj_*")}
    answer = await system.http.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={option: value})
    problem = await system.problem(answer, 422, "option-invalid")
    assert problem["parameter"] == option
    assert says in problem["detail"]
    assert {path.name for path in system.home.objects.rglob("obj_*")} == before


async def test_an_option_that_is_not_utf_8_is_refused(system: Any) -> None:
    """Its part is named."""
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\na\n1\r\n--b\r\n'
    form += b'Content-Disposition: form-data; name="sheet"\r\n\r\n\xff\xfe\r\n--b--\r\n'
    answer = await system.http.post("/v1/datasets", content=form, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert (await system.problem(answer, 422, "request-invalid"))["parameter"] == "sheet"


async def test_other_options_under_a_key_are_another_request(system: Any) -> None:
    """The same file read in another way is not what was promised."""
    headers = {"Idempotency-Key": new_id("key")}
    answers = [
        await system.http.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={"delimiter": delimiter}, headers=headers)
        for delimiter in (";", ";", ",")
    ]
    assert answers[0].json()["dataset"] == answers[1].json()["dataset"]
    await system.problem(answers[2], 409, "idempotency-key-reused")


@pytest.mark.parametrize("written", ["\t", "\\t", "tab"])
async def test_a_tab_can_be_written_as_a_word(written: str) -> None:
    """Forms and shells make it hard to send one."""
    options = read_options({"delimiter": written})
    assert options is not None
    assert options.delimiter == "\t"


async def test_every_option_is_one_of_the_librarys() -> None:
    """None is promised that is not read, and none is left out."""
    options = read_options({"quote": ""})
    assert options is not None
    assert set(options.__dataclass_fields__) == set(OPTIONS)
    with pytest.raises(OptionsWrong, match="same"):
        read_options({"delimiter": "'", "quote": "'"})
