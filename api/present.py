"""Views as clients see them: with links, and with what went wrong as a problem document."""

from __future__ import annotations

import asyncio
import datetime as dt
from http import HTTPStatus

from pydantic import ValidationError

from contracts.ids import DatasetId, JobId, ObjectId
from contracts.jobs import ExportSpec, IngestSpec, JobKind, SampleSpec, SynthesizeSpec
from contracts.problems import Problem
from contracts.views import BudgetView, CostView, DatasetState, DatasetView, FailureView, JobView, ModelView, RefusalView
from infra.objects import ObjectMissing, Objects

WORKER_LOST = "The process that did the job was lost every time it was tried; the job may need more memory than there is."


def moment(ms: int) -> str:
    """A time in ms since 1970 as RFC 3339, UTC."""
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job_links(job: JobId) -> dict[str, str]:
    base = f"/v1/jobs/{job}"
    return {"self": base, "events": f"{base}/events", "cancel": f"{base}:cancel", "retry": f"{base}:retry"}


def dataset_links(dataset: DatasetId) -> dict[str, str]:
    base = f"/v1/datasets/{dataset}"
    return {
        "self": base,
        "schema": f"{base}/schema",
        "profile": f"{base}/profile",
        "versions": f"{base}/versions",
        "sample": f"{base}/sample",
        "budget": f"/v1/budgets/{dataset}",
    }


def budget_links(dataset: DatasetId) -> dict[str, str]:
    base = f"/v1/budgets/{dataset}"
    return {"self": base, "entries": f"{base}/entries", "preview": f"{base}:preview", "dataset": f"/v1/datasets/{dataset}"}


def job(view: JobView, problem: Problem | None = None) -> JobView:
    """A job with its links; a refusal's numbers tell their own problem, a failure's is given."""
    links = job_links(view.id)
    if log_of(view) is not None:
        links["log"] = f"/v1/jobs/{view.id}/log"
    match view.spec:
        case IngestSpec(dataset=dataset):
            links["dataset"] = f"/v1/datasets/{dataset}"
        case SampleSpec(target=target, model=model):
            links |= {"dataset": f"/v1/datasets/{target}", "model": f"/v1/models/{model}"}
        case ExportSpec(source=source):
            links["dataset"] = f"/v1/datasets/{source.dataset}"
        case SynthesizeSpec(source=source, target=target):
            links |= {"dataset": f"/v1/datasets/{target}", "budget": f"/v1/budgets/{source.dataset}"}
            fitted = next((output.artifact for output in view.outputs if output.role == "model"), None)
            if fitted is not None:
                links["model"] = f"/v1/models/{fitted}"
        case _ if view.kind is JobKind.EVALUATE and view.outputs:
            links["evaluation"] = f"/v1/evaluations/{view.id}"
    certified = next((output.artifact for output in view.outputs if output.role == "certificate"), None)
    if certified is not None:
        links["certificate"] = f"/v1/certificates/{certified}"
    if view.refusal is not None:
        problem = refused(view.refusal, view.spec.source.dataset if isinstance(view.spec, SynthesizeSpec) else None)
    return view.model_copy(update={"links": links, "problem": problem})


def log_of(view: JobView) -> ObjectId | None:
    """The object with what the job's process said, where it was kept."""
    if view.failure is not None:
        return view.failure.log
    return next((output.artifact for output in view.outputs if output.role == "log"), None)


def model(view: ModelView) -> ModelView:
    """A model with its links."""
    links = {
        "self": f"/v1/models/{view.id}",
        "job": f"/v1/jobs/{view.job}",
        "dataset": f"/v1/datasets/{view.dataset}",
        "synthetic": f"/v1/datasets/{view.synthetic}",
        "artifact": f"/v1/artifacts/{view.id}",
    }
    return view.model_copy(update={"links": links})


def dataset(view: DatasetView, name: str | None, problem: Problem | None = None, days: int | None = None) -> DatasetView:
    """A dataset with its name, links, and the days for which it is kept. Of one that was deleted there are no versions to see."""
    links = {**dataset_links(view.id), "job": f"/v1/jobs/{view.job}"}
    parts: dict[str, object] = {"name": name, "links": links, "problem": problem, "retention_days": days}
    if view.state is DatasetState.DELETED:
        parts |= {"versions": (), "retention_days": None, "links": {name: links[name] for name in ("self", "budget", "job")}}
    return view.model_copy(update=parts)


def budget(view: BudgetView, of: DatasetId) -> BudgetView:
    """A budget with its links, by the dataset that it was asked for."""
    return view.model_copy(update={"links": budget_links(of)})


async def failed(failure: FailureView | None, objects: Objects) -> Problem | None:
    """The problem document of a failure: the stored one, or what its code says."""
    if failure is None:
        return None
    if failure.problem is not None:
        try:
            return await asyncio.to_thread(_stored, failure.problem, objects)
        except (ObjectMissing, ValidationError):
            return _problem(
                failure.code, "The job failed", "The job failed; its problem document is gone.", HTTPStatus.UNPROCESSABLE_ENTITY
            )
    detail = WORKER_LOST if failure.code == "worker-lost" else "The job failed."
    return _problem(failure.code, "The job failed", detail, HTTPStatus.INTERNAL_SERVER_ERROR)


def _stored(problem: ObjectId, objects: Objects) -> Problem:
    return Problem.model_validate_json(objects.read(problem))


_SCOPES = {"dataset": "the dataset's budget", "person": "your own quota", "project": "the project's quota"}
_REFUSALS = {
    "budget-declined": "a second person, who had to agree, did not",
    "budget-terms-changed": "what the budget's costs are about was changed after it was asked for; ask again",
    "mechanism-not-pure": "the budget is one of pure epsilon, and Gaussian noise has none",
}


def refused(refusal: RefusalView, dataset: DatasetId | None) -> Problem:
    """Why the budget said no, with the numbers that help."""
    asked, left = _amount(refusal.asked), _amount(refusal.left)
    if refusal.code == "budget-not-set":
        detail = f"The job asks for {asked}, and the dataset has no budget: set one with PUT /v1/budgets/{dataset or '<dataset>'}."
    elif refusal.code in _REFUSALS:
        detail = f"The job asks for {asked}: {_REFUSALS[refusal.code]}."
    else:
        under = "; ".join(f"{_amount(room.left)} under {_SCOPES.get(room.scope, room.scope)}" for room in refusal.limits)
        detail = f"The job asks for {asked}, and {under or left} is left: {left} would fit. Ask for less, or have the limit raised."
    numbers: dict[str, object] = {"account": refusal.account, "asked": refusal.asked.model_dump(), "left": refusal.left.model_dump()}
    numbers["limits"] = [room.model_dump() for room in refusal.limits]
    return _problem(refusal.code, "The budget does not pay for the job", detail, HTTPStatus.CONFLICT, **numbers)


def _amount(cost: CostView) -> str:
    rho = f"rho {cost.rho / 1e12:.6g}"
    return rho if cost.epsilon is None else f"epsilon {cost.epsilon:.4g} ({rho})"


def _problem(code: str, title: str, detail: str, status: int, **fields: object) -> Problem:
    return Problem(type=f"urn:halftone:problem:{code}", title=title, status=status, detail=detail, code=code, **fields)
