"""What a file's sender knows of it can be said; what is not said is found out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from halftone.tables import errors
from halftone.tables.ingest import ingest
from halftone.tables.limits import Ingested, Limits
from halftone.tables.options import FileFormat, ReadOptions

GERMAN = "name;stadt;beruf\n" + "Jürgen;Köln;Verkäufer für Möbel\nGroß;München;Bäcker\n" * 40
WORDS = "w,n\n" + "".join(f"{word},1\n" for word in ["żółć", "naïve", "日本語", "🎈"] * 300)


def read(tmp_path: Path, content: bytes, limits: Limits | None = None, **options: Any) -> tuple[Ingested, dict[str, list[Any]]]:
    source, target = tmp_path / "in", tmp_path / "out.parquet"
    source.write_bytes(content)
    result = ingest(source, target, limits=limits or Limits(), options=ReadOptions(**options))
    columns: dict[str, list[Any]] = pq.read_table(target).to_pydict()
    return result, columns


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("folder/t.csv", content)
        file.writestr("__MACOSX/folder/._t.csv", "shadow")
    return out.getvalue()


@pytest.mark.parametrize(
    ("compression", "pack"),
    [
        ("gzip", gzip.compress),
        ("bz2", bz2.compress),
        ("xz", lzma.compress),
        ("zstd", lambda content: pa.compress(content, "zstd", asbytes=True)),
    ],
)
def test_compressed_files_in_one_or_more_parts(tmp_path: Path, compression: str, pack: Any) -> None:
    """Each compression is told from the content, and files that were put together from several are read whole."""
    result, table = read(tmp_path, pack(b"a,b\n1,x\n") + pack(b"2,y\n"))
    assert (result.compression, result.compressed) == (compression, True)
    assert table == {"a": [1, 2], "b": ["x", "y"]}


def test_an_archive_of_one(tmp_path: Path) -> None:
    """A ZIP archive with one file is that file, whatever macOS has added."""
    result, table = read(tmp_path, zipped(b"a,b\n1,x\n"))
    assert result.compression == "zip"
    assert table == {"a": [1], "b": ["x"]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_in_any_width(tmp_path: Path, encoding: str) -> None:
    """Marks and zero bytes give the wide encodings away; characters survive any block boundary."""
    text = WORDS if encoding in {"utf-8-sig", "utf-16", "utf-32"} else WORDS.replace("日本語", "Tokio")
    _, table = read(tmp_path, text.encode(encoding), Limits(row_bytes=101))
    assert table["w"] == [line.split(",")[0] for line in text.splitlines()[1:]]


def test_an_encoding_that_alone_makes_words_is_taken(tmp_path: Path) -> None:
    """German in one byte per letter is recognised, also if the first such letter comes late, and its name is told."""
    result, table = read(tmp_path, GERMAN.encode("cp1252"))
    assert result.encoding == "cp1252"
    assert set(table["stadt"]) == {"Köln", "München"}
    late = b"a;b;c\n" + b"1;2;3\n" * 100_000 + GERMAN.split("\n", 1)[1].encode("cp1252")
    assert read(tmp_path, late)[1]["b"][-1] == "München"


def test_an_encoding_that_is_named_is_used(tmp_path: Path) -> None:
    """Whoever wrote the file knows best."""
    assert read(tmp_path, "a,b\n1,é\n".encode("mac-roman"), encoding="mac-roman")[1]["b"] == ["é"]
    with pytest.raises(errors.EncodingUnknown, match="not ascii"):
        read(tmp_path, "a,b\n1,é\n".encode(), encoding="ascii")


@pytest.mark.parametrize("encoding", ["klingon", "rot13"])
def test_an_encoding_that_there_is_not(encoding: str) -> None:
    """A name that is no encoding of text is refused before anything is read."""
    with pytest.raises(errors.EncodingUnknown, match="no encoding is called"):
        ReadOptions(encoding=encoding)


@pytest.mark.parametrize(
    "wrong", [{"delimiter": ",,"}, {"delimiter": "\n"}, {"quote": "“"}, {"delimiter": "'", "quote": "'"}, {"format": "docx"}]
)
def test_options_that_make_no_sense(wrong: dict[str, Any]) -> None:
    """A delimiter or quote is one ASCII character, and formats are those that there are."""
    with pytest.raises(errors.OptionInvalid) as caught:
        ReadOptions(**wrong)
    assert caught.value.fields["option"] in wrong


def test_delimiter_and_quote_as_given(tmp_path: Path) -> None:
    """What is given is not looked for, and no quote at all can be given too."""
    assert read(tmp_path, b"a^b,c\n1^2,5\n", delimiter="^")[1] == {"a": [1], "b,c": ["2,5"]}
    assert read(tmp_path, b"a,b\n1,~x,y~\n", quote="~")[1] == {"a": [1], "b": ["x,y"]}
    assert read(tmp_path, b'a,b\n1,"x\n', quote="")[1] == {"a": [1], "b": ['"x']}


def test_apostrophes_that_quote_are_found(tmp_path: Path) -> None:
    """A header in apostrophes says what quotes; apostrophes within words say nothing."""
    result, table = read(tmp_path, b"'a','b'\n'1,5','x'\n")
    assert (result.quote, table) == ("'", {"a": ["1,5"], "b": ["x"]})
    assert read(tmp_path, b"a,b\n'tis,it's\n")[1] == {"a": ["'tis"], "b": ["it's"]}


def test_a_file_without_header(tmp_path: Path) -> None:
    """The first row is a row, and columns are numbered."""
    assert read(tmp_path, b"1,x\n2,y\n", header=False)[1] == {"column_1": [1, 2], "column_2": ["x", "y"]}


@pytest.mark.parametrize("said", [FileFormat.PARQUET, FileFormat.XLSX])
def test_a_format_that_the_file_is_not_of(tmp_path: Path, said: FileFormat) -> None:
    """A wrong word about the format is refused, not tried."""
    with pytest.raises(errors.FormatMismatch) as caught:
        read(tmp_path, b"a,b\n1,x\n", format=said)
    assert caught.value.fields == {"given": str(said), "found": "csv"}


def test_a_header_that_looks_like_json_can_be_said_to_be_csv(tmp_path: Path) -> None:
    """Between formats of text, what is said counts."""
    assert read(tmp_path, b'{"a"}\nx\n', format="csv")[0].source_format == "csv"


def test_moments_with_a_zone_are_stored_in_utc(tmp_path: Path) -> None:
    """One zone or several: the moment is kept, and its zone is UTC. With and without a zone in one column is text."""
    content = b"a,b\n2024-01-01T12:00:00+02:00,2024-01-01T12:00:00Z\n2024-01-01T12:00:00-05:00,2024-01-01T12:00:00\n"
    _, table = read(tmp_path, content)
    assert [moment.isoformat() for moment in table["a"]] == ["2024-01-01T10:00:00+00:00", "2024-01-01T17:00:00+00:00"]
    assert table["b"] == ["2024-01-01T12:00:00Z", "2024-01-01T12:00:00"]


def test_ten_thousand_columns(tmp_path: Path) -> None:
    """The most columns that are allowed are read, and one more is refused."""
    for count, fits in ((10_000, True), (10_001, False)):
        content = (",".join(f"c{n}" for n in range(count)) + "\n" + ",".join("1" * count) + "\n").encode()
        if fits:
            assert len(read(tmp_path, content)[1]) == count
        else:
            with pytest.raises(errors.TooManyColumns):
                read(tmp_path, content)
