"""Budgets: what may be spent on the people of a dataset's lineage, what was, and what would be."""

from __future__ import annotations

from typing import Any

from contracts.views import ApprovalView, BudgetView, JobView, LedgerEntryView, QuotaView
from halftone.client.answers import Certificate, Preview
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


def _set(core: Core, dataset: Dataset, epsilon: float, delta: float | None, more: dict[str, Any]) -> Flow[BudgetView]:
    answer = yield from ask(core, Request("PUT", _path(dataset), body=_stated(epsilon, delta) | more))
    view = parsed(BudgetView, answer.json())
    deadline = core.clock() + core.retry_for
    while answer.status == 202 and view.epsilon != epsilon and core.clock() < deadline:
        yield Sleep(_LOOK_EVERY)
        view = yield from fetch(core, BudgetView, get(_path(dataset)))
    return view


class _Budgets(Part):
    """Budgets, each by any dataset of its lineage."""

    @operation
    def set(
        self, /, dataset: Dataset, epsilon: float, delta: float | None = None, *, reason: str | None = None, **terms: Any
    ) -> Flow[BudgetView]:
        """Set the limit: everything ever asked of these people stays within it. What is spent stays spent.

        A change needs a ``reason``. ``terms`` are composition, neighbours, unit, window_days and approve_above, as the API has them.
        """
        more = terms if reason is None else {**terms, "reason": reason}
        return (yield from _set(self.core, dataset, epsilon, delta, more))

    @operation
    def get(self, dataset: Dataset) -> Flow[BudgetView]:
        """Limit, spent, reserved and left."""
        return (yield from fetch(self.core, BudgetView, get(_path(dataset), min_seq=self.core.min_seq)))

    @operation
    def preview(self, dataset: Dataset, epsilon: float, delta: float | None = None) -> Flow[Preview]:
        """What a job would cost, and how many such jobs fit. Nothing is reserved."""
        return (yield from fetch(self.core, Preview, Request("POST", f"{_path(dataset)}:preview", body=_stated(epsilon, delta))))

    @iteration
    def entries(self, /, dataset: Dataset, *, limit: int | None = None, **wanted: Any) -> Items[LedgerEntryView]:
        """The ledger, oldest first; ``wanted`` are kind, job, principal, since and until, as the API has them."""
        return Items(pages(self.core, LedgerEntryView, f"{_path(dataset)}/entries", limit=limit, min_seq=self.core.min_seq, **wanted))

    @iteration
    def quotas(self, dataset: Dataset) -> Items[QuotaView]:
        """What people and projects may spend, besides the lineage's own limit."""
        return Items(pages(self.core, QuotaView, f"{_path(dataset)}/quotas", min_seq=self.core.min_seq))

    @operation
    def set_quota(self, dataset: Dataset, holder: str, epsilon: float, reason: str, delta: float | None = None) -> Flow[None]:
        """Give a person (prn_…) or a project (prj_…) a limit of its own."""
        yield from ask(self.core, Request("PUT", f"{_path(dataset)}/quotas/{holder}", body=_stated(epsilon, delta) | {"reason": reason}))

    @iteration
    def approvals(self) -> Items[ApprovalView]:
        """Charges that wait for a second person, the oldest first."""
        return Items(pages(self.core, ApprovalView, "/v1/approvals"))

    @operation
    def decide(self, job: str, reason: str, *, approve: bool) -> Flow[JobView]:
        """Let a job's charge that waits pass, or not: in another's name than who asked for it."""
        verb = "approve" if approve else "decline"
        return (yield from fetch(self.core, JobView, Request("POST", f"/v1/approvals/{job}:{verb}", body={"reason": reason})))

    @operation
    def release(self, dataset: Dataset, reason: str) -> Flow[None]:
        """Enter that raw figures were given to others, or used to choose a release: nothing bounds the total any more."""
        yield from ask(self.core, Request("POST", f"{_path(dataset)}/releases", body={"reason": reason}))

    @operation
    def certificate(self, certificate: str) -> Flow[Certificate]:
        """A certificate, with its charge and the proof that the log holds it."""
        return (yield from fetch(self.core, Certificate, get(f"/v1/certificates/{certificate}")))

    @operation
    def registry_entry(self, certificate: str, *, curator: str = "", product: str = "", use: str = "") -> Flow[dict[str, Any]]:
        """A certificate as an entry of a registry of deployments."""
        answer = yield from ask(self.core, get(f"/v1/certificates/{certificate}/registry", curator=curator, product=product, use=use))
        found: dict[str, Any] = answer.json()
        return found


class Budgets(_Budgets, Blocking):
    """Budgets, in a program that blocks."""


class AsyncBudgets(_Budgets, Awaiting):
    """Budgets, in a program that awaits."""
