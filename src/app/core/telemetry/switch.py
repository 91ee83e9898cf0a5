"""Whether telemetry is on, and the way to it that imports nothing of the SDK where it is off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, TypeGuard

from fastapi.telemetry import TelemetryConfig

from app.core.config import TelemetrySettings
from app.core.resources import Resources
from app.core.settings.base import SettingsBase
from app.core.settings.sources import ENV_FILE, read_given
from app.core.telemetry.late import LateMeterProvider, LateTracerProvider

_OBSERVE = "app.core.telemetry.observe"


def is_observed(settings: SettingsBase) -> TypeGuard[TelemetrySettings]:
    """Whether spans and figures are to be exported."""
    if not isinstance(settings, TelemetrySettings):
        return False
    is_disabled = read_given(ENV_FILE).get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not is_disabled and bool(settings.OTEL_EXPORTER_OTLP_ENDPOINT or settings.PROMETHEUS_PORT)


class WebTelemetry:
    """The telemetry of one web application: created with it, and opened when it starts."""

    def __init__(self, settings: SettingsBase) -> None:
        self._settings = settings
        self._tracers, self._meters = LateTracerProvider(), LateMeterProvider()
        self.is_observed = is_observed(settings)

    @property
    def fastapi_options(self) -> TelemetryConfig | None:
        """FastAPI's own telemetry: spans and durations of requests, or nothing.

        Its logs contain messages of exceptions, and its spans of dependencies are more than those of SQL.
        """
        if not isinstance(self._settings, TelemetrySettings):
            return None
        if not self.is_observed:  # said explicitly, so that it looks for no providers in each request
            return TelemetryConfig(tracing=False, metrics=False, logs=False)
        return TelemetryConfig(
            tracer_provider=self._tracers,
            meter_provider=self._meters,
            logs=False,
            operation_spans=False,
            auto_configure=False,
        )

    @asynccontextmanager
    async def open(self, resources: Resources) -> AsyncIterator[None]:
        if not is_observed(self._settings):
            yield
            return
        async with import_module(_OBSERVE).observing(self._settings, resources, "web") as providers:
            self._tracers.real, self._meters.real = providers.tracers, providers.meters
            yield


@asynccontextmanager
async def open_worker_telemetry(settings: SettingsBase, resources: Resources) -> AsyncIterator[Any]:
    """What surrounds each run of a task; None where telemetry is off."""
    if not is_observed(settings):
        yield None
        return
    async with import_module(_OBSERVE).observing_worker(settings, resources) as around_run:
        yield around_run
