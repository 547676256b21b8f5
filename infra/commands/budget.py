"""Budgets, on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.commands import output
from infra.commands.jobs import DatasetArgument
from infra.commands.session import Session, connected

app = typer.Typer(no_args_is_help=True, help="What may be spent on the people of a dataset, and what was.", rich_markup_mode=None)
EpsilonOption = Annotated[float, typer.Option(help="Epsilon: see docs/choosing-epsilon.md.", show_default=False)]
DeltaOption = Annotated[float | None, typer.Option(help="The delta that goes with it.", show_default="1e-9")]
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
def set_budget(session: Session, dataset: DatasetArgument, epsilon: EpsilonOption, delta: DeltaOption = None) -> None:
    """Set the limit. What is spent stays spent; a limit below it refuses everything from then on."""
    output.details(session.client.budgets.set(session.dataset(dataset), epsilon, delta), _BUDGET, as_json=session.json)


@app.command("preview")
@connected
def preview(session: Session, dataset: DatasetArgument, epsilon: EpsilonOption, delta: DeltaOption = None) -> None:
    """Show what a job would cost, and how many such jobs fit. Nothing is reserved."""
    output.details(session.client.budgets.preview(session.dataset(dataset), epsilon, delta), _PREVIEW, as_json=session.json)


@app.command("ledger")
@connected
def ledger(session: Session, dataset: DatasetArgument) -> None:
    """Show every entry, oldest first: each is an event of the log, and 'halftone audit proof EVENT' proves it."""
    output.table(session.client.budgets.entries(session.dataset(dataset)), _LEDGER, as_json=session.json, empty="no entries")
