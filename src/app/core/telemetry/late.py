"""Providers that are given to FastAPI when the application is created, and get the real ones when it starts.

An application is created when its module is imported, and importing a module starts nothing.
"""

from typing import Any

from opentelemetry.metrics import Meter, MeterProvider, NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider, Tracer, TracerProvider


class LateTracerProvider(TracerProvider):
    real: TracerProvider = NoOpTracerProvider()

    def get_tracer(self, *args: Any, **options: Any) -> Tracer:
        return self.real.get_tracer(*args, **options)


class LateMeterProvider(MeterProvider):
    real: MeterProvider = NoOpMeterProvider()

    def get_meter(self, *args: Any, **options: Any) -> Meter:
        return self.real.get_meter(*args, **options)
