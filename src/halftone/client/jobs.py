"""Jobs, models and evaluations: lists of what was done."""

from __future__ import annotations

from typing import Any

from contracts.views import EvaluationView, JobView, ModelView
from halftone.client.faces import Awaiting, Blocking, Items, Part, iteration, operation
from halftone.client.flow import Flow, ask
from halftone.client.following import look
from halftone.client.handles import Seed, handing
from halftone.client.reading import Dataset, dataset_id, fetch, pages
from halftone.client.request import get


def _id(dataset: Dataset | None) -> str | None:
    return None if dataset is None else dataset_id(dataset)


class _Jobs(Part):
    """Jobs of all kinds."""

    @iteration
    def list(
        self, *, state: str | None = None, kind: str | None = None, dataset: Dataset | None = None, limit: int | None = None
    ) -> Items[JobView]:
        """Jobs, the newest first; those in a state, of a kind, or that read or make a dataset."""
        query: dict[str, Any] = {"state": state, "kind": kind, "dataset": _id(dataset), "min_seq": self.core.min_seq}
        return Items(pages(self.core, JobView, "/v1/jobs", limit=limit, **query))

    @handing
    def get(self, job: str) -> Flow[Seed]:
        """A job, looked at now."""
        return (yield from look(self.core, job))


class Jobs(_Jobs, Blocking):
    """Jobs, in a program that blocks."""


class AsyncJobs(_Jobs, Awaiting):
    """Jobs, in a program that awaits."""


class _Models(Part):
    """What syntheses fitted, and can be drawn from again at no cost."""

    @iteration
    def list(self, *, dataset: Dataset | None = None, limit: int | None = None) -> Items[ModelView]:
        """Models, the newest first; those fitted to a dataset, or that drew it."""
        query: dict[str, Any] = {"dataset": _id(dataset), "min_seq": self.core.min_seq}
        return Items(pages(self.core, ModelView, "/v1/models", limit=limit, **query))

    @operation
    def get(self, model: str) -> Flow[ModelView]:
        """What a model was fitted to, by which engine, and what that cost."""
        return (yield from fetch(self.core, ModelView, get(f"/v1/models/{model}")))


class Models(_Models, Blocking):
    """Models, in a program that blocks."""


class AsyncModels(_Models, Awaiting):
    """Models, in a program that awaits."""


class _Evaluations(Part):
    """What was measured of synthetic datasets: raw figures, for those with the right to raw data."""

    @iteration
    def list(self, *, dataset: Dataset | None = None) -> Items[EvaluationView]:
        """Evaluations, the newest first; those of a dataset, on either side."""
        return Items(pages(self.core, EvaluationView, "/v1/evaluations", dataset=_id(dataset)))

    @operation
    def get(self, job: str) -> Flow[dict[str, Any]]:
        """An evaluation's report, by the job that measured."""
        report: dict[str, Any] = (yield from ask(self.core, get(f"/v1/evaluations/{job}"))).json()
        return report


class Evaluations(_Evaluations, Blocking):
    """Evaluations, in a program that blocks."""


class AsyncEvaluations(_Evaluations, Awaiting):
    """Evaluations, in a program that awaits."""
