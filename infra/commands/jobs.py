"""Jobs: asked for, looked at, waited for, ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.commands import output
from infra.commands.session import Session, TimeoutOption, WaitOption, connected

if TYPE_CHECKING:
    from halftone.client import Job

JobArgument = Annotated[str, typer.Argument(help="Id of the job.", show_default=False)]
DatasetArgument = Annotated[str, typer.Argument(help="Id or name of the dataset.", show_default=False)]
RowsOption = Annotated[int | None, typer.Option(min=1, help="Rows to draw.", show_default="a noisy count of the real ones")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Seed of the drawing; noise is never seeded.", show_default=False)]
NameOption = Annotated[str | None, typer.Option(help="What the new dataset is called.", show_default=False)]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Save the rows: .parquet, .csv, .jsonl or .xlsx.", show_default=False)
]
_COLUMNS: list[output.Column] = [
    ("job", lambda view: view.id),
    ("kind", lambda view: view.kind),
    ("state", lambda view: view.state),
    ("progress", lambda view: f"{view.progress.fraction:.0%} {view.progress.step}" if view.progress else None),
    ("created", lambda view: view.created),
    ("ended", lambda view: view.ended),
]
_DETAILS: list[output.Column] = [
    *_COLUMNS[:4],
    ("attempt", lambda view: view.attempt),
    ("created", lambda view: view.created),
    ("started", lambda view: view.started),
    ("ended", lambda view: view.ended),
    ("dataset", lambda view: view.links.get("dataset", "").rpartition("/")[2]),
    ("outputs", lambda view: ", ".join(f"{each.role} {each.artifact}" for each in view.outputs)),
    ("problem", lambda view: view.problem.detail if view.problem else None),
]


@connected
def synthesize(
    session: Session,
    dataset: DatasetArgument,
    epsilon: Annotated[float, typer.Option(help="What it may cost: see docs/choosing-epsilon.md.", show_default=False)],
    delta: Annotated[float | None, typer.Option(help="The delta that goes with it.", show_default="1e-9")] = None,
    rows: RowsOption = None,
    engine: Annotated[str | None, typer.Option(help="One of 'halftone engines'.", show_default="marginal")] = None,
    seed: SeedOption = None,
    name: NameOption = None,
    save: OutputOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
) -> None:
    """Make a synthetic table of a real one, at a cost to its budget. Writes the new dataset's id, or with --no-wait the job's."""
    job = session.client.synthesize(session.dataset(dataset), epsilon=epsilon, delta=delta, rows=rows, engine=engine, seed=seed, name=name)
    _made(session, job, save, wait=wait, timeout=timeout)


@connected
def sample(
    session: Session,
    model: Annotated[str, typer.Argument(help="Id of a model; or id or name of a dataset that has one.", show_default=False)],
    rows: RowsOption = None,
    seed: SeedOption = None,
    name: NameOption = None,
    save: OutputOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
) -> None:
    """Draw more rows from a model that was fitted before: it costs nothing. Writes the new dataset's id, or with --no-wait the job's."""
    if not model.startswith("obj_"):
        dataset = session.dataset(model)
        found = next(session.client.models.list(dataset=dataset, limit=1), None)
        if found is None:
            output.fail(f"dataset {dataset} has no model: 'halftone synthesize' makes one", output.NOT_FOUND)
        model = found.id
    _made(session, session.client.sample(model, rows=rows, seed=seed, name=name), save, wait=wait, timeout=timeout)


def _made(session: Session, job: Job, save: Path | None, *, wait: bool, timeout: float | None) -> None:
    """Wait for a job that makes a table, save that, and write its id."""
    if not wait:
        if save is not None:
            output.fail("--output needs the rows: leave --no-wait away", output.USAGE)
        _accepted(session, job)
        return
    view = session.follow(job, timeout)
    if save is not None:
        job.save(save)
        output.note(f"rows in {save}")
    if session.json:
        output.print_json(view)
    else:
        typer.echo(job.dataset)


def _accepted(session: Session, job: Job) -> None:
    if session.json:
        output.print_json({"id": job.id})
    else:
        typer.echo(job.id)


@connected
def evaluate(
    session: Session,
    dataset: Annotated[str, typer.Argument(help="Id or name of the synthetic dataset.", show_default=False)],
    real: Annotated[str | None, typer.Option(help="Id or name of the real dataset.", show_default="the one that it was made from")] = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
) -> None:
    """Measure a synthetic table against the real one. The figures are raw: for holders of the raw right, and entered as observed."""
    job = session.client.evaluate(session.dataset(dataset), real=None if real is None else session.dataset(real))
    if not wait:
        _accepted(session, job)
        return
    session.follow(job, timeout)
    report = job.report()
    if session.json:
        output.print_json(report)
        return
    columns: list[output.Column] = [("figure", lambda item: item[0])]
    columns += [(heading, _figure(heading)) for heading in ("value", "floor", "ceiling")]
    output.table(report["figures"].items(), columns, as_json=False)


def _figure(heading: str) -> Any:
    return lambda item: item[1].get(heading)


@connected
def list_jobs(
    session: Session,
    state: Annotated[str | None, typer.Option(help="accepted, queued, running, completed, failed, cancelled or refused.")] = None,
    kind: Annotated[str | None, typer.Option(help="ingest, synthesize, sample, evaluate, export or noop.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only jobs that read or make this dataset.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to show.")] = 20,
) -> None:
    """Show jobs, the newest first."""
    chosen = None if dataset is None else session.dataset(dataset)
    found = session.client.jobs.list(state=state, kind=kind, dataset=chosen, limit=limit)
    output.table(found, _COLUMNS, as_json=session.json, empty="no jobs")


@connected
def show_job(
    session: Session,
    job: JobArgument,
    log: Annotated[bool, typer.Option("--log", help="Write what its process said instead: for holders of the raw right.")] = False,
) -> None:
    """Show where a job stands, and what went wrong if something did."""
    handle = session.client.jobs.get(job)
    if log:
        typer.echo(handle.log(), nl=False)
        return
    output.details(handle.view, _DETAILS, as_json=session.json)


@connected
def watch(session: Session, job: JobArgument, timeout: TimeoutOption = None) -> None:
    """Follow a job to its end, and show how it ended."""
    handle = session.client.jobs.get(job)
    output.details(session.follow(handle, timeout), _DETAILS, as_json=session.json)


@connected
def cancel(session: Session, job: JobArgument) -> None:
    """End a job, wherever it stands. What it has spent stays spent."""
    handle = session.client.jobs.get(job)
    handle.cancel()
    _accepted(session, handle)


@connected
def retry(session: Session, job: JobArgument, wait: WaitOption = True, timeout: TimeoutOption = None) -> None:
    """Ask again for a job that failed, was cancelled or refused. Writes the new job's id."""
    again = session.client.jobs.get(job).retry()
    if wait:
        session.follow(again, timeout)
    _accepted(session, again)


def add_to(app: typer.Typer) -> None:
    """Put the commands where they belong."""
    for name, command in (
        ("synthesize", synthesize),
        ("sample", sample),
        ("evaluate", evaluate),
        ("jobs", list_jobs),
        ("job", show_job),
        ("watch", watch),
        ("cancel", cancel),
        ("retry", retry),
    ):
        app.command(name)(command)
