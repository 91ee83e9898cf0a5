"""How telemetry gets into what runs: methods of single objects are replaced when they are opened.

So nothing asks whether telemetry is on, and what is off costs nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from opentelemetry import trace
from opentelemetry.metrics import Histogram
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode, Tracer

Attributes = dict[str, str | int]
QUICK = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
SLOW = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
"""Bounds of a histogram's buckets, in seconds."""


def replace_method(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """Replaces the method of this one object by what `make` returns for it."""
    setattr(owner, name, make(getattr(owner, name)))


def error_type(error: BaseException) -> str:
    """The class alone: a message may contain values."""
    return type(error).__qualname__


class Operations:
    """Spans and durations of what is sent to other servers.

    Within a trace each operation is a span. Outside of one, such as a worker's look at its queue, it is only measured.
    """

    def __init__(self, tracer: Tracer, duration: Histogram) -> None:
        self._tracer = tracer
        self._duration = duration

    @contextmanager
    def run(self, name: str, measured: Attributes, details: Attributes) -> Iterator[None]:
        """`details` are only for the span: there may be any number of different ones."""
        began, measured = perf_counter(), dict(measured)
        span: Span = INVALID_SPAN
        if trace.get_current_span().get_span_context().is_valid:
            span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=measured | details)
        try:
            yield
        except BaseException as error:
            measured["error.type"] = error_type(error)
            span.set_attribute("error.type", error_type(error))
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()
            self._duration.record(perf_counter() - began, measured)
