"""A collector of OpenTelemetry spans, over HTTP: what a system sends to one in earnest."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Collected:
    """One span as it was sent."""

    process: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str | int]
    links: frozenset[str]
    """Traces it is linked to."""
    failed: bool


class SpanCollector:
    """Listens on a free port of this machine, and keeps what comes."""

    def __init__(self) -> None:
        self.spans: list[Collected] = []
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name is the library's
                assert self.path == "/v1/traces"
                outer._take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the library's
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, body: bytes) -> None:
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            process = next(each.value.string_value for each in resource.resource.attributes if each.key == "service.name")
            self.spans += [_collected(process, span) for scope in resource.scope_spans for span in scope.spans]

    def of(self, trace: str) -> list[Collected]:
        return [span for span in self.spans if span.trace == trace]


def _collected(process: str, span: Any) -> Collected:
    return Collected(
        process=process,
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes={each.key: each.value.string_value or each.value.int_value for each in span.attributes},
        links=frozenset(link.trace_id.hex() for link in span.links),
        failed=span.status.code == 2,
    )
