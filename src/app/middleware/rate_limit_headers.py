"""The limiter's header fields, on every response of a limited route: the handler's own, a ready one, an error."""

from starlette.types import Scope

from app.middleware.response_start import ResponseStart

STATE_KEY = "rate_limit_headers"
"""The key in the request's state for the limiter's header fields, in ASGI's form."""


def add_rate_limit_headers(start: ResponseStart, scope: Scope) -> None:
    if fields := scope["state"].get(STATE_KEY):
        start.fields += fields
