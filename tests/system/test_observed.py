"""What a running system tells whoever watches it: spans, log lines, figures. A table of values that nothing else holds goes through."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from running_system import REPOSITORY, System, eventually
from span_collector import Collected, SpanCollector

TOWNS = ("Xanthippeville", "Brobdingnagburg", "Quetzalstad")
INCOMES = range(731_000_123, 731_000_423)
TABLE = ("town,income\n" + "".join(f"{TOWNS[n % 3]},{income}\n" for n, income in enumerate(INCOMES))).encode()
FILENAME, COLUMN = "zwiebelkuchen-register.csv", "income"
SCHEMA: dict[str, Any] = {
    "columns": [
        {"name": "town", "type": "categorical", "categories": list(TOWNS)},
        {"name": COLUMN, "type": "integer", "minimum": INCOMES[0], "maximum": INCOMES[-1]},
    ]
}
WITNESSES = (*TOWNS, FILENAME, "Wolpertinger", *(str(income) for income in INCOMES))
"""What must be in no line and in no span: values of rows, the table's name, and a value that no column may have."""


@dataclass
class Watched:
    """A system, its collector, and the jobs that went through it."""

    system: System
    collector: SpanCollector
    traces: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)

    def job(self, name: str, **body: Any) -> dict[str, Any]:
        """Run a job in a trace of its own."""
        trace = self.traces[name] = f"{len(self.traces) + 1:032x}"
        accepted = self.system.post("/v1/jobs", body, traceparent=f"00-{trace}-00000000000000ff-01")
        self.jobs[name] = accepted["id"]
        return dict(self.system.ended(accepted["id"]))

    def spans(self, name: str, until: str) -> dict[str, Collected]:
        """The spans of a job's trace by name, once one of this name is among them."""
        eventually(lambda: any(span.name == until for span in self.collector.of(self.traces[name])))
        return {span.name: span for span in self.collector.of(self.traces[name])}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    collector = SpanCollector()
    system = System(
        tmp_path_factory.mktemp("observed") / "home",
        HALFTONE_OTLP_ENDPOINT=collector.endpoint,
        HALFTONE_LOG_LEVEL="debug",
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    system.start()
    try:
        seen = Watched(system, collector)
        _use(seen)
        yield seen
    finally:
        assert system.stop() == 0
        collector.close()


def _use(watched: Watched) -> None:
    """Everything that a table goes through, and what is wrong with tables and requests."""
    system = watched.system
    registered = system.upload(TABLE, FILENAME)
    dataset = registered["dataset"]
    assert system.ended(registered["job"])["state"] == "completed"
    system.ended(system.put(f"/v1/datasets/{dataset}/schema", SCHEMA)["job"])
    system.put(f"/v1/budgets/{dataset}", {"epsilon": 1.0})
    made = watched.job("synthesize", kind="synthesize", dataset=dataset, epsilon=0.9, rows=100)
    assert made["state"] == "completed", made
    assert watched.job("evaluate", kind="evaluate", dataset=made["spec"]["target"])["state"] == "completed"
    assert watched.job("refused", kind="synthesize", dataset=dataset, epsilon=0.9)["state"] == "refused"
    assert watched.job("noop", kind="noop")["state"] == "completed"
    for content in (TABLE + b"Wolpertinger\n", TABLE + b'Wolpertinger,"1\n', TABLE.replace(b"town,", b"income,")):
        assert system.ended(system.upload(content, FILENAME)["job"])["state"] == "failed"
    system.post("/v1/jobs", {"kind": "synthesize", "dataset": "Wolpertinger", "epsilon": "Wolpertinger"}, expect=422)
    system.post("/v1/jobs", {"kind": "noop"}, expect=422, Prefer="wait=Wolpertinger" * 40)
    refused = system.http.put(f"/v1/datasets/{dataset}/schema", json={"columns": [{"name": COLUMN, "type": "Wolpertinger"}]})
    assert refused.status_code == 422
    assert system.http.get("/v1/jobs/Wolpertinger", headers={"Authorization": "Bearer Wolpertinger"}).status_code == 401


def test_a_job_is_one_trace_from_the_request_to_the_workers_steps(watched: Watched) -> None:
    """Each span is below the one that caused it, in the process where it happened."""
    spans = watched.spans("synthesize", "attempt")
    chain = ("POST /v1/jobs", "halftone.budget.reserve.v1", "halftone.job.run.v1", "attempt", "worker")
    for above, below in itertools.pairwise(chain):
        assert spans[below].parent == spans[above].id, (above, below)
    assert [spans[name].process for name in chain] == ["edge", "budget_keeper", *["synthesizer"] * 3]
    steps = {span.name for span in spans.values() if span.parent == spans["worker"].id}
    assert {"measure", "fit", "draw", "write"} <= steps
    assert spans["POST /v1/jobs"].parent == "00000000000000ff"
    assert spans["attempt"].attributes == {
        "halftone.job": watched.jobs["synthesize"],
        "halftone.kind": "synthesize",
        "halftone.attempt": 1,
        "halftone.end": "completed",
    }
    charged = watched.spans("synthesize", "halftone.mechanism.started.v1")["halftone.mechanism.started.v1"]
    assert (charged.process, charged.parent) == ("budget_keeper", spans["halftone.job.run.v1"].id)


def test_a_job_without_a_cost_goes_from_the_edge_to_its_executor(watched: Watched) -> None:
    """A noop has no attempt: it needs no worker."""
    spans = watched.spans("noop", "halftone.job.run.v1")
    assert spans["halftone.job.run.v1"].parent == spans["POST /v1/jobs"].id
    assert "attempt" not in spans


def test_the_logs_batches_name_the_traces_whose_events_they_hold(watched: Watched) -> None:
    """A batch belongs to many traces: it is one of its own, and linked to them."""
    traces = set(watched.traces.values())
    eventually(lambda: traces <= {trace for span in watched.collector.spans if span.name == "audit.append" for trace in span.links})
    assert all(span.parent == "" for span in watched.collector.spans if span.name == "audit.append")


def test_no_span_holds_data_and_every_attribute_is_documented(watched: Watched) -> None:
    """Nor does anything else that is sent to the collector."""
    watched.spans("noop", "halftone.job.run.v1")
    sent = b"\n".join(watched.collector.bodies).decode("utf-8", "replace")
    assert witnesses(sent) == set()
    page = (REPOSITORY / "docs" / "observing.md").read_text()
    assert {name for span in watched.collector.spans for name in span.attributes if f"`{name}`" not in page} == set()
    assert not any(span.name.startswith(("GET /health", "GET /metrics")) for span in watched.collector.spans)


def witnesses(text: str) -> set[str]:
    return {witness for witness in WITNESSES if re.search(rf"\b{re.escape(witness)}\b", text)}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_no_log_holds_data_nor_secrets(watched: Watched) -> None:
    """At the most talkative level, in whatever the system wrote: of every process, of the broker, and of the supervisor."""
    home = watched.system.home
    access = json.loads((home / "bus.json").read_text())
    secrets = {*access["passwords"].values(), watched.system.token}
    assert len(secrets) > 7
    read = [*(home / "logs").iterdir(), watched.system.errors]
    assert len(read) >= 8
    for path in read:
        text = path.read_text()
        assert witnesses(text) == set(), path
        assert not any(secret in text for secret in secrets), path


def test_a_line_is_json_and_names_its_action(watched: Watched) -> None:
    """In every log but the broker's own."""
    logs = [path for path in (watched.system.home / "logs").iterdir() if path.name != "nats.log"]
    for line in [each for path in (*logs, watched.system.errors) for each in lines(path)]:
        assert {"event", "level", "timestamp"} <= line.keys(), line


def test_lines_about_a_job_name_it_its_messages_and_its_trace(watched: Watched) -> None:
    """In each process that had a part in it."""
    job, trace = watched.jobs["synthesize"], watched.traces["synthesize"]
    for process, actions in {
        "budget_keeper": {"message.handled"},
        "synthesizer": {"attempt.began", "attempt.ended", "message.handled"},
    }.items():
        about = [line for line in lines(watched.system.home / "logs" / f"{process}.log") if line.get("job") == job]
        assert actions <= {line["event"] for line in about}
        assert all(line["trace"] == trace and line["message"] for line in about)
    answered = [line for line in lines(watched.system.home / "logs" / "edge.log") if line.get("trace") == trace]
    assert [(line["method"], line["route"], line["status"]) for line in answered] == [("POST", "/v1/jobs", 202)]


def figures(system: System) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(system.http.get("/metrics").text)
    return {(sample.name, tuple(sample.labels.values())): sample.value for family in families for sample in family.samples}


def test_figures_tell_of_every_process_queue_and_end(watched: Watched) -> None:
    """What actors say of themselves, what the broker says of queues, what the view says of jobs."""
    actors = {path.stem for path in (watched.system.home / "logs").iterdir()} - {"edge", "nats"}

    def settled() -> dict[tuple[str, tuple[str, ...]], float] | None:
        seen = figures(watched.system)
        heard = all(seen.get(("halftone_processes", (actor,))) == 1 for actor in actors)
        told = heard and seen["halftone_workers_started_total", ("synthesizer",)] == 1 and seen["halftone_audit_lag_events", ()] == 0
        return seen if told else None

    seen = eventually(settled)
    assert seen["halftone_job_seconds_count", ("completed", "synthesize")] == 1
    assert seen["halftone_job_seconds_sum", ("completed", "synthesize")] in {1, 5, 15, 60}
    assert seen["halftone_job_seconds_count", ("refused", "synthesize")] == 1
    assert seen["halftone_job_seconds_count", ("failed", "ingest")] == 3
    assert seen["halftone_job_visible_seconds_count", ("noop",)] == 1
    assert seen["halftone_budget_refusals_total", ("budget-exhausted",)] == 1
    assert seen["halftone_dead_letters", ()] == 0
    for durable in ("synthesizer-run", "synthesizer-ctl", "budget_keeper-ctl", "budget_keeper-events"):
        assert seen["halftone_queue_waiting", (durable,)] == 0
        assert seen["halftone_queue_redelivered", (durable,)] == 0
    for actor in actors:
        assert seen["halftone_outbox_waiting", (actor,)] == 0
        assert seen["halftone_tasks_failing", (actor,)] == 0
        assert seen["halftone_process_restarts_total", (actor,)] == 0
        assert seen["halftone_workers_lost_total", (actor,)] == 0
