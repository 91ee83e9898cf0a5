"""The SDK of OpenTelemetry, set up from the settings and the standard variables. Imported only where it is used."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Literal

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from app.core.config import AppSettings, TelemetrySettings
from app.core.settings.sources import ENV_FILE, read_given
from app.core.telemetry.discretion import discreet
from app.core.telemetry.prometheus import serve_metrics

Role = Literal["web", "worker"]
STOP_SECONDS = 5.0
"""How long the end of a process waits for a collector that does not respond."""


@dataclass(frozen=True, slots=True)
class Providers:
    """`tracers` makes no spans where only metrics are exported."""

    tracers: trace.TracerProvider
    meters: MeterProvider


class _DiscreetExporter(SpanExporter):
    """Exports spans without what may contain values; it runs in the exporter's thread."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([discreet(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


@contextmanager
def _standard_variables(settings: TelemetrySettings) -> Iterator[None]:
    """The SDK reads its variables from the environment only: those in `src/.env` count too while it is set up."""
    given = {name: value for name, value in read_given(ENV_FILE).items() if name.startswith("OTEL_")}
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        given["OTEL_EXPORTER_OTLP_ENDPOINT"] = settings.OTEL_EXPORTER_OTLP_ENDPOINT
    former = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _resource(settings: TelemetrySettings, role: Role) -> Resource:
    """Each process is an instance of its own, so that the figures of several are never taken for one's."""
    default = settings.APP_NAME if isinstance(settings, AppSettings) else "app"
    name = settings.OTEL_SERVICE_NAME or default.lower().replace(" ", "-")
    attributes = {
        "service.name": f"{name}-worker" if role == "worker" else name,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
    }
    if isinstance(settings, AppSettings):
        attributes["service.version"] = settings.APP_VERSION
    return Resource.create(attributes)


def _exports(signal: Literal["TRACES", "METRICS"]) -> bool:
    return (
        bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
        and os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp") != "none"
    )


def _set_up(settings: TelemetrySettings, role: Role, readers: list[MetricReader]) -> Providers:
    with _standard_variables(settings):
        resource = _resource(settings, role)
        tracers: trace.TracerProvider = trace.NoOpTracerProvider()
        if _exports("TRACES"):
            tracers = sdk = TracerProvider(resource=resource, shutdown_on_exit=False)
            sdk.add_span_processor(BatchSpanProcessor(_DiscreetExporter(OTLPSpanExporter())))
        if _exports("METRICS"):
            readers = [*readers, PeriodicExportingMetricReader(OTLPMetricExporter())]
        return Providers(tracers, MeterProvider(readers, resource, shutdown_on_exit=False))


def _offer_to_libraries(providers: Providers) -> None:
    """What uses OpenTelemetry's API itself (`trace.get_tracer(...)`) gets these providers, unless there are others."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(providers.tracers)
        metrics.set_meter_provider(providers.meters)


@asynccontextmanager
async def open_providers(settings: TelemetrySettings, role: Role) -> AsyncIterator[Providers]:
    """Providers whose last spans and figures are exported at the end, if the collector responds."""
    with serve_metrics(settings.PROMETHEUS_PORT) as readers:
        providers = _set_up(settings, role, readers)
        _offer_to_libraries(providers)
        try:
            yield providers
        finally:
            await _shut_down(providers)


async def _shut_down(providers: Providers) -> None:
    # In threads that the process does not wait for: an exporter may try for half a minute.
    both = (providers.tracers, providers.meters)
    ends = [
        Thread(target=each.shutdown, daemon=True) for each in both if isinstance(each, TracerProvider | MeterProvider)
    ]
    for end in ends:
        end.start()
    deadline = time.monotonic() + STOP_SECONDS
    while any(end.is_alive() for end in ends) and time.monotonic() < deadline:  # noqa: ASYNC110 - threads
        await asyncio.sleep(0.02)
