"""One layer around every request and its response; each of its six parts is a module of this package.

One layer instead of six, because every layer costs each request a call, a closure and a walk through the headers.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.logger import request_id
from app.middleware.body_limit import BodyLimit
from app.middleware.client_cache import ClientCache
from app.middleware.rate_limit_headers import add_rate_limit_headers
from app.middleware.request_id import HEADER, choose_request_id
from app.middleware.response_start import ResponseStart
from app.middleware.security_headers import SecurityHeaders
from app.middleware.slow_clients import PIECE_BYTES, send_patiently
from app.middleware.unexpected_error import log_unexpected_error, send_internal_server_error


class ExchangeMiddleware:
    """The parts that are given, around the application; a part that is None is left out.

    `on_error` sends the 500 after an unexpected error. A response that has begun by then is broken off instead.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        security_headers: SecurityHeaders | None = None,
        client_cache: ClientCache | None = None,
        body_limit: BodyLimit | None = None,
        on_error: ASGIApp = send_internal_server_error,
    ) -> None:
        self.app = app
        self.security_headers = security_headers
        self.client_cache = client_cache
        self.body_limit = body_limit
        self.on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        name = choose_request_id(headers)
        token = request_id.set(name.decode())
        try:
            if scope["type"] == "http":
                await _Exchange(self, scope, headers, receive, send, name).run()
            else:
                await self.app(scope, receive, send)
        finally:
            request_id.reset(token)


class _Exchange:
    """One request and its response on their way through the parts."""

    def __init__(
        self,
        layer: ExchangeMiddleware,
        scope: Scope,
        headers: dict[bytes, bytes],
        receive: Receive,
        send: Send,
        name: bytes,
    ) -> None:
        self._layer = layer
        self._scope = scope
        self._headers = headers
        self._receive = receive
        self._send = send
        self._name = name
        self._received = 0
        self._start: Message | None = None
        self._begun = False
        self._is_dropped = False

    async def run(self) -> None:
        layer, scope = self._layer, self._scope
        scope.setdefault("state", {})
        if layer.body_limit and (refusal := layer.body_limit.refusal(scope, self._headers)):
            await refusal(scope, self._receive, self.send)
            return
        # A HEAD is its GET without the body; routes are declared for GET only.
        inner = {**scope, "method": "GET"} if layer.client_cache and scope["method"] == "HEAD" else scope
        try:
            await layer.app(inner, self.receive, self.send)
        except Exception as error:
            log_unexpected_error(scope, error)
            if self._begun:
                raise
            self._start = None
            await layer.on_error(scope, self._receive, self.send)

    async def receive(self) -> Message:
        message = await self._receive()
        if self._layer.body_limit and "body" in message:
            self._received += len(message["body"])
            self._layer.body_limit.check(self._received)
        return message

    async def send(self, message: Message) -> None:
        """Holds the start back until the body is known to be whole; a stream is passed on as it comes."""
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
        elif kind != "http.response.body":
            await self._send(message)
        elif self._start is not None:
            start, self._start = self._start, None
            await self._begin(ResponseStart(start), message)
        elif not self._is_dropped:
            await self._send_body(message)

    async def _begin(self, start: ResponseStart, first: Message) -> None:
        self._begun = True
        layer, method = self._layer, self._scope["method"]
        if layer.client_cache:
            body = None if first.get("more_body") else first.get("body", b"")
            layer.client_cache.apply(start, method, self._headers, body)
            self._is_dropped = start.status == 304 or method == "HEAD"
        add_rate_limit_headers(start, self._scope)
        if layer.security_headers:
            layer.security_headers.add_to(start)
        start.set(HEADER, self._name)
        await self._send(start.message())
        if self._is_dropped:
            await self._send({"type": "http.response.body"})
        elif first.get("more_body") or len(first.get("body", b"")) > PIECE_BYTES:
            await self._send_body(first)
        else:
            await self._send(first)

    async def _send_body(self, message: Message) -> None:
        self._is_dropped = not await send_patiently(self._receive, self._send, message)
