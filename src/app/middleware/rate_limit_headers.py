"""Tells a client of a limited route where it stands, whatever the answer."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATE_KEY = "rate_limit_headers"
"""Where in the request's state the limiter leaves the header fields, as ASGI wants them."""


class RateLimitHeadersMiddleware:
    """Adds the limiter's header fields to every answer: the handler's own, a ready response, an error."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and STATE_KEY in state:
                # A new list: the old one may be that of a response which is sent more than once.
                message = {**message, "headers": [*message["headers"], *state[STATE_KEY]]}
            await send(message)

        await self.app(scope, receive, send_with_headers)
