"""Who may do what: one function decides."""

from __future__ import annotations

from api.policy import Principal, Resource, Role, Verb, allowed
from contracts.ids import ADMINISTRATOR, new_id


def test_a_principal_without_a_known_role_may_do_nothing() -> None:
    """The policy allows what a role's rights name, and no more."""
    stranger = Principal(new_id("prn"), "visitor")  # type: ignore[arg-type]  # a role of another version
    assert not any(allowed(stranger, verb, Resource("job")) for verb in Verb)
    assert all(allowed(Principal(ADMINISTRATOR, Role.ADMINISTRATOR), verb, Resource("job")) for verb in Verb)
