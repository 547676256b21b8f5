"""Files: whole and as they were stored, or not at all; and tables on their way in."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from halftone.client.download import fetched, format_of, saved, table_request
from halftone.client.errors import AnswerWrong, TableNotUsable
from halftone.client.flow import Lost
from halftone.client.request import Answer, get
from halftone.client.tables import arrow_table, file_part
from played_flow import Play

CONTENT = b"0123456789" * 3
HEADERS = {"etag": '"abc"', "repr-digest": f"sha-256=:{base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()}:"}
WHOLE, PART = Answer(200, HEADERS), Answer(206, HEADERS)
FILE = get("/v1/artifacts/obj_x")


def test_a_broken_download_goes_on_where_it_broke() -> None:
    """On condition that the file is still the same one."""
    play = Play([WHOLE, CONTENT[:12], Lost("reset"), PART, CONTENT[12:], b""])
    assert play.run(fetched(play.core, FILE)) == CONTENT
    assert (play.asked[1].headers["Range"], play.asked[1].headers["If-Range"]) == ("bytes=12-", '"abc"')


def test_a_file_that_changed_meanwhile_is_not_patched_together() -> None:
    """Two halves of two files are none."""
    play = Play([WHOLE, CONTENT[:12], Lost("reset"), Answer(200, {"etag": '"other"'})])
    with pytest.raises(AnswerWrong, match="another one now"):
        play.run(fetched(play.core, FILE))


def test_a_damaged_file_is_found() -> None:
    """The hash that the server states is checked."""
    play = Play([WHOLE, CONTENT[:-1] + b"X", b""])
    with pytest.raises(AnswerWrong, match="damaged"):
        play.run(fetched(play.core, FILE))


def test_a_file_that_has_to_be_written_first_is_waited_for() -> None:
    """202 says when to ask again."""
    play = Play([Answer(202, {"retry-after": "1"}), WHOLE, CONTENT, b""])
    assert play.run(fetched(play.core, table_request("ds_x", 1, "csv"))) == CONTENT
    assert play.slept == [1.0]
    assert play.asked[1].query == {"format": "csv"}


def test_a_file_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was there before stays there until the new one is complete."""
    target = tmp_path / "copy.parquet"
    target.write_bytes(b"before")
    broken = Play([WHOLE, b"X", b""])
    with pytest.raises(AnswerWrong):
        broken.run(saved(broken.core, FILE, target))
    assert target.read_bytes() == b"before"
    play = Play([WHOLE, CONTENT, b""])
    play.run(saved(play.core, FILE, target))
    assert target.read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["copy.parquet"]


def test_a_format_is_told_by_the_name() -> None:
    """One that is not known names those that are."""
    assert [format_of(Path(name)) for name in ("a.CSV", "a.parquet", "a.ndjson", "a.xlsx")] == ["csv", "parquet", "jsonl", "xlsx"]
    with pytest.raises(TableNotUsable, match=r"\.parquet, \.csv"):
        format_of(Path("a.txt"))


def test_a_path_can_be_sent_again(tmp_path: Path) -> None:
    """Each try opens the file anew."""
    path = tmp_path / "people.csv"
    path.write_bytes(b"a\n1\n")
    part = file_part(path, None)
    assert part.name == "people.csv"
    for _ in range(2):
        with part.open() as file:
            assert file.read() == b"a\n1\n"


def test_a_frame_is_sent_as_parquet_without_its_index() -> None:
    """Types survive; categories become the values that they stand for."""
    frame = pd.DataFrame({"city": pd.Categorical(["Bern", "Basel"]), "age": [41, 29]}, index=[7, 8])
    part = file_part(frame, None)
    with part.open() as file:
        sent = pq.read_table(io.BytesIO(file.read()))
    assert sent.to_pydict() == {"city": ["Bern", "Basel"], "age": [41, 29]}
    assert not pa.types.is_dictionary(sent.schema.field("city").type)


def test_an_arrow_table_comes_back_as_it_went() -> None:
    """Parquet both ways."""
    table = pa.table({"n": [1, None, 3], "t": ["x", "y", None]})
    with file_part(table, None).open() as file:
        assert arrow_table(file.read()).equals(table)


@pytest.mark.parametrize("source", ["/nowhere/people.csv", 7, {"a": [1]}])
def test_what_is_no_table_is_said(source: object) -> None:
    """Before anything is sent."""
    with pytest.raises(TableNotUsable):
        file_part(source, None)
