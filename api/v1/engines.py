"""What there is to synthesize with."""

from __future__ import annotations

from litestar import Router, get

from api.auth import VERB
from api.engines import engine_names
from api.policy import Verb
from api.v1.answers import EnginesView, EngineView
from api.v1.bodies import DEFAULT_ENGINE


@get("/", operation_id="listEngines", summary="List engines", opt={VERB: Verb.SYSTEM_READ})
async def list_engines() -> EnginesView:
    """Every engine that is installed; others are found once they are installed beside these."""
    return EnginesView(items=tuple(EngineView(name=name, default=name == DEFAULT_ENGINE) for name in engine_names()))


router = Router("/engines", route_handlers=[list_engines], tags=["engines"])
