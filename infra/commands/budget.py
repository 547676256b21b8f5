"""Budgets, on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.commands import output
from infra.commands.budget_verify import verify
from infra.commands.jobs import DatasetArgument, JobArgument
from infra.commands.session import Session, connected

app = typer.Typer(no_args_is_help=True, help="What may be spent on the people of a dataset, and what was.", rich_markup_mode=None)
EpsilonOption = Annotated[float, typer.Option(help="Epsilon: see docs/choosing-epsilon.md.", show_default=False)]
DeltaOption = Annotated[float | None, typer.Option(help="The delta that goes with it.", show_default="1e-9")]
ReasonOption = Annotated[str, typer.Option(help="Why: the ledger keeps it.", show_default=False)]
_RHO = 1e12
"""Units of rho in 1."""


def _part(name: str) -> output.Column:
    """A cost, as the epsilon that it means and the rho that adds up."""

    def shown(thing: object) -> str | None:
        cost = getattr(thing, name)
        if cost is None:
            return None
        rho = f"rho {cost.rho / _RHO:.6f}"
        return rho if cost.epsilon is None else f"epsilon {cost.epsilon:.4g} ({rho})"

    return name, shown


_BUDGET: list[output.Column] = [
    ("account", lambda view: view.account),
    _part("limit"),
    _part("spent"),
    _part("reserved"),
    _part("left"),
    ("entries", lambda view: view.entry),
]
_PREVIEW: list[output.Column] = [_part("cost"), _part("left"), _part("left_after"), ("such jobs fit", lambda view: view.admits)]
_PREVIEW += [
    ("a guess of membership gains", lambda view: view.meaning and f"{100 * view.meaning.advantage:.2f} points at most"),
    ("found at 1 % false alarms", lambda view: view.meaning and f"{100 * view.meaning.true_positives:.2f} % at most"),
    ("waits for a second person", lambda view: "yes" if view.waits else None),
]
_QUOTAS: list[output.Column] = [("holder", lambda view: view.holder), _part("limit"), _part("spent")]
_APPROVALS: list[output.Column] = [
    ("job", lambda view: view.job),
    _part("cost"),
    ("asked by", lambda view: view.principal),
    ("since", lambda view: view.time),
]
_LEDGER: list[output.Column] = [
    ("entry", lambda view: view.entry),
    ("kind", lambda view: view.kind),
    ("rho", lambda view: f"{view.cost.rho / _RHO:.6f}" if view.cost else None),
    ("spent epsilon", lambda view: view.spent.epsilon),
    ("job", lambda view: view.job),
    ("event", lambda view: view.event),
    ("time", lambda view: view.time),
]


@app.command("show")
@connected
def show(session: Session, dataset: DatasetArgument) -> None:
    """Show limit, spent, reserved and left."""
    output.details(session.client.budgets.get(session.dataset(dataset)), _BUDGET, as_json=session.json)


@app.command("set")
@connected
def set_budget(
    session: Session,
    dataset: DatasetArgument,
    epsilon: EpsilonOption,
    delta: DeltaOption = None,
    reason: Annotated[str | None, typer.Option(help="Why; needed where a limit is changed.", show_default=False)] = None,
    composition: Annotated[str | None, typer.Option(help="zcdp or pure.", show_default="as it is; zcdp at first")] = None,
    neighbours: Annotated[str | None, typer.Option(help="add-remove or replace.", show_default="as it is; add-remove at first")] = None,
    unit: Annotated[str | None, typer.Option(help="Column of users, or 'row'.", show_default="as it is; row at first")] = None,
    contribution: Annotated[int, typer.Option(help="Rows of one user that count, at most.")] = 1,
    window_days: Annotated[int | None, typer.Option(help="Days after which the limit counts anew.", show_default="as it is; never")] = None,
    approve_above: Annotated[
        float | None, typer.Option(help="Epsilon above which a job waits for a second person.", show_default="as it is; none waits")
    ] = None,
) -> None:
    """Set the limit and its terms. What is spent stays spent; a limit below it refuses everything from then on."""
    chosen: dict[str, object] = {
        "composition": composition,
        "neighbours": neighbours,
        "window_days": window_days,
        "approve_above": approve_above,
    }
    if unit is not None:
        chosen["unit"] = unit if unit == "row" else {"column": unit, "contribution": contribution}
    terms = {name: value for name, value in chosen.items() if value is not None}
    view = session.client.budgets.set(session.dataset(dataset), epsilon, delta, reason=reason, **terms)
    output.details(view, _BUDGET, as_json=session.json)


@app.command("preview")
@connected
def preview(session: Session, dataset: DatasetArgument, epsilon: EpsilonOption, delta: DeltaOption = None) -> None:
    """Show what a job would cost, how many such jobs fit, and what it means for a person. Nothing is reserved."""
    output.details(session.client.budgets.preview(session.dataset(dataset), epsilon, delta), _PREVIEW, as_json=session.json)


@app.command("ledger")
@connected
def ledger(
    session: Session,
    dataset: DatasetArgument,
    kind: Annotated[str | None, typer.Option(help="Entries of this kind alone, such as charged.", show_default=False)] = None,
    job: Annotated[str | None, typer.Option(help="Entries of this job alone.", show_default=False)] = None,
    since: Annotated[str | None, typer.Option(help="Entries made then or later, RFC 3339.", show_default=False)] = None,
    until: Annotated[str | None, typer.Option(help="Entries made before then.", show_default=False)] = None,
) -> None:
    """Show every entry, oldest first: each is an event of the log, and 'halftone audit proof EVENT' proves it."""
    found = session.client.budgets.entries(session.dataset(dataset), kind=kind, job=job, since=since, until=until)
    output.table(found, _LEDGER, as_json=session.json, empty="no entries")


@app.command("quotas")
@connected
def quotas(session: Session, dataset: DatasetArgument) -> None:
    """Show what people and projects may spend, besides the budget itself."""
    output.table(session.client.budgets.quotas(session.dataset(dataset)), _QUOTAS, as_json=session.json, empty="no quotas")


@app.command("quota")
@connected
def quota(
    session: Session,
    dataset: DatasetArgument,
    holder: Annotated[str, typer.Argument(help="Id of a person (prn_...) or a project (prj_...).", show_default=False)],
    epsilon: EpsilonOption,
    reason: ReasonOption,
    delta: DeltaOption = None,
) -> None:
    """Give a person or a project a limit of its own; what was spent before counts."""
    session.client.budgets.set_quota(session.dataset(dataset), holder, epsilon, reason, delta)


@app.command("approvals")
@connected
def approvals(session: Session) -> None:
    """Show the jobs that wait for a second person."""
    output.table(session.client.budgets.approvals(), _APPROVALS, as_json=session.json, empty="no job waits")


@app.command("approve")
@connected
def approve(session: Session, job: JobArgument, reason: ReasonOption) -> None:
    """Let a job that waits pass: in another's name than who asked for it."""
    session.client.budgets.decide(job, reason, approve=True)


@app.command("decline")
@connected
def decline(session: Session, job: JobArgument, reason: ReasonOption) -> None:
    """Refuse a job that waits; what was set aside for it is given back."""
    session.client.budgets.decide(job, reason, approve=False)


@app.command("release")
@connected
def release(session: Session, dataset: DatasetArgument, reason: ReasonOption) -> None:
    """Enter that raw figures were given to others: nothing bounds the total any more, and later certificates say so."""
    session.client.budgets.release(session.dataset(dataset), reason)


app.command("verify")(verify)
