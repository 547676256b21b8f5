"""Files that are not sound are refused: with a code, a sentence that says where and what would be right, and nothing left behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import random
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from halftone.tables import errors
from halftone.tables.ingest import ingest
from halftone.tables.limits import Limits

NOISE = random.Random(0).randbytes(100_000)
LINES = b"a,b\n" + b"1,2\n" * 50


def refusal(tmp_path: Path, content: bytes, **limits: int) -> errors.TableError:
    source, target = tmp_path / "in", tmp_path / "out.parquet"
    source.write_bytes(content)
    with pytest.raises(errors.TableError) as caught:
        ingest(source, target, limits=Limits(**limits))
    assert list(tmp_path.iterdir()) == [source]
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


def test_empty_file(tmp_path: Path) -> None:
    """No bytes at all."""
    assert refusal(tmp_path, b"").code == "file-empty"


@pytest.mark.parametrize("content", [b"\n\r\n", b"\xef\xbb\xbf", b" \n \n"])
def test_nothing_but_blank_lines(tmp_path: Path, content: bytes) -> None:
    """Blank lines hold no header."""
    assert refusal(tmp_path, content).code == "file-empty"


@pytest.mark.parametrize("content", [b"a,b", b"a,b\n", b"a,b\r\n\r\n", gzip.compress(b"a,b\n", mtime=0)])
def test_header_without_rows(tmp_path: Path, content: bytes) -> None:
    """A header alone is no table, and the message says that rows are what is missing."""
    error = refusal(tmp_path, content)
    assert error.code == "file-empty"
    assert "no rows" in str(error)


def test_gzip_of_nothing(tmp_path: Path) -> None:
    """An empty file does not become a table by being compressed."""
    assert refusal(tmp_path, gzip.compress(b"", mtime=0)).code == "file-empty"


def test_zero_bytes(tmp_path: Path) -> None:
    """Binary content is refused with the place of its first zero byte."""
    error = refusal(tmp_path, LINES + b"3,\0\n")
    assert (error.code, error.fields["offset"]) == ("file-binary", len(LINES) + 2)


@pytest.mark.parametrize("members", [{}, {"t.csv": "a,b\n1,2\n", "u.csv": "a,b\n1,2\n"}])
def test_an_archive_of_none_or_several(tmp_path: Path, members: dict[str, str]) -> None:
    """Which of two files is the table is not guessed."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("folder/", "")
        for name, text in members.items():
            file.writestr(name, text)
    error = refusal(tmp_path, content.getvalue())
    assert (error.code, error.fields["files"]) == ("archive-members", len(members))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"%PDF-1.7 x", "PDF"),
        (b"SQLite format 3\0", "SQLite"),
        (b'[{"a": 1}]', "JSON array"),
        (gzip.compress(b"PAR1 x PAR1", mtime=0), "inside gzip"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, content: bytes, word: str) -> None:
    """What cannot be read is called by its name, so that its sender knows what to do."""
    error = refusal(tmp_path, content)
    assert error.code == "file-binary"
    assert word in str(error)


def test_latin_1_is_located(tmp_path: Path) -> None:
    """The first byte that is not UTF-8 is named by offset and line."""
    error = refusal(tmp_path, LINES + "3,é\n".encode("latin-1") + LINES)
    assert (error.code, error.fields["offset"], error.fields["line"]) == ("encoding-unknown", len(LINES) + 2, 52)


def test_a_guess_between_encodings_is_refused_with_the_candidates(tmp_path: Path) -> None:
    """French in one byte per letter reads as words in several encodings: they are named instead of one being taken."""
    error = refusal(tmp_path, "nom,ville\nZoé,Besançon\nFrançois,Orléans\n".encode("cp1252") * 20)
    assert error.code == "encoding-unknown"
    assert "cp1252" in error.fields["candidates"]  # type: ignore[operator]
    assert (error.fields["offset"], error.fields["line"]) == (12, 2)


def test_a_character_cut_off_at_the_end(tmp_path: Path) -> None:
    """Half a character at the end of the file is not UTF-8 either."""
    assert refusal(tmp_path, LINES + "3,é".encode()[:-1]).code == "encoding-unknown"


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("t.csv", content)
    return out.getvalue()


def zstd(content: bytes) -> bytes:
    compressed: bytes = pa.compress(content, "zstd", asbytes=True)
    return compressed


PACKERS = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zstd": zstd, "zip": zipped}


@pytest.mark.parametrize("cut", [60, 2000, -1, -4, -9])
@pytest.mark.parametrize("packer", PACKERS)
def test_truncated_uploads(tmp_path: Path, packer: str, cut: int) -> None:
    """A compressed file cut anywhere after its header is said to be too short."""
    assert refusal(tmp_path, PACKERS[packer](b"a,b\n" + NOISE.hex().encode() + b",1\n")[:cut]).code == "file-truncated"


@pytest.mark.parametrize(("packer", "place"), [("gzip", -6), ("bz2", -3), ("xz", 1000), ("zip", 1000)])
def test_damaged_uploads(tmp_path: Path, packer: str, place: int) -> None:
    """A byte that was changed on the way is found, at the latest by the checksum."""
    content = bytearray(PACKERS[packer](b"a,b\n" + NOISE.hex().encode() + b",1\n"))
    content[place] ^= 255
    assert refusal(tmp_path, bytes(content)).code == "file-damaged"


