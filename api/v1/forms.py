"""The description of bodies that are read as they come in, and so declared nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, Operation, Reference, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from api.uploads import NAME_LENGTH
from halftone.tables.statement import MOST_CHARACTERS

Properties = dict[str, Reference | Schema]
_READING = {
    "format": "what the file is: csv, jsonl, parquet or xlsx; absent: as its content tells",
    "delimiter": "between the fields of a CSV: one character, or tab",
    "quote": "around fields of a CSV: one character; empty: none",
    "encoding": "of text, such as utf-8 or cp1252",
    "sheet": "of a workbook, by name",
}
_HEADER = "whether the first row names the columns"


@dataclass
class UploadOperation(Operation):
    """What creates a dataset: a form with the file, or the place of one."""

    def __post_init__(self) -> None:
        forms = {"multipart/form-data": _form(), "application/json": _named()}
        content = {kind: OpenAPIMediaType(schema=schema) for kind, schema in forms.items()}
        self.request_body = RequestBody(content=content, required=True)


def _text(description: str, most: int = NAME_LENGTH) -> Schema:
    return Schema(type=OpenAPIType.STRING, max_length=most, description=description)


def _form() -> Schema:
    properties: Properties = {
        "file": Schema(
            type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, description="CSV or JSON lines, also compressed; Parquet; .xlsx"
        ),
        "name": _text("what it is called; absent: as the file"),
        "schema": Schema(
            all_of=[Schema(type=OpenAPIType.STRING)],
            description="JSON of its schema: columns, types, public domains; attested in the caller's name",
        ),
        "header": _text(f"{_HEADER}: true or false"),
    }
    properties |= {name: _text(told) for name, told in _READING.items()}
    return Schema(type=OpenAPIType.OBJECT, properties=properties, required=["file"])


def _place(properties: Properties) -> Schema:
    return Schema(type=OpenAPIType.OBJECT, properties=properties, required=list(properties), additional_properties=False)


def _named() -> Schema:
    places: list[Properties] = [
        {"path": _text("a file of the server's: absolute, below a directory of HALFTONE_READ_PATHS", 4096)},
        {"sql": _text("a database, by its name in GET /v1/sources", 64), "query": _text("one SELECT statement", MOST_CHARACTERS)},
        {"store": _text("an object store, by its name in GET /v1/sources", 64), "key": _text("of a file in it", 1024)},
    ]
    reading: Properties = {name: _text(told) for name, told in _READING.items()}
    reading["header"] = Schema(type=OpenAPIType.BOOLEAN, description=_HEADER)
    properties: Properties = {
        "source": Schema(one_of=[_place(each) for each in places], description="where the rows are"),
        "name": _text("what it is called; absent: as the file"),
        "schema": Schema(type=OpenAPIType.OBJECT, description="its schema; attested in the caller's name"),
        "read": Schema(type=OpenAPIType.OBJECT, properties=reading, additional_properties=False, description="how it is to be read"),
    }
    return Schema(type=OpenAPIType.OBJECT, properties=properties, required=["source"], additional_properties=False)
