"""Raw figures shown: each holder of the raw right who sees some is entered in the ledger, before seeing them."""

from __future__ import annotations

from api.edge import Edge
from api.v1.parameters import Asked, context
from api.withheld import raw_output
from contracts.ids import Code
from contracts.jobs import EvaluateSpec, IngestSpec, SynthesizeSpec
from contracts.views import JobView

ENTERED = frozenset({"table", "export", "report"})
"""Outputs that are entered by the jobs that make them."""


async def shown(edge: Edge, request: Asked, job: JobView, role: Code) -> None:
    """Have it entered that what a job read off real rows is shown to who asks. Raises BacklogFull: then it may not be."""
    spec = job.spec
    if isinstance(spec, IngestSpec | EvaluateSpec | SynthesizeSpec) and raw_output(job, role) and role not in ENTERED:
        await edge.gateway.observed(spec.account, job.id, role, context(request, job.project))
