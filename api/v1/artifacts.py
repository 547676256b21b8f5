"""Artifacts: what jobs made, to be downloaded."""

from __future__ import annotations

import re
from typing import Annotated

from litestar import Router, route
from litestar.params import PathParameter, QueryParameter

from api.auth import VERB, require_raw
from api.edge import Edge
from api.policy import Principal, Resource, Verb
from api.problems import NotFound
from api.v1 import orders
from api.v1.files import File, Range, named, send
from api.v1.observed import shown
from api.v1.parameters import Asked, Prefer, TheEdge
from api.v1.tables import given
from api.withheld import raw_output
from contracts.jobs import ExportSpec, IngestSpec, JobKind, SampleSpec, SynthesizeSpec, TableFormat
from contracts.problems import ProblemError
from contracts.views import ArtifactView, DatasetVersionView, DatasetView, JobView

_OBJECT = re.compile(r"obj_[0-9a-f]{32}")


class FormatNotAvailable(ProblemError):
    """Tables alone can be had in another format."""

    status, code = 422, "format-not-available"


@route(
    "/{artifact:str}",
    http_method=["GET", "HEAD"],
    operation_id=named("Artifact"),
    summary="Download an artifact",
    opt={VERB: Verb.ARTIFACT_READ},
    media_type="application/octet-stream",
)
async def download(  # noqa: PLR0917  # the framework passes them by name
    artifact: Annotated[str, PathParameter(description="id of the artifact, from a job's outputs")],
    request: Asked,
    edge: TheEdge,
    form: Annotated[TableFormat | None, QueryParameter(name="format", description="of a table: what the file is to be")] = None,
    asked_range: Range = None,
    prefer: Prefer = None,
) -> File:
    """The file, with its SHA-256 as ETag and Repr-Digest. What holds raw rows or figures needs the right to raw data.

    A table in another format, and one with raw rows in any, is had as from its dataset: 202 while it has to be written.
    """
    view, job = await _find(artifact, edge)
    _require(request.user, view, job)
    table = await _table(edge, view, job)
    if table is not None and (form is not None or job.kind is JobKind.INGEST):
        return await given(edge, request, *table, form or TableFormat.PARQUET, asked_range=asked_range, prefer=prefer)
    if form is not None:
        raise FormatNotAvailable(f"Artifact {view.object} is no table but a {view.role}: leave the format out.", parameter="format")
    await shown(edge, request, job, view.role)
    return await send(edge, request, view.object, f"{view.role}-{view.object}", asked_range)


async def _find(artifact: str, edge: Edge) -> tuple[ArtifactView, JobView]:
    """An artifact and the job that made it. Raises NotFound."""
    view = await edge.views.artifact(artifact) if _OBJECT.fullmatch(artifact) else None
    job = await edge.views.job(view.job) if view is not None else None
    if view is None or job is None:
        raise NotFound.of("artifact", artifact)
    return view, job


def _require(principal: Principal, view: ArtifactView, job: JobView) -> None:
    """Refuse what holds something raw to whoever has no right to it. Raises Forbidden."""
    if raw_output(job, view.role):
        require_raw(principal, Verb.RAW_READ, Resource("artifact", view.object))
    if isinstance(job.spec, ExportSpec) and job.spec.account is not None and job.principal != principal.id:
        source = job.spec.source
        where = f"/v1/datasets/{source.dataset}/versions/{source.version}/table?format={job.spec.format}"
        detail = f"These raw rows were given out to another, in whose name the ledger has them: have them in yours with GET {where}."
        raise orders.ReleaseNotAvailable(detail, dataset=source.dataset)


async def _table(edge: Edge, view: ArtifactView, job: JobView) -> tuple[DatasetView, DatasetVersionView] | None:
    """The version of a dataset whose rows an artifact holds."""
    match job.spec if view.role == "table" else None:
        case IngestSpec(dataset=name) | SynthesizeSpec(target=name) | SampleSpec(target=name):
            dataset = await edge.dataset(name)
            return next(((dataset, version) for version in dataset.versions if version.table == view.object), None)
        case _:
            return None


router = Router("/artifacts", route_handlers=[download], tags=["artifacts"])
