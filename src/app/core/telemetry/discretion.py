"""What leaves the process in a span: no values of clients and no messages of exceptions, whoever made the span."""

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status
from opentelemetry.util.types import Attributes

_MESSAGES = {"exception.message", "exception.stacktrace"}
_FROM_CLIENTS = {"url.path", "url.query", "server.address", "server.port", "http.request.method_original"}
"""The address is that of the `Host` header, the method one that HTTP does not define."""


def _discreet_attributes(attributes: Attributes) -> Attributes:
    """Without what a client may choose freely, and with the route's template in place of the path."""
    kept = {name: value for name, value in (attributes or {}).items() if name not in _FROM_CLIENTS}
    if attributes and "url.path" in attributes and "http.route" in kept:
        kept["url.path"] = kept["http.route"]
    return kept


def _discreet_event(event: Event) -> Event:
    kept = {name: value for name, value in (event.attributes or {}).items() if name not in _MESSAGES}
    return Event(event.name, kept, event.timestamp)


def discreet(span: ReadableSpan) -> ReadableSpan:
    """A copy to export."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_discreet_attributes(span.attributes),
        events=[_discreet_event(event) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
