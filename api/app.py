"""The Litestar application: every route, behind one gate."""

from __future__ import annotations

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from api import bus_page, health
from api.auth import VERB, Gate
from api.denied import Denied
from api.description import Description
from api.edge import Edge
from api.metrics import Metrics, metrics_router
from api.policy import Verb
from api.problems import HANDLERS
from api.recording import Recorder, Sending
from api.tokens import Tokens
from api.v1 import (
    approvals,
    artifacts,
    audit,
    audit_files,
    budgets,
    certificates,
    datasets,
    engines,
    evaluations,
    jobs,
    ledgers,
    letters,
    looks,
    models,
    schemas,
    sources,
    tables,
    tokens,
    upkeep,
)

MOST_BODY_BYTES = 4 << 20
"""Largest JSON body: the schema of a thousand columns with their categories fits. Uploads have a limit of their own."""


def make_app(edge: Edge, given_out: Tokens, denied: Denied, metrics: Metrics, recorder: Recorder) -> Litestar:
    """The application over the parts of an edge."""
    parts = (
        datasets,
        sources,
        schemas,
        jobs,
        budgets,
        ledgers,
        approvals,
        certificates,
        evaluations,
        models,
        artifacts,
        tables,
        looks,
        audit,
        audit_files,
        engines,
        tokens,
        upkeep,
        letters,
    )
    v1 = Router("/v1", route_handlers=[part.router for part in parts])
    return Litestar(
        route_handlers=[v1, health.router, bus_page.router, metrics_router(metrics)],
        guards=[Gate(given_out, denied, recorder)],
        before_send=[Sending(recorder)],
        dependencies={
            "edge": Provide(lambda: edge, sync_to_thread=False, use_cache=True),
            "tokens": Provide(lambda: given_out, sync_to_thread=False, use_cache=True),
        },
        exception_handlers=HANDLERS,
        request_max_body_size=MOST_BODY_BYTES,
        openapi_config=_openapi(),
        logging_config=None,
        debug=False,
    )


def _openapi() -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", description="the administrator's token, or another that was given out")
    return OpenAPIConfig(
        title="Halftone",
        version="1",
        description="Sensitive tables in, synthetic ones out, and a proof of what it cost.",
        path="/schema",
        use_handler_docstrings=True,
        security=[{"token": []}],
        components=Components(security_schemes={"token": bearer}),
        openapi_router=Router("/schema", route_handlers=[], opt={VERB: Verb.SYSTEM_READ}, include_in_schema=False),
        render_plugins=[Description()],
    )
