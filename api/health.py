"""Whether this process lives, and whether it serves. The only routes that need no token."""

from __future__ import annotations

from litestar import Response, Router, get

from api.auth import OPEN
from api.edge import Edge
from api.v1.answers import Health
from api.v1.parameters import TheEdge
from api.views.projector import REPEATED


@get("/live", operation_id="getLive", summary="Whether the process lives")
async def live() -> Health:
    """Answers as long as the event loop turns."""
    return Health(status="ok")


@get("/ready", operation_id="getReady", summary="Whether the process serves")
async def ready(edge: TheEdge) -> Response[Health]:
    """503 with reasons while the broker is away, a view or the log lags, or a background task is down."""
    reasons = not_ready(edge)
    return Response(Health(status="unready" if reasons else "ok", reasons=reasons), status_code=503 if reasons else 200)


def not_ready(edge: Edge) -> tuple[str, ...]:
    """What keeps the edge from serving, in its own words. Reads memory alone: a probe costs nothing."""
    reasons = [f"task {name} is down" for name in sorted(edge.runtime.failing)]
    if not edge.runtime.client.is_connected:
        reasons.append("the broker is away")
    elif edge.runtime.relay.unanswered:
        reasons.append("the broker does not answer")
    for stream in REPEATED:
        lag = edge.projector.last(stream) - edge.projector.position(stream)
        if lag > edge.settings.most_lag:
            reasons.append(f"the view of {stream} is {lag:,} messages behind")
    if (lag := edge.projector.log_lag) > edge.settings.most_lag:
        reasons.append(f"the log is {lag:,} events behind")
    if edge.runtime.stopping.is_set():
        reasons.append("stopping")
    return tuple(reasons)


router = Router("/health", route_handlers=[live, ready], tags=["health"], opt={OPEN: True}, security=[{}])
