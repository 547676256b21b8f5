"""What views leave out for those without the right to raw data: ids of what was read off real rows, and what failed jobs quote of them."""

from __future__ import annotations

from api.policy import RAW_KINDS, Principal, Resource, Verb, allowed
from contracts.events import Origin
from contracts.ids import Code
from contracts.jobs import ExportSpec
from contracts.problems import Problem
from contracts.views import DatasetVersionView, DatasetView, FailureView, JobView

RAW_ROLES = frozenset({"log"})
"""Outputs that may quote rows, whatever the job did."""
RAW_LINKS = frozenset({"log", "evaluation"})


def raw_output(of: JobView, role: Code) -> bool:
    """Whether what a job made holds real rows, or figures that were read off them."""
    exported = isinstance(of.spec, ExportSpec) and of.spec.account is not None
    return exported or of.kind in RAW_KINDS or role in RAW_ROLES


def job(view: JobView, principal: Principal) -> JobView:
    """A job as this principal may see it."""
    if allowed(principal, Verb.RAW_READ, Resource("job", view.id)):
        return view
    parts = {
        "outputs": tuple(output for output in view.outputs if not raw_output(view, output.role)),
        "links": {name: path for name, path in view.links.items() if name not in RAW_LINKS},
        "failure": _failure(view.failure),
        "problem": _problem(view.problem) if view.failure is not None and view.kind in RAW_KINDS else view.problem,
    }
    return view.model_copy(update=parts)


def dataset(view: DatasetView, principal: Principal) -> DatasetView:
    """A dataset as this principal may see it."""
    if allowed(principal, Verb.RAW_READ, Resource("dataset", view.id)):
        return view
    parts = {
        "versions": tuple(map(_version, view.versions)),
        "failure": _failure(view.failure),
        "problem": _problem(view.problem) if view.origin is Origin.REAL else view.problem,
    }
    return view.model_copy(update=parts)


def versions(view: DatasetView, principal: Principal) -> tuple[DatasetVersionView, ...]:
    """A dataset's versions as this principal may see them."""
    return dataset(view, principal).versions


def _version(view: DatasetVersionView) -> DatasetVersionView:
    return view.model_copy(update={"proposal": None, "profile": None})


def _failure(failure: FailureView | None) -> FailureView | None:
    return None if failure is None else failure.model_copy(update={"problem": None, "log": None})


def _problem(problem: Problem | None) -> Problem | None:
    if problem is None:
        return None
    detail = "What went wrong may quote rows: it is told to holders of the right to raw data."
    return Problem(type=problem.type, title=problem.title, status=problem.status, detail=detail, code=problem.code)
