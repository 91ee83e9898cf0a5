"""A receiver of OTLP over HTTP: what a collector would get, decoded by OpenTelemetry's own classes."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    is_error: bool
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """One data point; of a histogram the value is the count."""

    instance: str
    name: str
    unit: str
    attributes: dict[str, Any]
    value: float


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@dataclass(slots=True)
class Collector:
    """Everything that was received so far."""

    port: int = 0
    bodies: list[bytes] = field(default_factory=list)
    spans: list[ReceivedSpan] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def everything(self) -> bytes:
        """All bytes, to look for what must not be among them."""
        return b"\n".join(self.bodies)

    def latest(self, name: str, **attributes: Any) -> float:
        """The sum over all processes of their latest figures with (at least) these attributes."""
        values = {
            (each.instance, str(each.attributes)): each.value
            for each in self.figures
            if each.name == name and attributes.items() <= each.attributes.items()
        }
        return sum(values.values())

    def add(self, path: str, body: bytes) -> None:
        self.bodies.append(body)
        if path == "/v1/traces":
            self._add_spans(ExportTraceServiceRequest.FromString(body))
        elif path == "/v1/metrics":
            self._add_figures(ExportMetricsServiceRequest.FromString(body))

    def _add_spans(self, request: Any) -> None:
        for resource in request.resource_spans:
            service = _plain(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [
                    ReceivedSpan(
                        service,
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.status.code == 2,
                        _plain(span.attributes),
                    )
                    for span in scope.spans
                ]

    def _add_figures(self, request: Any) -> None:
        for resource in request.resource_metrics:
            process = _plain(resource.resource.attributes)
            instance = f"{process['service.name']} {process['service.instance.id']}"
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in getattr(metric, metric.WhichOneof("data")).data_points:
                        value = point.count if metric.HasField("histogram") else point.as_int or point.as_double
                        self.figures.append(Figure(instance, metric.name, metric.unit, _plain(point.attributes), value))


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.add(self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
