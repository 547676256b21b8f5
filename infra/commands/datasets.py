"""Datasets and models, on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.commands import output
from infra.commands.jobs import DatasetArgument
from infra.commands.session import Session, TimeoutOption, WaitOption, connected

app = typer.Typer(no_args_is_help=True, help="Tables: brought in, looked at, saved, deleted.", rich_markup_mode=None)
_COLUMNS: list[output.Column] = [
    ("dataset", lambda view: view.id),
    ("name", lambda view: view.name),
    ("origin", lambda view: view.origin),
    ("state", lambda view: view.state),
    ("versions", lambda view: len(view.versions)),
    ("created", lambda view: view.created),
]
_DETAILS: list[output.Column] = [
    *_COLUMNS[:5],
    ("made from", lambda view: ", ".join(view.parents)),
    ("schema attested", lambda view: view.versions[-1].attested if view.versions else None),
    ("job", lambda view: view.job),
    ("account", lambda view: view.account),
    ("created", lambda view: view.created),
    ("kept for days", lambda view: view.retention_days),
    ("problem", lambda view: view.problem.detail if view.problem else None),
]
_MODELS: list[output.Column] = [
    ("model", lambda view: view.id),
    ("engine", lambda view: view.engine),
    ("epsilon", lambda view: view.epsilon),
    ("dataset", lambda view: view.dataset),
    ("synthetic", lambda view: view.synthetic),
    ("created", lambda view: view.created),
]


@app.command("list")
@connected
def list_datasets(session: Session, limit: Annotated[int, typer.Option(min=1, help="Most datasets to show.")] = 50) -> None:
    """Show datasets, the newest first."""
    found = session.client.datasets.list(limit=limit)
    output.table(found, _COLUMNS, as_json=session.json, empty="no datasets: 'halftone datasets add FILE' brings one in")


@app.command("add")
@connected
def add(
    session: Session,
    file: Annotated[
        Path | None,
        typer.Argument(help="CSV (also compressed), Parquet, JSON lines or a workbook; or one of the next.", show_default=False),
    ] = None,
    path: Annotated[str | None, typer.Option(help="A file that the server may read, by its path there.", show_default=False)] = None,
    sql: Annotated[str | None, typer.Option(help="A database that the server's settings name; with --query.", show_default=False)] = None,
    query: Annotated[str | None, typer.Option(help="One SELECT statement for it.", show_default=False)] = None,
    store: Annotated[
        str | None, typer.Option("--from", help="An object store that the server's settings name; with --key.", show_default=False)
    ] = None,
    key: Annotated[str | None, typer.Option(help="Of a file in it.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="What it is called.", show_default="as the file")] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Its schema as JSON: attested in the name of whose token this is.", show_default=False)
    ] = None,
    format: Annotated[str | None, typer.Option(help="csv, jsonl, parquet or xlsx.", show_default="detected")] = None,  # noqa: A002  # the option's name
    delimiter: Annotated[str | None, typer.Option(help="Between fields: one character, or tab.", show_default="detected")] = None,
    quote: Annotated[str | None, typer.Option(help="Around fields: one character; empty: none.", show_default="detected")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of text, such as cp1252.", show_default="detected")] = None,
    sheet: Annotated[str | None, typer.Option(help="Of a workbook, by name.", show_default="the only one")] = None,
    header: Annotated[bool, typer.Option(help="Whether the first row names the columns.")] = True,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
) -> None:
    """Bring a table in. Writes the new dataset's id, or with --no-wait the job's."""
    declared = None if schema is None else read_schema(schema)
    said = {"format": format, "delimiter": delimiter, "quote": quote, "encoding": encoding, "sheet": sheet}
    read: dict[str, str | bool] = {option: value for option, value in said.items() if value is not None}
    if not header:
        read["header"] = False
    source = {each: value for each, value in _places(path, sql, query, store, key) if value is not None}
    if (file is None) == (not source):
        output.fail("name a FILE; or --path; or --sql and --query; or --from and --key", output.USAGE)
    if file is None:
        job = session.client.datasets.begin_fetch(source, name=name, schema=declared, read=read)
    else:
        job = session.client.datasets.begin_upload(file, name=name, schema=declared, read=read)
    if not wait:
        typer.echo(json.dumps({"id": job.id}) if session.json else job.id)
        return
    session.follow(job, timeout)
    view = session.client.datasets.get(job.dataset or "")
    if session.json:
        output.print_json(view)
    else:
        typer.echo(view.id)


def _places(*given: str | None) -> Iterator[tuple[str, str | None]]:
    return zip(("path", "sql", "query", "store", "key"), given, strict=True)


@app.command("sources")
@connected
def sources(session: Session) -> None:
    """Show the databases and object stores that datasets can be made from."""
    columns: list[output.Column] = [("name", lambda source: source.name), ("kind", lambda source: source.kind)]
    output.table(session.client.datasets.sources(), columns, as_json=session.json, empty="none is named in the settings")


@app.command("show")
@connected
def show(session: Session, dataset: DatasetArgument) -> None:
    """Show where a dataset stands."""
    output.details(session.client.datasets.get(session.dataset(dataset)), _DETAILS, as_json=session.json)


@app.command("head")
@connected
def head(
    session: Session,
    dataset: DatasetArgument,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, max=100, help="Most rows to show.")] = 10,
) -> None:
    """Show a few rows, always the same ones: of a real dataset, for holders of the raw right."""
    found = session.client.datasets.sample(session.dataset(dataset), rows=rows)
    columns: list[output.Column] = [(name, _value(name)) for name in found.columns]
    output.table(found.rows, columns, as_json=session.json, empty="no rows")


def _value(name: str) -> Any:
    return lambda row: row.get(name)


@app.command("profile")
@connected
def profile(session: Session, dataset: DatasetArgument) -> None:
    """Write counts, ranges and departures from the schema as JSON: for holders of the raw right."""
    output.print_json(session.client.datasets.profile(session.dataset(dataset)))


@app.command("save")
@connected
def save(
    session: Session,
    dataset: DatasetArgument,
    file: Annotated[Path, typer.Argument(help="File to write: .parquet, .csv, .jsonl or .xlsx.", show_default=False)],
) -> None:
    """Save a dataset's rows; those of a real one for holders of the raw right, entered in the ledger as observed."""
    session.client.datasets.save(session.dataset(dataset), file)
    output.note(f"rows in {file}")


