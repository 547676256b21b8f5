"""Budgets: what may be spent on the people of a dataset's lineage, what was, and what would be."""

from __future__ import annotations

from typing import Any

from contracts.views import BudgetView, LedgerEntryView
from halftone.client.answers import Preview
from halftone.client.faces import Awaiting, Blocking, Items, Part, iteration, operation
from halftone.client.flow import Core, Flow, Sleep, ask
from halftone.client.reading import Dataset, dataset_id, fetch, pages, parsed
from halftone.client.request import Request, get

_LOOK_EVERY = 0.25
"""Seconds between two looks for a limit that was accepted and is not entered yet."""


def _path(dataset: Dataset) -> str:
    return f"/v1/budgets/{dataset_id(dataset)}"


def _stated(epsilon: float, delta: float | None) -> dict[str, Any]:
    return {"epsilon": epsilon} if delta is None else {"epsilon": epsilon, "delta": delta}


def _set(core: Core, dataset: Dataset, epsilon: float, delta: float | None) -> Flow[BudgetView]:
    answer = yield from ask(core, Request("PUT", _path(dataset), body=_stated(epsilon, delta)))
    view = parsed(BudgetView, answer.json())
    deadline = core.clock() + core.retry_for
    while answer.status == 202 and view.epsilon != epsilon and core.clock() < deadline:
        yield Sleep(_LOOK_EVERY)
        view = yield from fetch(core, BudgetView, get(_path(dataset)))
    return view


class _Budgets(Part):
    """Budgets, each by any dataset of its lineage."""

    @operation
    def set(self, dataset: Dataset, epsilon: float, delta: float | None = None) -> Flow[BudgetView]:
        """Set the limit: everything ever asked of these people stays within it. What is spent stays spent."""
        return (yield from _set(self.core, dataset, epsilon, delta))

    @operation
    def get(self, dataset: Dataset) -> Flow[BudgetView]:
        """Limit, spent, reserved and left."""
        return (yield from fetch(self.core, BudgetView, get(_path(dataset), min_seq=self.core.min_seq)))

    @operation
    def preview(self, dataset: Dataset, epsilon: float, delta: float | None = None) -> Flow[Preview]:
        """What a job would cost, and how many such jobs fit. Nothing is reserved."""
        return (yield from fetch(self.core, Preview, Request("POST", f"{_path(dataset)}:preview", body=_stated(epsilon, delta))))

    @iteration
    def entries(self, dataset: Dataset, *, limit: int | None = None) -> Items[LedgerEntryView]:
        """The ledger, oldest first."""
        return Items(pages(self.core, LedgerEntryView, f"{_path(dataset)}/entries", limit=limit, min_seq=self.core.min_seq))


class Budgets(_Budgets, Blocking):
    """Budgets, in a program that blocks."""


class AsyncBudgets(_Budgets, Awaiting):
    """Budgets, in a program that awaits."""
