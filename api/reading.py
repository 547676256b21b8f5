"""How a file is to be read, as its sender says it: checked here, kept as an object for the worker that reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from contracts.ids import ObjectId, new_id
from contracts.problems import ProblemError
from halftone.tables.errors import TableError
from halftone.tables.options import FileFormat, ReadOptions
from infra.objects import Objects

OPTIONS = ("format", "delimiter", "quote", "encoding", "sheet", "header")
"""Names of what can be said of a file."""
MOST_CHARACTERS = 256
_TAB = {"\\t", "tab"}
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class OptionsWrong(ProblemError):
    """An option of reading makes no sense."""

    status, code = 422, "option-invalid"


def read_options(given: Mapping[str, str]) -> ReadOptions | None:
    """The options among what a client sent; None where nothing was said, and all is detected. Raises OptionsWrong, naming the option."""
    said = {name: value for name, value in given.items() if name in OPTIONS and (value or name == "quote")}
    if not said:
        return None
    for name, value in said.items():
        if len(value) > MOST_CHARACTERS or not value.replace("\t", "").isprintable():
            raise OptionsWrong(f"{name}: must be one line of at most {MOST_CHARACTERS} characters.", parameter=name)
    delimiter = said.get("delimiter")
    try:
        return ReadOptions(
            format=_format(said.get("format")),
            delimiter="\t" if delimiter in _TAB else delimiter,
            quote=said.get("quote"),
            encoding=said.get("encoding"),
            sheet=said.get("sheet"),
            header=_header(said.get("header")),
        )
    except TableError as error:
        raise OptionsWrong(f"{str(error)[:1].upper()}{str(error)[1:]}.", parameter=str(error.fields.get("option", "encoding"))) from None


def _format(given: str | None) -> FileFormat:
    if given is None:
        return FileFormat.AUTO
    try:
        return FileFormat(given)
    except ValueError:
        raise OptionsWrong(f"format: must be one of {', '.join(FileFormat)}.", parameter="format") from None


def _header(given: str | None) -> bool:
    if given is None:
        return True
    try:
        return _WORDS[given.lower()]
    except KeyError:
        raise OptionsWrong("header: must be true, where the first row names the columns, or false.", parameter="header") from None


def store_options(objects: Objects, options: ReadOptions) -> ObjectId:
    """Keep options for the worker; blocks."""
    return objects.put(new_id("obj"), json.dumps(asdict(options)).encode())