@app.command("rename")
@connected
def rename(
    session: Session, dataset: DatasetArgument, name: Annotated[str, typer.Argument(help="The new name.", show_default=False)]
) -> None:
    """Call a dataset by another name."""
    output.details(session.client.datasets.rename(session.dataset(dataset), name), _DETAILS[:2], as_json=session.json)


@app.command("keep")
@connected
def keep(
    session: Session,
    dataset: DatasetArgument,
    days: Annotated[int | None, typer.Option(min=1, help="Days after its registration; then its rows are removed.")] = None,
    for_good: Annotated[bool, typer.Option("--for-good", help="Until somebody removes it.")] = False,
) -> None:
    """Say for how long a dataset is kept: what was made from it stays."""
    if (days is None) != for_good:
        output.fail("say either --days N or --for-good", output.USAGE)
    output.details(session.client.datasets.keep(session.dataset(dataset), days), _DETAILS, as_json=session.json)


@app.command("remove")
@connected
def remove(
    session: Session,
    dataset: DatasetArgument,
    cascade: Annotated[bool, typer.Option("--cascade", help="Also what was made from it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a dataset's rows for good. Its budget, and what was spent of it, stay."""
    found = session.dataset(dataset)
    if not yes:
        if not sys.stdin.isatty():
            output.fail("there is nobody to ask: say --yes", output.USAGE)
        typer.confirm(f"Remove the rows of {found} for good?", abort=True, err=True)
    deleted = session.client.datasets.delete(found, cascade=cascade)
    output.table(deleted.datasets, [("dataset", str)], as_json=session.json, empty="it was removed before")


@connected
def models(
    session: Session,
    dataset: Annotated[str | None, typer.Option(help="Only those fitted to this dataset, or that drew it.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most models to show.")] = 20,
) -> None:
    """Show what was fitted, and can be drawn from again at no cost."""
    chosen = None if dataset is None else session.dataset(dataset)
    output.table(session.client.models.list(dataset=chosen, limit=limit), _MODELS, as_json=session.json, empty="no models")


@connected
def engines(session: Session) -> None:
    """Show what there is to synthesize with."""
    columns: list[output.Column] = [("engine", lambda each: each.name), ("", lambda each: "default" if each.default else None)]
    output.table(session.client.engines(), columns, as_json=session.json)


def read_schema(path: Path) -> dict[str, Any]:
    """A schema from a file, or from standard input for '-': also a draft, or what the API answered. Exits where it is none."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        data = json.loads(text)
    except FileNotFoundError:
        output.fail(f"there is no file {path}", output.USAGE)
    except (OSError, ValueError) as error:
        output.fail(f"{path} is not JSON: {error}")
    if isinstance(data, dict) and "guesses" in data:
        data = data["schema"]
    if not isinstance(data, dict) or not {"columns", "tables"} & data.keys():
        output.fail(f'{path} is no schema: it is an object with "columns"; see docs/schemas.md')
    return data
