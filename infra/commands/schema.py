"""Schemas, on the command line: drafted, shown, attested."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.commands import output
from infra.commands.datasets import read_schema
from infra.commands.jobs import DatasetArgument
from infra.commands.session import Session, connected

app = typer.Typer(no_args_is_help=True, help="What is publicly known of a table: drafted, corrected, attested.", rich_markup_mode=None)


def _domain(column: Any) -> str | None:
    if column.categories is not None:
        shown = ", ".join(str(value) for value in column.categories[:6])
        return shown + (f", ... ({len(column.categories)})" if len(column.categories) > 6 else "")
    return None if column.minimum is None and column.maximum is None else f"{column.minimum} to {column.maximum}"


_COLUMNS: list[output.Column] = [
    ("column", lambda column: column.name),
    ("type", lambda column: column.type),
    ("domain", _domain),
    ("nullable", lambda column: "nullable" if column.nullable else None),
    ("semantic", lambda column: column.semantic),
    ("pii", lambda column: column.pii),
]


@app.command("draft")
@connected
def draft(
    session: Session,
    source: Annotated[str, typer.Argument(help="A file; or id or name of a dataset, whose draft is fetched.", show_default=False)],
    save: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write the schema to.", show_default="standard output")
    ] = None,
) -> None:
    """Write a schema drafted from rows, for you to correct; what each guess was taken from is told beside it.

    A file is read here, and sent nowhere. What was read off rows is not public by that alone: 'halftone schema attest' says, in your
    name, that it is.
    """
    drafted = _of_file(Path(source)) if Path(source).is_file() else session.client.datasets.draft_schema(session.dataset(source))
    if session.json:
        output.print_json(drafted)
        return
    for guess in drafted["guesses"]:
        checked = f"; check {guess['check']}" if guess["check"] else ""
        taken = ", ".join(guess["taken_from"])
        output.note(f"{guess['column']}: {guess['about']} {guess['value']} ({guess['confidence']}, from {taken}){checked}")
    text = json.dumps(_without_nothing(drafted["schema"]), indent=1, ensure_ascii=False) + "\n"
    if save is None:
        sys.stdout.write(text)
    else:
        save.write_text(text)
        output.note(f"correct {save}, then: halftone schema attest DATASET {save}")


def _of_file(file: Path) -> dict[str, Any]:
    import tempfile

    from halftone.schemas.draft import draft as drafted
    from halftone.tables.errors import TableError
    from halftone.tables.ingest import ingest

    with tempfile.TemporaryDirectory() as directory:
        stored = Path(directory) / "table.parquet"
        try:
            ingest(file, stored)
        except TableError as error:
            output.fail(f"{file}: {error} ({error.code})")
        return drafted(stored, name=file.name.partition(".")[0] or "table").to_dict()


def _without_nothing(data: Any) -> Any:
    """What is not said is left out: a person has to read it."""
    if isinstance(data, dict):
        kept = {name: _without_nothing(value) for name, value in data.items()}
        return {name: value for name, value in kept.items() if not (value is None or value is False or value == [])}
    return [_without_nothing(item) for item in data] if isinstance(data, list) else data


@app.command("show")
@connected
def show(session: Session, dataset: DatasetArgument) -> None:
    """Show a dataset's schema; with --json as 'halftone schema attest' takes it."""
    schema = session.client.datasets.schema(session.dataset(dataset))
    if session.json:
        output.print_json(_without_nothing(schema.model_dump(mode="json")))
        return
    said = (
        f"attested by {schema.attested_by} at {schema.attested}" if schema.attested_by else f"{schema.status}: nobody has attested it yet"
    )
    output.note(f"version {schema.version}, {said}")
    output.table(schema.tables[0].columns, _COLUMNS, as_json=False)


@app.command("attest")
@connected
def attest(
    session: Session,
    dataset: DatasetArgument,
    file: Annotated[Path, typer.Argument(help="The schema as JSON; - reads standard input.", show_default=False)],
) -> None:
    """Say, in the name of whose token this is, that a schema with its categories and bounds is public knowledge."""
    schema = session.client.datasets.attest(session.dataset(dataset), read_schema(file))
    if session.json:
        output.print_json(schema)
        return
    output.note(f"{len(schema.tables[0].columns)} columns attested by {schema.attested_by}")
