"""Spans where there is no collector, where one does not answer, and where what sends them is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts.commands import RunJob
from contracts.envelope import Context, Envelope
from contracts.ids import new_id
from contracts.jobs import NoopSpec
from infra import tracing
from infra.bus.server import free_port
from infra.settings import Settings
from running_system import REPOSITORY


async def test_without_a_collector_a_message_is_handled_as_it_came() -> None:
    """The same envelope: its trace travels on, and nothing is made."""
    envelope = Envelope.wrap(RunJob(job=new_id("job"), spec=NoopSpec()), Context.new(), source="/edge")

    async def handle(given: Envelope) -> bool:
        return given is envelope

    assert await tracing.handled(envelope, handle)


def test_without_a_collector_nothing_that_sends_spans_is_imported() -> None:
    """Idle memory and start-up are those of a system that cannot send any."""
    imports = "import sys, infra.supervisor, api.server, infra.work.worker"
    probe = f"{imports}; print([m for m in sys.modules if 'opentelemetry.sdk' in m or 'protobuf' in m])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"


def test_a_worker_knows_nothing_of_tracing() -> None:
    """It holds real rows: its steps are timed by its executor, and it opens no connection."""
    probe = "import sys, infra.work.worker; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"


AWAY = """
import sys, time
from infra import tracing
tracing.configure(sys.argv[1], "test")
with tracing.span("lost"):
    pass
began = time.monotonic()
tracing.finish()
assert time.monotonic() - began < 10
"""


def test_a_collector_that_is_away_does_not_hold_a_process_up() -> None:
    """For longer than the exporter's timeout; what could not be sent is lost."""
    endpoint = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    done = subprocess.run([sys.executable, "-c", AWAY, endpoint], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr


def test_a_system_without_the_extra_says_what_is_missing(tmp_path: Path) -> None:
    """And does not start: spans that somebody waits for would never come."""
    hidden = "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None"
    started = f"{hidden}; import infra.supervisor as s; sys.exit(s.main())"
    environment = {
        "HALFTONE_HOME": str(tmp_path / "home"),
        "HALFTONE_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", started], env=environment, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 1
    assert "halftone-data[otel]" in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("given", ["127.0.0.1:4318", "grpc://collector:4317", "http://two words"])
def test_an_endpoint_is_an_address_over_http(given: str) -> None:
    """Anything else is refused when settings are read."""
    with pytest.raises(ValidationError, match="otlp_endpoint"):
        Settings(otlp_endpoint=given)