def test_something_after_gzip(tmp_path: Path) -> None:
    """What follows a gzip member must be another one."""
    assert refusal(tmp_path, gzip.compress(LINES) + b"rubbish").code == "file-damaged"


@pytest.mark.parametrize("packer", PACKERS)
def test_decompression_bomb(tmp_path: Path, packer: str) -> None:
    """A small file that unpacks to more than the limit is stopped at the limit."""
    error = refusal(tmp_path, PACKERS[packer](b"a,b\n" + b"1,2\n" * 500_000), data_bytes=1_000_000)
    assert (error.code, error.fields["limit"]) == ("file-too-large", 1_000_000)


@pytest.mark.parametrize(("row", "found"), [(b"1", 1), (b"1,2,3", 3), (b'"x,y"', 1)])
def test_ragged_rows_are_located(tmp_path: Path, row: bytes, found: int) -> None:
    """A row with too few or too many fields is named by its physical line, line breaks in quotes and blank lines included."""
    error = refusal(tmp_path, b'a,b\n1,"x\ny"\n\n2,z\n' + row + b"\n3,4\n")
    assert (error.code, error.fields) == ("row-ragged", {"line": 6, "expected": 2, "found": found})


def test_a_ragged_row_far_into_the_file_is_located(tmp_path: Path) -> None:
    """The line is right beyond the first block, and in gzip."""
    error = refusal(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 5_000 + b"1,2,3\n"), row_bytes=1024)
    assert (error.code, error.fields["line"]) == ("row-ragged", 5_002)


def test_a_ragged_row_after_a_long_field_is_located(tmp_path: Path) -> None:
    """A field of hundreds of kilobytes is read on the way to the row that is wrong."""
    error = refusal(tmp_path, b'a,b\n1,"' + b"x" * 300_000 + b'"\n1\n')
    assert (error.code, error.fields["line"]) == ("row-ragged", 3)


@pytest.mark.parametrize("ending", [b'1,"x', b'1,"x\n2,3\n', b'1,"x\n', b'"x', b'1,5" pipe\n2,"x\n'])
def test_a_file_that_ends_in_a_quote(tmp_path: Path, ending: bytes) -> None:
    """A quote that is never closed swallows the rest of the file: that is said, not accepted."""
    assert refusal(tmp_path, LINES + ending).code == "quote-open"


def test_a_row_beyond_the_limit(tmp_path: Path) -> None:
    """A row that does not fit is refused with its line, since an open quote is the likely cause."""
    error = refusal(tmp_path, LINES + b'1,"' + b"x" * 5_000 + b'"\n', row_bytes=1024)
    assert (error.code, error.fields["line"]) == ("row-too-long", 52)


def test_a_header_beyond_the_limit(tmp_path: Path) -> None:
    """A first line that does not end is no header."""
    assert refusal(tmp_path, b"x" * 200_000, row_bytes=1024).code == "header-too-long"


def test_unnamed_columns(tmp_path: Path) -> None:
    """Columns without a name are named by position."""
    error = refusal(tmp_path, b",a, \n1,2,3\n")
    assert (error.code, error.fields["positions"]) == ("column-unnamed", (1, 3))


def test_duplicate_columns(tmp_path: Path) -> None:
    """Names that are the same once trimmed are the same."""
    error = refusal(tmp_path, b"a,b, a\n1,2,3\n")
    assert (error.code, error.fields["columns"]) == ("column-duplicate", ("a",))
    assert "'a'" in str(error)


def test_names_that_are_too_long(tmp_path: Path) -> None:
    """A name longer than the contract allows is refused, by position."""
    error = refusal(tmp_path, b"a," + b"x" * 257 + b"\n1,2\n")
    assert (error.code, error.fields["positions"]) == ("column-name-too-long", (2,))


def test_too_many_columns(tmp_path: Path) -> None:
    """The limit on columns is checked before any row is read."""
    error = refusal(tmp_path, b"a,b,c\n1,2,3\n", columns=2)
    assert (error.code, error.fields) == ("too-many-columns", {"columns": 3, "limit": 2})


def test_too_many_rows(tmp_path: Path) -> None:
    """The limit on rows stops the reading."""
    assert refusal(tmp_path, LINES, rows=49).code == "too-many-rows"


@pytest.mark.parametrize(
    "content", [b"a,b\n1,secret\nsecret\n", b'a,b\n1,"secret\n', b"a,b\n1,secret\n\xffsecret,1\n", b"a,b\nsecret,\0\n"]
)
def test_no_error_holds_a_value(tmp_path: Path, content: bytes) -> None:
    """What stands in a row appears neither in the message nor in the fields."""
    error = refusal(tmp_path, content)
    assert "secret" not in f"{error!r} {error.fields}"


def test_errors_cross_a_process_boundary() -> None:
    """A worker's error arrives with its class, message and fields."""
    error = errors.RowRagged("line 3 has 2 fields", line=3)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.fields, copy.code) == (errors.RowRagged, "line 3 has 2 fields", {"line": 3}, "row-ragged")


def test_every_error_has_its_own_code_and_message() -> None:
    """Codes are stable and distinct, and each class can speak for itself."""
    kinds = errors.TableError.__subclasses__()
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(kind.__doc__ and str(kind()) == kind.__doc__ for kind in kinds)
