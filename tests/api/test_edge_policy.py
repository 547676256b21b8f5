"""Who may do what: one function decides, and every route asks it."""

from __future__ import annotations

from litestar.handlers import HTTPRouteHandler

from api.app import make_app
from api.auth import OPEN, VERB, Tokens
from api.policy import Principal, Resource, Role, Verb, allowed
from contracts.ids import ADMINISTRATOR, new_id


def test_every_route_asks_the_policy_and_health_alone_is_open() -> None:
    """A route that somebody adds without a verb would be closed to all; one that is open must be health's."""
    app = make_app(None, Tokens("x" * 16))  # type: ignore[arg-type]  # nothing is served here
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            if isinstance(handler, HTTPRouteHandler) and handler.http_methods != {"OPTIONS"}:
                assert bool(handler.opt.get(OPEN)) == route.path.startswith("/health/")
                assert (handler.opt.get(VERB) in set(Verb)) != bool(handler.opt.get(OPEN)), route.path


def test_a_principal_without_a_known_role_may_do_nothing() -> None:
    """The policy allows what a role's rights name, and no more."""
    stranger = Principal(new_id("prn"), "visitor")  # type: ignore[arg-type]  # a role of another version
    assert not any(allowed(stranger, verb, Resource("job")) for verb in Verb)
    assert all(allowed(Principal(ADMINISTRATOR, Role.ADMINISTRATOR), verb, Resource("job")) for verb in Verb)
