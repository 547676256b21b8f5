"""Where rows may be fetched from, as the settings name it."""

from __future__ import annotations

from litestar import Router, get

from api.auth import VERB
from api.policy import Verb
from api.v1.answers import SourcesView, SourceView
from api.v1.parameters import TheEdge
from contracts.jobs import Fetch


@get("/", operation_id="listSources", summary="List where rows may be fetched from", opt={VERB: Verb.SOURCE_USE})
async def list_sources(edge: TheEdge) -> SourcesView:
    """Databases and object stores by name. Addresses and credentials are in the settings, and are not shown."""
    settings = edge.settings
    named = ((Fetch.SQL, [*settings.sql_sources]), (Fetch.STORE, [*settings.object_sources]))
    return SourcesView(items=tuple(SourceView(name=name, kind=kind) for kind, names in named for name in sorted(names)))


router = Router("/sources", route_handlers=[list_sources], tags=["datasets"])
