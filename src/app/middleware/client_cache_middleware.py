"""Tells browsers and proxies what they may keep (RFC 9111)."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READS = frozenset({"GET", "HEAD"})


class ClientCacheMiddleware:
    """Sets `Cache-Control` where the route does not, and `Vary: Authorization`.

    Only what an anonymous caller read is public; what carried credentials or sets a cookie stays with the caller, and
    errors and changes are kept by nobody.
    """

    def __init__(self, app: ASGIApp, max_age: int) -> None:
        self.app = app
        self._public = f"public, max-age={max_age}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Authorization")
                if "cache-control" not in headers:
                    headers["Cache-Control"] = self._policy(scope, message["status"], headers)
            await send(message)

        await self.app(scope, receive, send_with_policy)

    def _policy(self, scope: Scope, status: int, answer: MutableHeaders) -> str:
        if scope["method"] not in _READS or status >= 400:
            return "no-store"
        request = Headers(scope=scope)
        private = "authorization" in request or "cookie" in request or "set-cookie" in answer
        return "private, no-store" if private else self._public
