"""Refuses large requests with 413 in the shape of every other error (FastAPI's own limit answers plain text)."""

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATUS = 413
DETAIL = "Content Too Large"
MAX_DIGITS = 18


class BodyLimitMiddleware:
    """Limits a request's body to `max_bytes`, announced or sent in chunks; no more than that is ever read."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and (len(announced) > MAX_DIGITS or int(announced) > self.max_bytes):
            await JSONResponse({"detail": DETAIL}, STATUS)(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(STATUS, DETAIL)
            return message

        await self.app(scope, receive_limited, send)
