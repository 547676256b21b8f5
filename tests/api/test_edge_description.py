"""The API does what its description says, whatever it is sent: requests are made up from the document (Schemathesis)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import content_type_conformance, not_a_server_error, response_schema_conformance, status_code_conformance
from schemathesis.core.failures import FailureGroup

from contracts.events import JobCompleted

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 5


def swept(described: Any, headers: dict[str, str], base_url: str, known: dict[str, str]) -> list[str]:
    """Try every operation with requests that fit its description and with such as do not; the failures."""
    failures = []
    for found in schemathesis.openapi.from_dict(described).get_all_operations():
        for mode in GenerationMode:
            # What takes no parameter cannot be asked for wrongly.
            with contextlib.suppress(Unsatisfiable):
                try:
                    attempt(found.ok(), mode, headers, base_url, known)
                except FailureGroup as group:
                    failures.append(str(group))
    return failures


def attempt(operation: Any, mode: GenerationMode, headers: dict[str, str], base_url: str, known: dict[str, str]) -> None:
    """Send an operation made-up requests, every second one about something that there is. Raises FailureGroup."""

    @seed(20260301)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def ask(case: Any, real: bool) -> None:
        for name in case.path_parameters or {}:
            if real and name in known:
                case.path_parameters[name] = known[name]
        # Waiting for what will never come is a test of its own, and no quick one.
        (case.query or {}).pop("min_seq", None)
        case.call_and_validate(base_url=base_url, headers=headers, checks=CHECKS)

    ask()


async def test_no_answer_is_outside_of_the_description(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No 5xx but those that say when to try again, no status, content type or document that the description does not have."""
    monkeypatch.setattr("api.v1.audit.SIGNED_WITHIN", 0.05)
    dataset = await system.ready()
    job = (await system.noop())["id"]
    await system.say(JobCompleted(job=job, attempt=1))
    known = {"dataset": dataset, "job": job, "target": f"{dataset}:preview"}
    described = (await system.http.get("/schema")).json()
    headers = {"Authorization": system.http.headers["authorization"]}
    failures = await asyncio.to_thread(swept, described, headers, str(system.http.base_url).rstrip("/"), known)
    assert not failures, "\n\n".join(failures)
