"""One layer around every request and its response; each of its seven parts is a module of this package.

One layer instead of seven, because every layer costs each request a call, a closure and a walk through the headers.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.request_log.collector import RequestLog
from app.core.trace_context import request_id
from app.middleware.body_limit import BodyLimit
from app.middleware.client_cache import ClientCache
from app.middleware.rate_limit_headers import add_rate_limit_headers
from app.middleware.request_id import HEADER, choose_request_id
from app.middleware.request_log import run_logged
from app.middleware.response_start import ResponseStart
from app.middleware.security_headers import SecurityHeaders
from app.middleware.slow_clients import PIECE_BYTES, send_patiently
from app.middleware.trusted_proxies import SERVER_RECEIVE_KEY
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
        request_log: RequestLog | None = None,
        on_error: ASGIApp = send_internal_server_error,
    ) -> None:
        self.app = app
        self.security_headers = security_headers
        self.client_cache = client_cache
        self.body_limit = body_limit
        self.request_log = request_log
        self.on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        name = choose_request_id(headers)
        token = request_id.set(name.decode())
        try:
            if scope["type"] != "http":
                await self.app(scope, receive, send)
                return
            exchange = Exchange(self, scope, headers, receive, send, name)
            await (run_logged(exchange, self.request_log) if self.request_log else exchange.run())
        finally:
            request_id.reset(token)


class Exchange:
    """One request and its response on their way through the parts.

    `status` is None until the response begins; `sent_bytes` are those of its body.
    """

    def __init__(
        self,
        layer: ExchangeMiddleware,
        scope: Scope,
        headers: dict[bytes, bytes],
        receive: Receive,
        send: Send,
        name: bytes,
    ) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.server_receive = receive
        self.name = name
        self.status: int | None = None
        self.sent_bytes = 0
        self._layer = layer
        self._headers = headers
        self._send = send
        self._received = 0
        self._start: Message | None = None
        self._is_dropped = False

    async def run(self) -> None:
        layer, scope = self._layer, self.scope
        scope.setdefault("state", {})
        if layer.body_limit and (refusal := layer.body_limit.refusal(scope, self._headers)):
            await refusal(scope, self.server_receive, self.send)
            return
        # A HEAD is its GET without the body; routes are declared for GET only.
        if layer.client_cache and self.method == "HEAD":
            self.scope = {**scope, "method": "GET"}
        try:
            await layer.app(self.scope, self.receive, self.send)
        except Exception as error:
            log_unexpected_error(scope, error)
            if self.status is not None:
                raise
            self._start = None
            await layer.on_error(scope, self.server_receive, self.send)

    async def receive(self) -> Message:
        message = await self.server_receive()
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
        layer = self._layer
        if layer.client_cache:
            body = None if first.get("more_body") else first.get("body", b"")
            layer.client_cache.apply(start, self.method, self._headers, body)
            self._is_dropped = start.status == 304 or self.method == "HEAD"
        add_rate_limit_headers(start, self.scope)
        if layer.security_headers:
            layer.security_headers.add_to(start)
        start.set(HEADER, self.name)
        self.status = start.status
        await self._send(start.message())
        if self._is_dropped:
            await self._send({"type": "http.response.body"})
        elif first.get("more_body") or len(first.get("body", b"")) > PIECE_BYTES:
            await self._send_body(first)
        else:
            self.sent_bytes = len(first.get("body", b""))
            await self._send(first)

    async def _send_body(self, message: Message) -> None:
        self.sent_bytes += len(message.get("body", b""))
        receive = self.scope.get(SERVER_RECEIVE_KEY, self.server_receive)
        self._is_dropped = not await send_patiently(receive, self._send, message)
