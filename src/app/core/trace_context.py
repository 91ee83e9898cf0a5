"""What follows a request into the log lines about it and into the tasks that it submits: its id and its trace.

Only the API of OpenTelemetry is used here, which FastAPI needs in any case. Without the SDK there is no trace, and only
the request's id is carried.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

REQUEST_ID = "request_id"
TRACEPARENT = "traceparent"
NO_REQUEST = "-"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACE_CONTEXT = TraceContextTextMapPropagator()

request_id: ContextVar[str] = ContextVar(REQUEST_ID, default=NO_REQUEST)
"""The request that is being handled, or that submitted the running task; `-` outside of both."""


def trace_id() -> str | None:
    """The current trace in hexadecimal digits; None outside of one."""
    span = trace.get_current_span().get_span_context()
    return trace.format_trace_id(span.trace_id) if span.is_valid else None


def carried() -> dict[str, str]:
    """What a task carries of the request that submits it, as plain text: `request_id` and `traceparent`, if known."""
    carrier: dict[str, str] = {}
    if (name := request_id.get()) != NO_REQUEST:
        carrier[REQUEST_ID] = name
    if trace.get_current_span().get_span_context().is_valid:
        _TRACE_CONTEXT.inject(carrier)
    return carrier


def _request_id(carrier: Mapping[str, str]) -> str:
    # What a client or another program stored must not forge a log line.
    name = carrier.get(REQUEST_ID, "")
    return name if _WELL_FORMED.fullmatch(name) else NO_REQUEST


def resume(carrier: Mapping[str, str]) -> None:
    """Continues what `carried` returned, until the current asyncio task ends."""
    request_id.set(_request_id(carrier))
    context.attach(_TRACE_CONTEXT.extract(carrier, context.Context()))


@contextmanager
def resumed(carrier: Mapping[str, str]) -> Iterator[None]:
    """Continues what `carried` returned within the `with` block, such as for a task that was stored in between."""
    name = request_id.set(_request_id(carrier))
    token = context.attach(_TRACE_CONTEXT.extract(carrier, context.Context()))
    try:
        yield
    finally:
        context.detach(token)
        request_id.reset(name)
