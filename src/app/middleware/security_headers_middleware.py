"""What browsers are told not to do with an answer (OWASP REST Security Cheat Sheet)."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "frame-ancestors 'none'",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
"""A year (RFC 6797); subdomains are their owners' own business."""


class SecurityHeadersMiddleware:
    """Adds the headers that a route does not set itself; `hsts` tells browsers never to come without TLS again."""

    def __init__(self, app: ASGIApp, hsts: bool) -> None:
        self.app = app
        self._headers = HEADERS | (HSTS if hsts else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_protected)
