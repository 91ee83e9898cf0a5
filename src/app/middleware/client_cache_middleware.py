"""Tells browsers and proxies what they may keep (RFC 9111), and when what they have is still good (RFC 9110)."""

from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READS = frozenset({"GET", "HEAD"})
_NOT_MODIFIED = ("etag", "cache-control", "content-location", "date", "expires", "vary", "set-cookie", "x-cache")
"""What a 304 repeats of the answer; the rest describes a body that is not sent."""


def _matches(condition: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (condition or "").split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags


class ClientCacheMiddleware:
    """Sets `Cache-Control` where the route does not, `Vary: Authorization` and `ETag`, and answers 304 and HEAD.

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
        responder = _Responder(scope, send, self._public)
        # A HEAD is its GET without the body; routes are declared for GET only.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        await self.app(inner, receive, responder.send)


class _Responder:
    """One answer on its way out."""

    def __init__(self, scope: Scope, send: Send, public: str) -> None:
        self._send = send
        self._public = public
        self._method = scope["method"]
        self._request = Headers(scope=scope)
        self._start: Message | None = None
        self._is_dropped = False

    async def send(self, message: Message) -> None:
        """Holds the start back until the body is known to be whole: a stream is passed on as it comes."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] != "http.response.body":
            await self._send(message)
        elif self._start:
            start, self._start = self._start, None
            await self._begin(start, message)
        elif not self._is_dropped:
            await self._send(message)

    async def _begin(self, start: Message, first: Message) -> None:
        headers = MutableHeaders(scope=start)
        headers.add_vary_header("Authorization")
        if "cache-control" not in headers:
            headers["Cache-Control"] = self._policy(start["status"], headers)
        if self._method in _READS and start["status"] == 200:
            if "etag" not in headers and not first.get("more_body"):
                headers["ETag"] = f'"{sha256(first.get("body", b"")).hexdigest()[:32]}"'
            if "etag" in headers and _matches(self._request.get("if-none-match"), headers["etag"]):
                kept = [(name, value) for name, value in headers.raw if name.decode("latin-1").lower() in _NOT_MODIFIED]
                start = {**start, "status": 304, "headers": kept}
        self._is_dropped = self._method == "HEAD" or start["status"] == 304
        await self._send(start)
        await self._send({"type": "http.response.body"} if self._is_dropped else first)

    def _policy(self, status: int, answer: MutableHeaders) -> str:
        if self._method not in _READS or status >= 400:
            return "no-store"
        private = "authorization" in self._request or "cookie" in self._request or "set-cookie" in answer
        return "private, no-store" if private else self._public
